"""The page for people, and `POST /queues/Q/tasks` for who has no AMQP (extra `web`)."""
