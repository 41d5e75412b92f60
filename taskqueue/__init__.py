"""Call a URL later, reliably: delayed webhooks in which RabbitMQ does all the waiting."""

import logging
from importlib import import_module
from typing import TYPE_CHECKING, Any

from taskqueue.errors import (
    BrokerRefused,
    BrokerUnreachable,
    ConfigError,
    InvalidTask,
    NotDeclared,
    NotKnown,
    PublishFailed,
    TaskqueueError,
)

if TYPE_CHECKING:
    from taskqueue.send.async_client import AsyncClient
    from taskqueue.send.client import Client

__all__ = [
    "AsyncClient",
    "BrokerRefused",
    "BrokerUnreachable",
    "Client",
    "ConfigError",
    "InvalidTask",
    "NotDeclared",
    "NotKnown",
    "PublishFailed",
    "TaskqueueError",
]

# The program decides whether and where it logs. Without this handler Python prints our warnings.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_CLIENTS = {"Client": "taskqueue.send.client", "AsyncClient": "taskqueue.send.async_client"}


def __getattr__(name: str) -> Any:
    """Import a client when it is first asked for: who verifies a signature needs no pika."""
    if name not in _CLIENTS:
        msg = f"module {__name__!r} has no attribute {name!r}"
        raise AttributeError(msg)
    client = getattr(import_module(_CLIENTS[name]), name)
    globals()[name] = client
    return client


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
