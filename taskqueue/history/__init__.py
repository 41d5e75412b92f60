"""What became of tasks: records in a RabbitMQ stream, and an index of them in a second one."""
