"""Call a URL later, reliably: delayed webhooks in which RabbitMQ does all the waiting."""

from taskqueue.client import Client
from taskqueue.errors import (
    BrokerRefused,
    BrokerUnreachable,
    ConfigError,
    InvalidTask,
    NotDeclared,
    PublishFailed,
    TaskqueueError,
)

__all__ = [
    "BrokerRefused",
    "BrokerUnreachable",
    "Client",
    "ConfigError",
    "InvalidTask",
    "NotDeclared",
    "PublishFailed",
    "TaskqueueError",
]
