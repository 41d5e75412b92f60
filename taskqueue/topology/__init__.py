"""The exchanges and queues of a task queue: their names, the ways between them, the plan of them all."""
