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
    PublishFailed,
    TaskqueueError,
)

if TYPE_CHECKING:
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

# Where and whether a program logs is its own affair; without this, Python prints warnings of ours.
logging.getLogger(__name__).addHandler(logging.NullHandler())

_HOMES = {"Client": "taskqueue.send.client"}

if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Import what is asked for: the command line starts without what a program sends with."""
        if name not in _HOMES:
            msg = f"module {__name__!r} has no attribute {name!r}"
            raise AttributeError(msg)
        found = globals()[name] = getattr(import_module(_HOMES[name]), name)
        return found
