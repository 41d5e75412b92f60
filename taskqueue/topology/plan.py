"""What should exist in the broker, as data: exchanges, queues and bindings of every queue."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder

NO_DELIVERY_LIMIT = 2_000_000_000
"""RabbitMQ 4 limits deliveries to 20 where nothing is said, and browsing a queue counts as one."""
QUORUM = "quorum"


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange."""

    name: str
    type: str


@dataclass(frozen=True, slots=True)
class Queue:
    """A durable queue."""

    name: str
    arguments: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Binding:
    """A queue bound to an exchange by one routing key."""

    exchange: str
    queue: str
    routing_key: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything that should exist, each kind after those that it needs."""

    exchanges: tuple[Exchange, ...]
    queues: tuple[Queue, ...]
    bindings: tuple[Binding, ...]


def plan(settings: Settings) -> Plan:
    """Plan every queue of the settings."""
    return joined(plan_queue(queue, settings.ladder, settings.queue_type) for queue in settings.queues.values())


def joined(plans: Iterable[Plan]) -> Plan:
    """Put several plans together."""
    every = list(plans)
    return Plan(
        tuple(exchange for one in every for exchange in one.exchanges),
        tuple(queue for one in every for queue in one.queues),
        tuple(binding for one in every for binding in one.bindings),
    )


def plan_queue(queue: QueueSettings, ladder: Ladder, queue_type: str) -> Plan:
    """Plan one queue: the work queue, its ladder, its dead queue."""
    name = queue.name
    exchanges = (
        Exchange(names.dead(name), "fanout"),
        Exchange(names.wait_exchange(name), "direct"),
        *(Exchange(names.level_exchange(name, ladder.unit(level)), "direct") for level in range(ladder.levels)),
    )
    queues = (
        Queue(names.dead(name), _arguments(queue_type, NO_DELIVERY_LIMIT)),
        Queue(name, _arguments(queue_type, queue.delivery_limit, names.dead(name))),
        *_wait_queues(name, ladder, queue_type),
    )
    bindings = (Binding(names.dead(name), names.dead(name), ""), *_bindings(name, ladder))
    return Plan(exchanges, queues, bindings)


def essentials(queue: str) -> tuple[Exchange | Queue, ...]:
    """List what must exist before a consumer takes anything from `queue`."""
    return (
        Exchange(names.dead(queue), "fanout"),
        Exchange(names.wait_exchange(queue), "direct"),
        Queue(names.dead(queue), {}),
        Queue(queue, {}),
    )


def _wait_queues(name: str, ladder: Ladder, queue_type: str) -> Iterator[Queue]:
    for rung in ladder.rungs():
        exchange = names.level_exchange(name, ladder.unit(rung.level))
        arguments = _arguments(queue_type, NO_DELIVERY_LIMIT, exchange)
        yield Queue(
            names.wait_queue(name, ladder.ttl(rung)), {**arguments, "x-message-ttl": ladder.ttl_ms(rung)}
        )


def _bindings(name: str, ladder: Ladder) -> Iterator[Binding]:
    entry = names.wait_exchange(name)
    for rung in ladder.rungs():
        ttl = ladder.ttl(rung)
        wait_queue = names.wait_queue(name, ttl)
        yield Binding(entry, wait_queue, names.hop(names.ENTRY, ttl))
        for level in range(rung.level):
            unit = ladder.unit(level)
            yield Binding(names.level_exchange(name, unit), wait_queue, names.hop(unit, ttl))
    for level in range(ladder.levels):
        unit = ladder.unit(level)
        yield Binding(names.level_exchange(name, unit), name, names.hop(unit, names.DUE))


def _arguments(queue_type: str, delivery_limit: int, dead_letter_exchange: str | None = None) -> dict[str, Any]:
    arguments: dict[str, Any] = {"x-queue-type": queue_type}
    if dead_letter_exchange is not None:
        arguments["x-dead-letter-exchange"] = dead_letter_exchange
    if queue_type == QUORUM:
        arguments["x-delivery-limit"] = delivery_limit
        if dead_letter_exchange is not None:
            # Without these two a broker that dies between two rungs would lose the message
            # (https://www.rabbitmq.com/docs/quorum-queues#dead-lettering).
            arguments["x-dead-letter-strategy"] = "at-least-once"
            arguments["x-overflow"] = "reject-publish"
    return arguments
