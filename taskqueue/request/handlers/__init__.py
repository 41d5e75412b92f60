"""The request handlers that are built in, and how a chain of them is made."""
