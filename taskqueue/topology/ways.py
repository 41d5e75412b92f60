"""Which routing keys lead elsewhere while a ladder is replaced, as data.

Whatever led to a queue that is emptied leads to the parking queue meanwhile. A key that only the
former ladder knew is still used by programs that have not been restarted: once that ladder is
empty, it leads to the stale queue, where a message stays a second and goes on to the work queue.
The consumer that gets it there finds it not due and sends it round again. So no publisher ever
meets a key that leads nowhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from taskqueue.topology import names
from taskqueue.topology.former import number, units_below
from taskqueue.topology.plan import NO_DELIVERY_LIMIT, QUORUM, Queue, dead_lettering
from taskqueue.topology.survey import Work, planned_units, rung_units

STALE_MS = 1000


@dataclass(frozen=True, slots=True)
class Way:
    """A binding that is to be made, and the queues that the same key leads to no longer."""

    exchange: str
    key: str
    queue: str
    instead_of: tuple[str, ...] = ()


def aside(work: Work, rung: str, *, again: bool) -> tuple[Way, ...]:
    """List the ways into a rung, as they lead to the parking queue while it is emptied.

    `again`: an earlier migration has made some of them lead to the stale queue.
    """
    queue = work.queue.name
    away = (rung, names.stale(queue)) if again else (rung,)
    return tuple(Way(exchange, key, names.moving(queue), away) for exchange, key in _into(work, rung))


def stale(work: Work) -> tuple[Way, ...]:
    """List the keys that no rung has any more, as they lead to the stale queue for good."""
    queue = work.queue.name
    planned = {(binding.exchange, binding.routing_key) for binding in work.plan.bindings}
    return tuple(
        Way(exchange, key, names.stale(queue), (names.moving(queue),))
        for rung in work.rungs
        for exchange, key in _into(work, rung.name)
        if (exchange, key) not in planned and exchange not in work.obsolete
    )


def last_hop(queue: str, unit: str) -> tuple[str, str]:
    """Give the exchange and the key by which a level leads to the work queue."""
    return names.level_exchange(queue, unit), names.hop(unit, names.DUE)


def stale_hop(queue: str) -> tuple[str, str]:
    """Give the exchange and the key by which the stale queue leads to the work queue."""
    return names.wait_exchange(queue), names.hop(names.STALE, names.DUE)


def stale_queue(queue: str, queue_type: str) -> Queue:
    """Plan the stale queue."""
    exchange, key = stale_hop(queue)
    arguments = dead_lettering(queue_type, to=exchange)
    arguments |= {"x-dead-letter-routing-key": key, "x-message-ttl": STALE_MS}
    return Queue(names.stale(queue), arguments)


def parking_queue(name: str, queue_type: str) -> Queue:
    """Plan the queue that messages wait in while their own is replaced."""
    arguments: dict[str, str | int] = {"x-queue-type": queue_type}
    if queue_type == QUORUM:
        arguments["x-delivery-limit"] = NO_DELIVERY_LIMIT
    return Queue(name, arguments)


def _into(work: Work, rung: str) -> Iterator[tuple[str, str]]:
    """Yield the exchange and the key of each way into a rung: from the entry and each lower level."""
    queue = work.queue.name
    ttl = rung.removeprefix(names.wait_queue(queue, ""))
    yield names.wait_exchange(queue), names.hop(names.ENTRY, ttl)
    own = rung_units(work).get(ttl) or planned_units(work)[ttl]
    for unit in units_below(own, work.units):
        yield names.level_exchange(queue, unit), names.hop(unit, ttl)


def collisions(work: Work) -> Iterator[Way]:
    """Catch what enters a rung of both ladders by a former itinerary: it leaves on another level."""
    queue, planned = work.queue.name, planned_units(work)
    pairs = {(planned[ttl], unit) for ttl, unit in rung_units(work).items() if planned.get(ttl, unit) != unit}
    for here, unit in sorted(pairs):
        exchange = names.level_exchange(queue, here)
        yield Way(exchange, names.hop(unit, names.DUE), names.stale(queue))
        for rung in work.former.rungs:
            if number(rung.ttl) > number(unit):
                yield Way(exchange, names.hop(unit, rung.ttl), names.stale(queue))


def due_aside(work: Work) -> tuple[Way, ...]:
    """List the ways into the work queue, as they lead to the parking queue while it is replaced.

    Obsolete levels are gone by then: they go with their rungs.
    """
    queue = work.queue.name
    hops = [hop for unit in work.units if (hop := last_hop(queue, unit))[0] not in work.obsolete]
    return tuple(
        Way(exchange, key, names.moving(queue), (queue,)) for exchange, key in (*hops, stale_hop(queue))
    )
