"""Which routing keys lead elsewhere while a ladder is replaced, as data.

What the new plan leads somewhere leads to the parking queue meanwhile. A key that only the former
ladder knew is still used by programs that have not been restarted: it leads to the stale queue,
where a message stays a second and goes on to the work queue. The consumer that gets it there finds
it not due and sends it round again. So no publisher ever meets a key that leads nowhere.
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
    """A binding that is to be made, and the queue that the same key leads to no longer."""

    exchange: str
    key: str
    queue: str
    instead_of: str | None = None


def ways(work: Work) -> tuple[Way, ...]:
    """List what is bound otherwise before the first message moves."""
    return (*_of_rungs(work), *_of_collisions(work), *_of_work_queue(work))


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


def _of_rungs(work: Work) -> Iterator[Way]:
    queue = work.queue.name
    entry = names.wait_exchange(queue)
    planned = {(binding.exchange, binding.routing_key) for binding in work.plan.bindings}
    obsolete = set(work.obsolete)
    for rung in work.rungs:
        ttl = rung.name.removeprefix(names.wait_queue(queue, ""))
        steps = [(entry, names.hop(names.ENTRY, ttl))]
        steps += [
            (names.level_exchange(queue, unit), names.hop(unit, ttl)) for unit in units_below(ttl, work.units)
        ]
        for exchange, key in steps:
            parked = (exchange, key) in planned or exchange in obsolete
            yield Way(exchange, key, names.moving(queue) if parked else names.stale(queue), rung.name)


def _of_collisions(work: Work) -> Iterator[Way]:
    """Catch what enters a rung of both ladders by a former itinerary: it leaves on another level."""
    queue, planned = work.queue.name, planned_units(work)
    pairs = {(planned[ttl], unit) for ttl, unit in rung_units(work).items() if planned.get(ttl, unit) != unit}
    for here, unit in sorted(pairs):
        exchange = names.level_exchange(queue, here)
        yield Way(exchange, names.hop(unit, names.DUE), names.stale(queue))
        for rung in work.former.rungs:
            if number(rung.ttl) > number(unit):
                yield Way(exchange, names.hop(unit, rung.ttl), names.stale(queue))


def _of_work_queue(work: Work) -> Iterator[Way]:
    if work.work is None:
        return
    queue = work.queue.name
    hops = [last_hop(queue, unit) for unit in work.units]
    for exchange, key in (*hops, stale_hop(queue)):
        yield Way(exchange, key, names.moving(queue), queue)
