"""What is due when: the book of a queue's schedules, what becomes of it, and how it is written. Pure."""
