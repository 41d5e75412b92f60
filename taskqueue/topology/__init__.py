"""The exchanges and queues of a task queue: what they are called, how they connect, how they come to be."""
