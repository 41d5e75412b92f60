"""The looks through tasks that the pages ask for: each is run by a job, on a connection of its own."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from taskqueue.broker.management import Management
from taskqueue.broker.session import Session, connected
from taskqueue.history import search
from taskqueue.history.story import ending
from taskqueue.history.wanted import lacking
from taskqueue.operate import dead, finding, ready, schedules, story, waiting
from taskqueue.operate.filters import Filter
from taskqueue.operate.finding import Found
from taskqueue.operate.overview import View, look
from taskqueue.operate.schedules import ScheduleState
from taskqueue.settings import QueueSettings, Settings
from taskqueue.task.message import Message
from taskqueue.task.settle import roll_back_id
from taskqueue.web import bodies
from taskqueue.web.bodies import Shown
from taskqueue.web.desk import NAME
from taskqueue.web.jobs import Job
from taskqueue.web.orders import problems
from taskqueue.web.rows import Row, dead_row, ready_row, record_row, waiting_row

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Listed:
    """The tasks of a list, and how many there are; None where nobody has counted."""

    rows: tuple[Row, ...]
    matched: int | None
    looked: int | None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Single:
    """One task."""

    row: Row
    message: Shown
    words: tuple[str, ...]
    records: tuple[Row, ...]
    """What the history has of it."""


@dataclass(frozen=True, slots=True)
class Everywhere:
    """Where a task was found."""

    places: tuple[tuple[str, str], ...]
    """Queue, and where in it."""
    words: tuple[str, ...]
    records: tuple[Row, ...]


def listing(
    settings: Settings, queue: QueueSettings, where: str, wanted: Filter | None, limit: int
) -> Callable[[Job], Listed]:
    """Give what lists tasks of a queue: those that are due next, will run next, or died first."""
    chosen = wanted or Filter()

    async def work(session: Session, job: Job) -> Listed:
        if where == "waiting":
            shown = await waiting.due_next(
                session, queue.name, settings, chosen, limit=limit, progress=job.tell
            )
            rows = tuple(waiting_row(task) for task, _ in shown.tasks)
            return Listed(rows, shown.acted.matched, shown.acted.looked, problems(shown.acted))
        if where == "ready":
            await ready.require_paused(session, queue.name)
            found, seen = await ready.first(session, queue, chosen, limit=limit, progress=job.tell)
            return Listed(tuple(map(ready_row, found)), seen.matched, seen.looked, problems(seen))
        if wanted is None:
            # The oldest alone: the rest need not be looked at.
            total = await dead.count(session, queue.name)
            entries = dead.entries(session, queue.name, chosen, limit=limit, progress=job.tell)
            return Listed(tuple([dead_row(task) async for task in entries]) if total else (), total, total)
        first, seen = await dead.counted(session, queue.name, chosen, limit=limit, progress=job.tell)
        return Listed(tuple(map(dead_row, first)), seen.matched, seen.looked, problems(seen))

    return lambda job: job.run(_within(settings, lambda session: work(session, job)))


def single(settings: Settings, view: View, where: str, task_id: str) -> Callable[[Job], Single | None]:
    """Give what finds one task in one place, with its body; None where it is not there."""

    async def work(session: Session, job: Job) -> Single | None:
        found = await _found(session, settings, view, where=where, task_id=task_id, job=job)
        if found is None:
            return None
        row, message, place = found
        words = tuple(story.told(place, view, time.time()))
        records = await _records(session, settings, task_id)
        return Single(row, bodies.shown(message), words, records)

    return lambda job: job.run(_within(settings, lambda session: work(session, job)))


def everywhere(settings: Settings, task_id: str) -> Callable[[Job], Everywhere]:
    """Give what finds a task wherever it is."""

    async def work(session: Session, _job: Job) -> Everywhere:
        overview = await look(session, settings, Management(settings))
        found = await finding.find(session, settings, overview, task_id, lambda _: None)
        views = {view.name: view for view in overview.views}
        now = time.time()
        words = [
            line for each in found for line in story.told(each, views.get(each.queue, overview.views[0]), now)
        ] or list(story.nowhere(overview.views))
        records: tuple[Row, ...] = ()
        if settings.history is not None:
            answer = await search.find(session, _ids(task_id), now, lambda _: None)
            words.append(f"by the history: {ending(task_id, answer.records)}")
            if answer.dropped:
                words.append(lacking(answer.dropped))
            records = tuple(map(record_row, answer.records))
        return Everywhere(tuple((each.queue, each.place) for each in found), tuple(words), records)

    return lambda job: job.run(_within(settings, lambda session: work(session, job)))


def timetable(settings: Settings) -> Callable[[Job], tuple[ScheduleState, ...]]:
    """Give what lists the schedules as the broker has them."""
    names = sorted(settings.scheduled)
    return lambda job: job.run(_within(settings, lambda session: schedules.states(session, settings, names)))


async def _found(
    session: Session, settings: Settings, view: View, *, where: str, task_id: str, job: Job
) -> tuple[Row, Message, Found] | None:
    chosen, name = Filter(ids=frozenset({task_id})), view.name
    if where == "waiting":
        shown = await waiting.due_next(session, name, settings, chosen, limit=1, progress=job.tell)
        for task, message in shown.tasks:
            return waiting_row(task), message, Found(name, where, task)
    elif where == "ready":
        await ready.require_paused(session, name)
        found, _ = await ready.first(session, view.settings, chosen, limit=1, progress=job.tell)
        for facts in found:
            return ready_row(facts), facts.message, Found(name, where, waiting.waiting_task(facts, ""))
    else:
        # To its end, so that what was looked at is back before the next look.
        entries = dead.entries(session, name, chosen, limit=1, progress=job.tell)
        for dead_task in [each async for each in entries]:
            return dead_row(dead_task), dead_task.message, Found(name, where, dead_task)
    return None


async def _records(session: Session, settings: Settings, task_id: str) -> tuple[Row, ...]:
    if settings.history is None:
        return ()
    answer = await search.find(session, _ids(task_id), time.time(), lambda _: None)
    return tuple(map(record_row, answer.records))


def _ids(task_id: str) -> frozenset[str]:
    # What a roll_back did belongs to the task that it is for.
    return frozenset({task_id, roll_back_id(task_id)})


async def _within(settings: Settings, work: Callable[[Session], Awaitable[Result]]) -> Result:
    async with connected(settings, name=NAME) as session:
        return await work(session)
