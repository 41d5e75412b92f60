"""The ladder of one queue: lists the tasks that wait on it, and takes some off it.

The wait queues are looked through from the longest TTL to the shortest. Tasks walk the same way, so a task
that moves on meanwhile is met again further down and never missed. A look holds the messages of its wait
queue, so a task that comes due in that moment is late by the rest of the look.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass

from taskqueue.broker.session import Session
from taskqueue.operate import browse
from taskqueue.operate.browse import Progress, text, url_of, whole
from taskqueue.settings import Settings
from taskqueue.task import decode as state
from taskqueue.task.astray import itinerary
from taskqueue.task.message import Message
from taskqueue.topology import names
from taskqueue.topology.ladder import BASE
from taskqueue.topology.plan import rung_name

_FOR_EVER = 2**63


@dataclass(frozen=True, slots=True)
class WaitingTask:
    """One task on the ladder; None where its message does not say."""

    id: str | None
    url: str | None
    due: float | None
    """When it is to run: seconds since the epoch."""
    runs: int
    error: str | None
    """Why its last run failed."""
    rung: str
    """How long its wait queue holds it, ``20s``; shorter rungs may follow."""


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


def waiting_task(message: Message, rung: str) -> WaitingTask:
    """Read what a waiting message tells; never raises, whatever it holds."""
    due = whole(message.headers, state.DUE)
    return WaitingTask(
        id=text(message.properties.get("message_id")),
        url=url_of(message.body),
        due=None if due is None else due / 1000,
        runs=whole(message.headers, state.RUNS) or 0,
        error=text(message.headers.get(state.ERROR)),
        rung=rung,
    )


async def count(session: Session, queue: str, settings: Settings) -> int:
    """Count what waits on the ladder of a queue; raises NotDeclared where one is missing, NotKnown."""
    steps = rungs(settings.queues[queue].ladder, settings)
    return sum(await session.each("", browse.count, [rung.queue for rung in steps]))


async def due_next(session: Session, queue: str, settings: Settings, *, limit: int) -> list[WaitingTask]:
    """List the `limit` waiting tasks that are due next, whatever their rungs. They stay there.

    Raises NotDeclared where a rung is missing, NotKnown.
    """
    nearest: list[WaitingTask] = []
    for rung in rungs(settings.queues[queue].ladder, settings):
        nearest = _nearest([*nearest, *await _head(session, rung, queue, limit)], limit)
    return nearest


async def _head(session: Session, rung: Rung, queue: str, limit: int) -> list[WaitingTask]:
    """Read from the head of a rung until no task behind can be due before the first `limit` tasks.

    All stay on it equally long, so a task further behind is due later. The legs that follow may change that
    by less than the unit of its level.
    """
    tick = (rung.within_ms - rung.ttl_ms) / 1000
    nearest: list[WaitingTask] = []
    bound = math.inf
    # While they are held, no message is handed on: to hold them longer would make tasks late.
    async with browse.look(session, rung.queue) as looking:
        async for found in looking:
            if not _is_for(found.message, queue):
                continue
            task = waiting_task(found.message, rung.ttl)
            nearest.append(task)
            if task.due is not None and task.due - tick > bound:
                break
            if len(nearest) >= 2 * limit:
                nearest = _nearest(nearest, limit)
                bound = _due(nearest[-1])
    return nearest


def _nearest(tasks: Iterable[WaitingTask], limit: int) -> list[WaitingTask]:
    return heapq.nsmallest(limit, tasks, key=_due)


def _due(task: WaitingTask) -> float:
    return math.inf if task.due is None else task.due


async def cancel(
    session: Session,
    queue: str,
    settings: Settings,
    ids: Collection[str],
    *,
    progress: Progress | None = None,
    acted: Callable[[str], None] = lambda _: None,
) -> frozenset[str]:
    """Take tasks off the ladder (the first copy of each); returns the ids that were not on it.

    Those tasks may be in the work queue, running, done, or dead.
    """
    left = set(ids)
    total = await count(session, queue, settings) if progress is not None else 0
    looked = 0
    for rung in rungs(settings.queues[queue].ladder, settings):
        if not left:
            break
        async with browse.look(session, rung.queue) as looking:
            async for found in looking:
                looked += 1
                if progress is not None:
                    progress(looked, max(looked, total))
                task_id = waiting_task(found.message, rung.ttl).id
                if task_id is not None and task_id in left and _is_for(found.message, queue):
                    looking.take(found)
                    acted(task_id)
                    left.discard(task_id)
                    if not left:
                        break
    return frozenset(left)


def _is_for(message: Message, queue: str) -> bool:
    """Tell whether a message is on its way to a queue: others may share the ladder."""
    keys = itinerary(message.headers)
    target = names.destination(keys[-1]) if keys else None
    return target is None or target == queue
