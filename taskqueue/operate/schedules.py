"""The schedules of the broker: list them, run one now, pause and resume one."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Session
from taskqueue.errors import NotDeclared, PublishFailed
from taskqueue.schedule import book as books
from taskqueue.schedule import messages
from taskqueue.schedule.book import Book, Entry
from taskqueue.schedule.holding import CONFIRMING, hold, read
from taskqueue.settings import Settings
from taskqueue.settings.schedules import Definition, ScheduleSettings

NEXT = 3
"""How many of the next occurrences are listed."""
RUNNING, PAUSED, REMOVED = "running", "paused", "removed"
NOT_DECLARED, OTHER, NOT_IN_INI = "not declared", "other than in the ini", "not in the ini"


@dataclass(frozen=True, slots=True)
class ScheduleState:
    """One schedule as the broker has it; where it has none, as the ini has it. Times are since the epoch."""

    name: str
    queue: str
    state: str
    definition: Definition
    next: tuple[int, ...] = ()
    last: int | None = None
    paused: int | None = None

    @property
    def good(self) -> bool:
        """It is as the ini says, and runs or was paused."""
        return self.state in {RUNNING, PAUSED}


async def states(session: Session, settings: Settings, queues: Iterable[str]) -> tuple[ScheduleState, ...]:
    """Give the schedules of queues that have any in the ini, or in their book.

    Raises NotKnown where a book can't be read, or somebody holds it and stands still.
    """
    found: list[ScheduleState] = []
    for queue in queues:
        book = await _book(session, queue)
        mine = {each.name: each for each in settings.schedules.values() if each.queue == queue}
        names = dict.fromkeys((*mine, *book.entries))
        found += (_state(name, queue, mine.get(name), book.entries.get(name)) for name in names)
    return tuple(found)


async def run(
    session: Session, settings: Settings, schedule: str, *, clock: Callable[[], float] = time.time
) -> str:
    """Enqueue the task of a schedule now, as the broker has it, and give its id, which no occurrence has.

    Raises NotDeclared, NotKnown, PublishFailed.
    """
    queue = settings.schedules[schedule].queue
    entry = (await _book(session, queue)).entries.get(schedule)
    if entry is None:
        raise _absent(schedule)
    now = clock()
    at = datetime.fromtimestamp(now, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    task_id = f"{schedule}@{at}"
    task = messages.task(entry.definition, queue, task_id)
    async with session.own_channel() as channel:
        try:
            await channel.confirms()
            async with asyncio.timeout(CONFIRMING):
                await channel.publish(task.publish(settings.way(queue), now))
        except TimeoutError as error:
            msg = f"{queue}: no confirm in {CONFIRMING:g} s, so {task_id} may have been sent all the same"
            raise PublishFailed(msg) from error
        except Refused as error:
            raise PublishFailed(f"{queue}: {error.reason}") from error
    return task_id


async def pause(
    session: Session, settings: Settings, schedule: str, *, clock: Callable[[], float] = time.time
) -> None:
    """Have a schedule enqueue nothing until it is resumed; raises as `run` does."""
    await _change(session, settings, schedule, books.paused, clock)


async def resume(
    session: Session, settings: Settings, schedule: str, *, clock: Callable[[], float] = time.time
) -> None:
    """Have a schedule go on with what comes after now; raises as `run` does."""
    await _change(session, settings, schedule, books.resumed, clock)


async def _change(
    session: Session,
    settings: Settings,
    schedule: str,
    act: Callable[[Book, str, float], Book],
    clock: Callable[[], float],
) -> None:
    queue = settings.schedules[schedule].queue
    async with hold(session, queue) as held:
        now = clock()
        if schedule not in held.book.entries:
            raise _absent(schedule)
        book = act(held.book, schedule, now)
        if book is held.book:
            return
        await held.replace(book, *messages.wake_publishes(book, settings.way(queue), now))


async def _book(session: Session, queue: str) -> Book:
    try:
        return await read(session, queue)
    except NotDeclared:
        return Book()


def _state(name: str, queue: str, mine: ScheduleSettings | None, entry: Entry | None) -> ScheduleState:
    if entry is None:
        # It stands in one of both.
        definition = mine.definition if mine is not None else Definition("", "")
        return ScheduleState(name, queue, NOT_DECLARED, definition)
    if entry.until is not None:
        state = REMOVED
    elif mine is None:
        state = NOT_IN_INI
    elif mine.definition != entry.definition:
        state = OTHER
    else:
        state = RUNNING if entry.paused is None else PAUSED
    return ScheduleState(
        name, queue, state, entry.definition, books.upcoming(entry, NEXT), entry.last, entry.paused
    )


def _absent(schedule: str) -> NotDeclared:
    return NotDeclared(f"schedule {schedule!r} is not in the broker: run 'taskqueue declare'")
