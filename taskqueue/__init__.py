"""Call a URL later, reliably: delayed webhooks in which RabbitMQ does all the waiting."""

from taskqueue.client import Client

__all__ = ["Client"]
