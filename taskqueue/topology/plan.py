"""What should exist in the broker for a queue, as data: nothing here talks to one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder

QUORUM = "quorum"
CLASSIC = "classic"
NO_DELIVERY_LIMIT = 2_000_000_000
"""RabbitMQ 4 dead-letters after 20 deliveries unless told otherwise, and browsing is a delivery."""


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange; `type` is ``direct`` or ``fanout``."""

    kind: ClassVar[str] = "exchange"
    name: str
    type: str = "direct"


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue and its ``x-`` arguments."""

    kind: ClassVar[str] = "queue"
    name: str
    arguments: Mapping[str, str | int] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Binding:
    """A way from an exchange to a queue."""

    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """All that should exist, in an order in which it can be created."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]


def plan(settings: Settings) -> Plan:
    """Plan every queue of the configuration."""
    return joined(
        plan_queue(queue, settings.ladder, settings.queue_type) for queue in settings.queues.values()
    )


def plan_queue(queue: QueueSettings, ladder: Ladder, queue_type: str) -> Plan:
    """Plan one queue: the work queue, its ladder of wait queues, and where its dead tasks go."""
    return Plan(
        exchanges=(
            Exchange(names.dead(queue.name), "fanout"),
            Exchange(names.wait_exchange(queue.name)),
            *(
                Exchange(names.level_exchange(queue.name, ladder.unit(level)))
                for level in range(ladder.levels)
            ),
        ),
        queues=(
            _dead_queue(queue, queue_type),
            _work_queue(queue, queue_type),
            *_wait_queues(queue, ladder, queue_type),
        ),
        bindings=(
            Binding(names.dead(queue.name), names.dead(queue.name), ""),
            *_hops(queue, ladder),
        ),
    )


def joined(plans: Iterable[Plan]) -> Plan:
    """Put plans of different queues together."""
    parts = tuple(plans)
    return Plan(
        exchanges=tuple(exchange for part in parts for exchange in part.exchanges),
        queues=tuple(queue for part in parts for queue in part.queues),
        bindings=tuple(binding for part in parts for binding in part.bindings),
    )


def essentials(queue: str) -> tuple[Exchange | Queue, ...]:
    """List what must exist for the tasks of a queue to be consumed and settled (names only)."""
    return (
        Queue(queue),
        Exchange(names.wait_exchange(queue)),
        Exchange(names.dead(queue), "fanout"),
        Queue(names.dead(queue)),
    )


def _work_queue(queue: QueueSettings, queue_type: str) -> Queue:
    return Queue(
        queue.name, dead_lettering(queue_type, to=names.dead(queue.name), deliveries=queue.delivery_limit)
    )


def _dead_queue(queue: QueueSettings, queue_type: str) -> Queue:
    arguments: dict[str, str | int] = {"x-queue-type": queue_type}
    if queue_type == QUORUM:
        arguments["x-delivery-limit"] = NO_DELIVERY_LIMIT
    return Queue(names.dead(queue.name), arguments)


def _wait_queues(queue: QueueSettings, ladder: Ladder, queue_type: str) -> Iterable[Queue]:
    for leg in ladder.rungs():
        onward = names.level_exchange(queue.name, ladder.unit(leg.level))
        arguments = dead_lettering(queue_type, to=onward)
        arguments["x-message-ttl"] = ladder.ttl_ms(leg)
        yield Queue(names.wait_queue(queue.name, ladder.ttl(leg)), arguments)


def dead_lettering(queue_type: str, *, to: str, deliveries: int = NO_DELIVERY_LIMIT) -> dict[str, str | int]:
    """Make the arguments of a queue that must not lose what it dead-letters."""
    arguments: dict[str, str | int] = {"x-queue-type": queue_type, "x-dead-letter-exchange": to}
    if queue_type == QUORUM:
        arguments["x-dead-letter-strategy"] = "at-least-once"
        # At-least-once is silently at-most-once with the default overflow (rabbitmq.com/docs/quorum-queues).
        arguments["x-overflow"] = "reject-publish"
        arguments["x-delivery-limit"] = deliveries
    return arguments


def _hops(queue: QueueSettings, ladder: Ladder) -> Iterable[Binding]:
    """Bind every rung to the entry and to each lower level, and the work queue to every level."""
    entry = names.wait_exchange(queue.name)
    for leg in ladder.rungs():
        ttl = ladder.ttl(leg)
        rung = names.wait_queue(queue.name, ttl)
        yield Binding(entry, rung, names.hop(names.ENTRY, ttl))
        for level in range(leg.level):
            unit = ladder.unit(level)
            yield Binding(names.level_exchange(queue.name, unit), rung, names.hop(unit, ttl))
    for level in range(ladder.levels):
        unit = ladder.unit(level)
        yield Binding(names.level_exchange(queue.name, unit), queue.name, names.hop(unit, names.DUE))
