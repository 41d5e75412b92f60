"""What should exist in the broker, as data: nothing here talks to a broker."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import ClassVar

from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder

QUORUM = "quorum"
CLASSIC = "classic"
STREAM = "stream"
NO_DELIVERY_LIMIT = 2_000_000_000
"""RabbitMQ 4 dead-letters after 20 deliveries by default, and a look at a message is a delivery.

On the work queue this is a backstop: the consumer counts, and settles a task at its `delivery_limit`.
"""

_SEGMENTS = 20
_INDEX_PART = 8
"""The records take so many times the bytes of their index, and more."""

KEPT: dict[str, str | int] = {
    "x-queue-type": QUORUM,
    "x-delivery-limit": NO_DELIVERY_LIMIT,
    # A policy that limits its length would have it drop the oldest.
    "x-overflow": "reject-publish",
}
"""The arguments of a queue that keeps what is in it until somebody takes it, whatever `queue_type` says."""

DROPPED: dict[str, str | int] = {"x-queue-type": QUORUM, "x-max-length": 0}
"""The arguments of a queue that takes everything and keeps nothing.

The broker confirms what it drops there, so at-least-once dead-lettering into it never waits.
"""
NEWEST = KEPT | {"x-max-length": 1, "x-overflow": "drop-head"}
"""The arguments of a queue that keeps the newest message."""
PROBES = NEWEST | {"x-max-length": 100, "x-single-active-consumer": True}
"""The arguments of the queue that probes come to: one consumer has it at a time, and nothing waits for it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How much of the history is kept: what is older goes, and the oldest where it takes more bytes."""

    seconds: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Layout:
    """What a plan is made of: which queue waits on which ladder, and what the ladders are like."""

    ladders: Mapping[str, str]
    """The ladder of each queue that is planned, by the queue's name."""
    rungs: Ladder
    queue_type: str
    names: frozenset[str] = frozenset()
    """The names of all queues, where `ladders` holds only some of them."""
    scheduled: frozenset[str] = frozenset()
    """The names of the queues that have schedules."""
    paced: frozenset[str] = frozenset()
    """The names of the queues that have a rate."""
    capped: frozenset[str] = frozenset()
    """The names of the queues that have permits."""
    history: Retention | None = None
    """None where no history is kept."""

    def is_queue(self, ladder: str) -> bool:
        """Tell whether a queue has the name of this ladder, however many share it."""
        return ladder in self.names or ladder in self.ladders


@dataclass(frozen=True, slots=True)
class Exchange:
    """A durable exchange; `type` is ``direct`` or ``fanout``. What it can't route goes to `alternate`."""

    kind: ClassVar[str] = "exchange"
    name: str
    type: str = "direct"
    alternate: str | None = None

    @property
    def arguments(self) -> dict[str, str | int]:
        """The ``x-`` or other arguments to declare it with (https://www.rabbitmq.com/docs/ae)."""
        return {} if self.alternate is None else {"alternate-exchange": self.alternate}


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

    exchanges: tuple[Exchange, ...] = ()
    queues: tuple[Queue, ...] = ()
    bindings: tuple[Binding, ...] = ()

    @property
    def items(self) -> tuple[Exchange | Queue, ...]:
        """Everything that has a name."""
        return self.exchanges + self.queues


def plan(layout: Layout) -> Plan:
    """Plan every queue, and every ladder that one of them waits on."""
    ladders = dict.fromkeys(layout.ladders.values())
    return joined(
        (
            *(plan_queue(name, layout) for name in layout.ladders),
            *(plan_schedules(name, layout) for name in layout.ladders if name in layout.scheduled),
            *(plan_limits(name, layout) for name in layout.ladders),
            *(plan_ladder(ladder, layout) for ladder in ladders),
            *((plan_history(layout.history),) if layout.history is not None else ()),
        )
    )


def plan_queue(name: str, layout: Layout) -> Plan:
    """Plan one queue: the work queue, where its dead tasks go, and its ways off the ladder.

    A queue on a shared ladder has an entry of its own too, which leads to the work queue at once. A sender
    that does not know of the ladder publishes there, and the consumer corrects it.
    """
    ladder, dead, due = layout.ladders[name], names.dead(name), names.due(name)
    units = map(layout.rungs.unit, range(layout.rungs.levels))
    # While a migration replaces the work queue, what comes straight to it goes to the parking queue.
    exchanges = [Exchange(dead, "fanout"), Exchange(due, "fanout", alternate=names.moving(name))]
    bindings = [Binding(dead, dead, ""), Binding(due, name, "")]
    bindings += (Binding(names.level(ladder, unit), name, names.last_hop(unit, name)) for unit in units)
    if ladder != name:
        exchanges += [Exchange(names.wait(name), alternate=due), Exchange(names.control(name))]
    if not layout.is_queue(ladder):
        bindings.append(Binding(names.due(ladder), name, names.astray(name)))
    return Plan(
        tuple(exchanges),
        (Queue(dead, KEPT), Queue(name, dead_lettering(layout.queue_type, to=dead))),
        tuple(bindings),
    )


def plan_schedules(name: str, layout: Layout) -> Plan:
    """Plan what the schedules of a queue take: their book, and where a message comes when one is due.

    The way to the latter is one more end of the ladder, and leads through no work queue where the rungs are
    there that a consumer believes in.
    """
    ladder, book, wake = layout.ladders[name], names.schedule(name), names.wake(name)
    units = map(layout.rungs.unit, range(layout.rungs.levels))
    bindings = [Binding(book, book, "")]
    bindings += (Binding(names.level(ladder, unit), wake, names.last_hop(unit, wake)) for unit in units)
    if layout.is_queue(ladder):
        # One that finds no way comes to the work queue of that name, whose consumer sends it home by this.
        bindings.append(Binding(names.control(ladder), wake, wake))
    else:
        bindings.append(Binding(names.due(ladder), wake, names.astray(wake)))
    return Plan((Exchange(book, "fanout"),), (Queue(book, KEPT), Queue(wake, KEPT)), tuple(bindings))


def plan_limits(name: str, layout: Layout) -> Plan:
    """Plan what the limits of a queue take; nothing where it has none."""
    paced, capped = name in layout.paced, name in layout.capped
    queues = tuple(Queue(each, KEPT) for each in names.limits(name, paced=paced, capped=capped))
    if not capped:
        return Plan(queues=queues)
    book, permits = names.limit(name), names.permits(name)
    return Plan((Exchange(book),), queues, (Binding(book, book, book), Binding(book, permits, permits)))


def plan_history(kept: Retention) -> Plan:
    """Plan the history of all queues: a stream of records, and a smaller one that tells where they are."""
    streams = ((names.HISTORY, kept.bytes), (names.HISTORY_INDEX, kept.bytes // _INDEX_PART))
    return Plan(
        (Exchange(names.HISTORY),),
        tuple(Queue(name, _stream(kept.seconds, size)) for name, size in streams),
        tuple(Binding(names.HISTORY, name, name) for name, _ in streams),
    )


def _stream(seconds: int, size: int) -> dict[str, str | int]:
    return {
        "x-queue-type": STREAM,
        "x-max-age": f"{seconds}s",
        "x-max-length-bytes": size,
        # Whole segments go, so small ones follow both bounds closely.
        "x-stream-max-segment-size-bytes": max(1_000_000, size // _SEGMENTS),
    }


def plan_ladder(name: str, layout: Layout) -> Plan:
    """Plan a ladder: its entry, an exchange for each level, a wait queue for each digit of each level.

    A queue beside them drops the markers that a look (``taskqueue waiting``) has left on a rung. Two are for
    the probes of consumers.
    A message that finds no way at any of them comes to the work queue of that name. A shared ladder has no
    such queue: it leads the message to the queue that the message names, else to `names.lost`.
    """
    return _plan_ladder(name, layout.rungs, layout.queue_type, shared=not layout.is_queue(name))


# A command plans each ladder several times, and the page once a second.
@lru_cache(maxsize=1024)
def _plan_ladder(name: str, rungs: Ladder, queue_type: str, *, shared: bool) -> Plan:
    due, lost = names.due(name), names.lost(name)
    exchanges = [Exchange(names.wait(name), alternate=due), Exchange(names.control(name))]
    exchanges += (Exchange(level, alternate=due) for level in levels(name, rungs))
    queues = list(_wait_queues(name, rungs, queue_type))
    probe, probed, control = names.probe(name), names.probed(name), names.control(name)
    queues += (Queue(names.looked(name), DROPPED), Queue(probe, PROBES), Queue(probed, NEWEST))
    bindings = list(hops(name, rungs, queue_type))
    bindings += (Binding(level, names.looked(name), names.LOOK) for level in levels(name, rungs))
    bindings += (Binding(place, probe, names.WATCH) for place in (*levels(name, rungs), control))
    bindings.append(Binding(control, probed, probed))
    if shared:
        exchanges += [Exchange(lost, "fanout"), Exchange(due, alternate=lost)]
        queues.append(Queue(lost, KEPT))
        bindings.append(Binding(lost, lost, ""))
    return Plan(tuple(exchanges), tuple(queues), tuple(bindings))


def joined(plans: Iterable[Plan]) -> Plan:
    """Put plans together."""
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
        Exchange(names.due(queue)),
        Exchange(names.control(queue)),
        Exchange(names.dead(queue)),
        Queue(names.dead(queue)),
    )


def ladder_essentials(ladder: str, rungs: Ladder, queue_type: str) -> tuple[Exchange | Queue, ...]:
    """List what must exist for a ladder to be the one that the configuration says (names only)."""
    return (
        Exchange(names.wait(ladder)),
        Exchange(names.control(ladder)),
        *(Exchange(level) for level in levels(ladder, rungs)),
        *(Queue(rung_name(ladder, rungs.ttl(leg), queue_type)) for leg in rungs.rungs()),
    )


def levels(ladder: str, rungs: Ladder) -> Iterator[str]:
    """Name the exchange of each level."""
    return (names.level(ladder, rungs.unit(level)) for level in range(rungs.levels))


def rung_name(ladder: str, ttl: str, queue_type: str) -> str:
    """Name a rung of the type that is configured."""
    return names.rung(ladder, ttl, classic=queue_type == CLASSIC)


def dead_lettering(queue_type: str, *, to: str) -> dict[str, str | int]:
    """Make the arguments of a queue that must not lose what it dead-letters."""
    if queue_type == CLASSIC:
        return {"x-queue-type": CLASSIC, "x-dead-letter-exchange": to}
    return KEPT | {
        "x-dead-letter-exchange": to,
        # It is silently at-most-once with the default overflow (rabbitmq.com/docs/quorum-queues).
        "x-dead-letter-strategy": "at-least-once",
    }


def hops(ladder: str, rungs: Ladder, queue_type: str) -> Iterator[Binding]:
    """Bind every rung to the entry and to each higher level."""
    units = tuple(map(rungs.unit, range(rungs.levels)))
    for leg in rungs.rungs():
        ttl = rungs.ttl(leg)
        rung = rung_name(ladder, ttl, queue_type)
        yield Binding(names.wait(ladder), rung, names.hop(names.ENTRY, ttl))
        for unit in units[leg.level + 1 :]:
            yield Binding(names.level(ladder, unit), rung, names.hop(unit, ttl))


def _wait_queues(ladder: str, rungs: Ladder, queue_type: str) -> Iterator[Queue]:
    for leg in rungs.rungs():
        onward = names.level(ladder, rungs.unit(leg.level))
        arguments = dead_lettering(queue_type, to=onward) | {"x-message-ttl": rungs.ttl_ms(leg)}
        yield Queue(rung_name(ladder, rungs.ttl(leg), queue_type), arguments)
