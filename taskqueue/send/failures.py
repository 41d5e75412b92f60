"""Why a publish was not taken, in words for whoever sent it."""

from __future__ import annotations

from taskqueue.broker.replies import ACCESS_REFUSED, NOT_FOUND
from taskqueue.errors import BrokerRefused, NotDeclared, PublishFailed, TaskqueueError
from taskqueue.task.message import Publish
from taskqueue.topology import names


def closed() -> PublishFailed:
    """Say that nobody waits for the confirm any more."""
    return PublishFailed("the client was closed before the broker had confirmed: send again with the same id")


def too_few_channels(allowed: int, needed: int) -> BrokerRefused:
    """Say that the broker allows a connection fewer channels than a send takes."""
    return BrokerRefused(
        f"the broker allows {allowed} channels (channel_max), and a send takes {needed}: raise that"
    )


def refusal(publish: Publish, code: int, reason: str) -> TaskqueueError:
    """Say what the broker had against the one publish that it closed a channel over."""
    if code == NOT_FOUND:
        return not_declared(publish, reason)
    if code == ACCESS_REFUSED:
        return BrokerRefused(f"{reason}: the user needs write permission, ^queue(\\..*)?$")
    return PublishFailed(f"the broker refused: {reason}")


def not_declared(publish: Publish, reason: str) -> NotDeclared:
    """Say which queue is not there."""
    queue = names.destination(publish.routing_keys[-1]) or publish.routing_keys[0]
    return NotDeclared(f"queue {queue!r} is not declared ({reason}): run 'taskqueue declare'")
