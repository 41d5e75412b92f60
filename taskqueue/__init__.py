"""Call a URL later, reliably: delayed webhooks in which RabbitMQ does all the waiting."""
