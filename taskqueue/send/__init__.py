"""From a task to a confirmed message."""
