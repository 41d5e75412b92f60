r"""Every exchange and queue name, all under the queue's own prefix.

One permission pattern, ``^Q(\..*)?$``, covers everything that belongs to queue ``Q``.
"""

from __future__ import annotations

from decimal import Decimal

ENTRY = "in"
DUE = "due"
STALE = "old"


def seconds(value: Decimal) -> str:
    """Write a TTL (seconds) as people do: ``0.3s``, ``20s``, ``3000s``."""
    return f"{value.normalize():f}s"


def wait_exchange(queue: str) -> str:
    """Name the exchange where every delayed message enters the ladder."""
    return f"{queue}.wait"


def level_exchange(queue: str, unit: str) -> str:
    """Name the exchange that the wait queues of one level dead-letter to; `unit` is its tick."""
    return f"{queue}.wait.{unit}"


def wait_queue(queue: str, ttl: str) -> str:
    """Name the wait queue whose messages stay for `ttl`."""
    return f"{queue}.wait.{ttl}"


def dead(queue: str) -> str:
    """Name both the dead exchange and the dead queue."""
    return f"{queue}.dead"


def moving(queue: str) -> str:
    """Name the queue where `declare --migrate` parks the messages of a queue that it replaces."""
    return f"{queue}.moving"


def asking(queue: str) -> str:
    """Name the queue whose existence, in another connection, keeps consumers away from `queue`."""
    return f"{queue}.moving.ask"


def stale(queue: str) -> str:
    """Name the queue of messages that follow the itinerary of a ladder that is no more."""
    return f"{queue}.wait.{STALE}"


def hop(leaves: str, goes: str) -> str:
    """Name the routing key that a message follows from one rung to the next, ``10s>due``."""
    return f"{leaves}>{goes}"
