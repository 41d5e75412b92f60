"""The wait queues of a ladder as an operator's commands go through them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from taskqueue.settings import Settings
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


def rungs(ladder: str, settings: Settings, listed: Iterable[str] = ()) -> tuple[Rung, ...]:
    """List the wait queues of a ladder from the longest TTL to the shortest.

    `listed` names queues that exist. Some of this ladder may be of a former resolution or type, which the
    configuration no longer names: they still hand on what waits there.
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
        )
        for leg in steps.rungs()
    )
    found = {rung.queue: rung for rung in every}
    for name in listed:
        timed = names.timed(name)
        if timed is not None and timed.ladder == ladder and name not in found:
            ttl_ms = int(timed.seconds * 1000)
            within = ttl_ms + int(timed.unit * 1000)
            found[name] = Rung(names.seconds(timed.seconds), ttl_ms, name, within)
    return tuple(sorted(found.values(), key=lambda rung: -rung.ttl_ms))


def stages(ladder: str, settings: Settings) -> tuple[tuple[Rung, ...], ...]:
    """Group the wait queues of a ladder by their levels, in the order in which a task walks them.

    A delay has one digit a level, so no task ever walks from one rung of a stage to another of it.
    """
    steps = settings.rungs
    of = {rung.queue: rung for rung in rungs(ladder, settings)}
    levels: dict[int, list[Rung]] = {leg.level: [] for leg in steps.legs(steps.longest)}
    for leg in steps.rungs():
        levels[leg.level].append(of[rung_name(ladder, steps.ttl(leg), settings.queue_type)])
    return tuple(map(tuple, levels.values()))


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
