"""The wait queues of a ladder as an operator's commands go through them."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from itertools import groupby

from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology import names
from taskqueue.topology.ladder import BASE
from taskqueue.topology.plan import rung_name

_FOR_EVER = 2**63


@dataclass(frozen=True, slots=True)
class Rung:
    """One wait queue: its TTL as it is written and in milliseconds, and the queue's name."""

    ttl: str
    ttl_ms: int
    queue: str
    within_ms: int
    """Milliseconds within which every task on it is due: its TTL and all shorter legs."""
    entry: str | None = None
    """The exchange from which a key leads to it; None where none does, or nobody knows."""


def of_ladders(queues: Iterable[QueueSettings], listed: Iterable[str]) -> Mapping[str, list[str]]:
    """Sort those that are wait queues of what is `listed` by the ladder that they are looked at with.

    A queue that has moved to a shared ladder may have tasks on its former own: that goes with the shared one.
    """
    every = tuple(queues)
    place = {queue.name: queue.ladder for queue in every} | {queue.ladder: queue.ladder for queue in every}
    found: dict[str, list[str]] = {}
    for name in listed:
        timed = names.timed(name)
        if timed is not None and timed.ladder in place:
            found.setdefault(place[timed.ladder], []).append(name)
    return found


def rungs(
    ladder: str, settings: Settings, listed: Iterable[str] = (), led_to: Container[str] = ()
) -> tuple[Rung, ...]:
    """List the wait queues of a ladder from the longest TTL to the shortest.

    `listed` names wait queues that exist. Some may be of a former resolution, type or ladder, which the
    configuration no longer names: they still hand on what waits there. `led_to` has those of them to which a
    key still leads from their entry.
    """
    steps = settings.rungs
    top = steps.levels - 1
    every = (
        Rung(
            ttl=steps.ttl(leg),
            ttl_ms=steps.ttl_ms(leg),
            queue=rung_name(ladder, steps.ttl(leg), settings.queue_type),
            # A task that is due later than the ladder is long goes round on its last rung.
            within_ms=_FOR_EVER
            if (leg.level, leg.digit) == (top, BASE - 1)
            else steps.ttl_ms(leg) * (leg.digit + 1) // leg.digit,
            entry=names.wait(ladder),
        )
        for leg in steps.rungs()
    )
    found = {rung.queue: rung for rung in every}
    for name in listed:
        timed = names.timed(name)
        if timed is not None and name not in found:
            ttl_ms = int(timed.seconds * 1000)
            within = ttl_ms + int(timed.unit * 1000)
            entry = names.wait(timed.ladder) if name in led_to else None
            found[name] = Rung(names.seconds(timed.seconds), ttl_ms, name, within, entry)
    return tuple(sorted(found.values(), key=lambda rung: -rung.ttl_ms))


def stages(every: Iterable[Rung]) -> tuple[tuple[Rung, ...], ...]:
    """Group wait queues, the longest TTL first, by their levels, in the order in which a task walks them.

    A delay has one digit a level, so no task ever walks from one rung of a stage to another of it. Every
    ladder is a window of the same decimal one, so that holds for what several of them have.
    """
    return tuple(tuple(level) for _, level in groupby(every, key=lambda rung: len(str(rung.ttl_ms))))


def rest_ms(keys: Iterable[str], ttl: str) -> int:
    """Add up the stays that follow the one on the rung of `ttl`, in milliseconds.

    `keys` are those of the ``CC`` header: the key to the first rung is not among them.
    """
    rest = 0
    for key in keys:
        goes = key.partition(">")[2]
        rest = 0 if goes == ttl else rest + _length_ms(goes)
    return rest


@lru_cache(maxsize=1024)
def _length_ms(goes: str) -> int:
    rung = names.timed(names.rung("any", goes))
    return int(rung.seconds * 1000) if rung is not None else 0
