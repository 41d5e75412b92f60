"""An AMQP message as taskqueue handles it: a body that is never rewritten, and its properties."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskqueue.errors import InvalidTask
from taskqueue.task.fields import shown

_LONGEST_NAME, _HIGHEST = 255, 255
PREFIX = "taskqueue-"
_BROKERS_OWN = ("x-death", "x-first-death-", "x-last-death-")
DELIVERIES, ACQUIRED = "x-delivery-count", "x-acquired-count"
"""The broker's counts of earlier deliveries. On a first delivery they may be those of a former queue."""
_BROKERS_COUNTS = frozenset({DELIVERIES, ACQUIRED, "CC", "BCC"})
# The broker compares user_id with our own login. An expiration would end the stay on a rung early.
_NOT_KEPT = ("user_id", "expiration", "cluster_id", "delivery_mode", "headers")


@dataclass(frozen=True, slots=True)
class Message:
    """A body, its AMQP headers, and its other properties by their AMQP names (set ones only)."""

    body: bytes
    headers: Mapping[str, Any] = field(default_factory=dict)
    properties: Mapping[str, Any] = field(default_factory=dict)
    fault: str | None = None
    """Why headers are missing, which could not be taken; None where all are there."""


@dataclass(frozen=True, slots=True)
class Publish:
    """A message to publish: persistent, mandatory, and with a confirm."""

    exchange: str
    routing_keys: tuple[str, ...]
    """The routing key first, then the keys of the ``CC`` header."""
    message: Message

    def __post_init__(self) -> None:
        """Raise InvalidTask for a queue or a priority that AMQP can't carry, before anything is published."""
        for name in (self.exchange, *self.routing_keys):
            _check_name(name)
        if not self.exchange and not self.routing_keys[0]:
            raise InvalidTask("queue", "must be a text that is not empty, got ''")
        priority = self.message.properties.get("priority")
        if priority is not None and (type(priority) is not int or not 0 <= priority <= _HIGHEST):
            got = shown(priority)
            raise InvalidTask("priority", f"must be a whole number from 0 to {_HIGHEST}, got {got}")


def _check_name(name: object) -> None:
    """Refuse a name of a queue or exchange that AMQP can't carry as a short string."""
    if not isinstance(name, str):
        raise InvalidTask("queue", f"must be a text, got {shown(name)}")
    try:
        size = len(name) if name.isascii() else len(name.encode())
    except UnicodeEncodeError as error:
        raise InvalidTask("queue", f"must be Unicode, got {shown(name)}") from error
    if size > _LONGEST_NAME:
        raise InvalidTask(
            "queue", f"name is too long: {size} bytes together with its suffix, at most {_LONGEST_NAME}"
        )


def stripped(headers: Mapping[str, Any]) -> dict[str, Any]:
    """Copy headers without what the broker wrote and without the itinerary.

    RabbitMQ takes an ``x-death`` that was kept for a cycle, and drops the message
    (https://www.rabbitmq.com/docs/dlx#automatic-dead-lettering-cycles).
    """
    return {
        name: value
        for name, value in headers.items()
        if name not in _BROKERS_COUNTS and not str(name).startswith(_BROKERS_OWN)
    }


def kept(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Copy the properties that stay with a task when it is published again."""
    return {name: value for name, value in properties.items() if name not in _NOT_KEPT}
