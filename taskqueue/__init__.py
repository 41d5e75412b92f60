"""Call a URL later, reliably: delayed webhooks in which RabbitMQ does all the waiting."""

import logging

from taskqueue.errors import (
    BrokerRefused,
    BrokerUnreachable,
    ConfigError,
    InvalidTask,
    NotDeclared,
    PublishFailed,
    TaskqueueError,
)
from taskqueue.send.client import Client

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

# The program decides whether and where it logs. Without this handler Python prints our warnings.
logging.getLogger(__name__).addHandler(logging.NullHandler())
