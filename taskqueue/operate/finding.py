"""Finds one task by its id: on a ladder, in a dead queue, or in a work queue that nobody consumes.

What is looked at stays where it is. A work queue is looked at only while it is paused (`ready`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taskqueue.broker.session import Session
from taskqueue.operate import browse, ready
from taskqueue.operate.dead import DeadTask, dead_task
from taskqueue.operate.overview import Overview, View
from taskqueue.operate.reading import Facts
from taskqueue.operate.rungs import Rung
from taskqueue.operate.waiting import WaitingTask, waiting_task
from taskqueue.settings import Settings
from taskqueue.task.astray import itinerary
from taskqueue.task.message import Message
from taskqueue.topology import names

Task = WaitingTask | DeadTask
Progress = Callable[[str], None]
"""Called with what is looked at now."""
_MOST_EXTRA = 20_000
_READY = ""
"""The rung of a task that is on none."""


@dataclass(frozen=True, slots=True)
class Found:
    """A place where the task stands. A task that is ready is told like one that waits, on no rung."""

    queue: str
    place: str
    """``waiting``, ``ready`` or ``dead``."""
    task: Task


async def find(
    session: Session, settings: Settings, overview: Overview, task_id: str, progress: Progress
) -> tuple[Found, ...]:
    """Find every place of a task in the queues of the settings; raises NotDeclared, NotKnown.

    It goes the way of a task. One that moves on while it is looked for may be found twice, and one that is
    put back on the ladder meanwhile not at all.
    """
    found: list[Found] = []
    ladders = {view.ladder.name: view.ladder for view in overview.views}
    for ladder, state in ladders.items():
        if state.waiting != 0:
            progress(f"ladder {ladder}")
            found += await _on_ladder(session, ladder, state.rungs, settings, task_id)
    for view in overview.views:
        dead = names.dead(view.name)
        # Whatever was counted before: it may have died since.
        if f"queue {dead}" not in view.state.missing:
            progress(dead)
            found += [
                Found(view.name, "dead", dead_task(message, view.name))
                for message in await _in_queue(session, dead, task_id)
            ]
    if not found:
        found = await _ready(session, overview.views, task_id, progress)
    return tuple(found)


async def _ready(session: Session, views: tuple[View, ...], task_id: str, progress: Progress) -> list[Found]:
    found = []
    for view in views:
        if view.pause is not None and view.state.consumers == 0:
            progress(view.name)
            seen: list[Facts] = []

            def visit(facts: Facts, seen: list[Facts] = seen) -> None:
                if facts.id == task_id:
                    seen.append(facts)

            await ready.look(session, view.settings, visit, most_extra=_MOST_EXTRA)
            found += [Found(view.name, "ready", waiting_task(facts, _READY)) for facts in seen]
    return found


async def _on_ladder(
    session: Session, ladder: str, rungs: tuple[Rung, ...], settings: Settings, task_id: str
) -> list[Found]:
    found: list[Found] = []
    for rung in rungs:
        if await session.counts(rung.queue) is None:
            continue
        for message in await _in_queue(session, rung.queue, task_id):
            keys = itinerary(message.headers)
            queue = names.destination(keys[-1]) if keys else None
            if queue is None or queue in settings.queues:
                found.append(Found(queue or ladder, "waiting", waiting_task(Facts(message), rung.ttl)))
    return found


async def _in_queue(session: Session, queue: str, task_id: str) -> list[Message]:
    async with browse.look(session, queue, most_extra=_MOST_EXTRA) as looking:
        return [found.message async for found in looking if Facts(found.message).id == task_id]
