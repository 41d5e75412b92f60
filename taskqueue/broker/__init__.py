"""Everything that speaks to RabbitMQ: connections, channels, confirms, sessions, the management API."""
