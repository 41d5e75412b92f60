"""What the peers run: the same POST, with the settings that make each of them at-least-once."""
