"""Write the schedules of the ini into the broker: consumers go by what stands there, not by their own ini.

So while one ini takes the place of another, one of both counts at any time. What an ini says of a queue is
all: a schedule of the queue that it does not name is removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from taskqueue.broker.session import Progress, Session
from taskqueue.declare.presence import stands
from taskqueue.declare.verify import Findings
from taskqueue.schedule import messages
from taskqueue.schedule.book import Book, declared
from taskqueue.schedule.holding import PATIENCE, hold
from taskqueue.settings import Settings
from taskqueue.settings.schedules import Definition
from taskqueue.topology import names
from taskqueue.topology.plan import Queue

_GONE = 2.0
"""Seconds after which the book of a queue that no ini names is taken to be gone."""
ADDED, CHANGED, REMOVED, KEPT = "added", "changed", "removed", "kept"


@dataclass(frozen=True, slots=True)
class Written:
    """What became of one schedule, or is to become of it."""

    name: str
    queue: str
    state: str
    next: int | None
    """Its next occurrence: seconds since the epoch; None where it is removed, paused, or never comes."""


async def settle(
    session: Session,
    settings: Settings,
    findings: Findings,
    progress: Progress | None = None,
    *,
    dry_run: bool = False,
    clock: Callable[[], float] = time.time,
) -> tuple[Written, ...]:
    """Make the schedules of each queue in the broker those of the ini; gives what became of each.

    What is due and not enqueued yet is enqueued all the same. Raises NotKnown, PublishFailed, BrokerRefused.
    """
    since = clock()
    existing = {item.name for item in findings.existing if isinstance(item, Queue)}

    async def work(session: Session, queue: str) -> tuple[Written, ...]:
        definitions = {
            each.name: each.definition for each in settings.schedules.values() if each.queue == queue
        }
        known = names.schedule(queue) in existing
        if not known and (dry_run or not definitions) and not await stands(session, names.schedule(queue)):
            return tuple(Written(name, queue, ADDED, None) for name in definitions)
        # In a queue that was made a moment ago nobody can have anything.
        patience = PATIENCE if known or not definitions else 0.0
        async with hold(session, queue, patience=patience) as held:
            now = clock()
            # Where it was held for long and not lost, this one has to outdo it.
            former = held.book or Book(edition=int(now))
            book = declared(former, definitions, now, since=since)
            if not dry_run:
                # Also where nothing has changed: it mends what was lost with a rung, and does no other harm.
                await held.replace(book, *messages.wake_publishes(book, settings.way(queue), now))
        return _written(queue, former, book, definitions)

    step = "writing schedules" if settings.schedules and not dry_run else ""
    found = await session.each(step, work, settings.queues, progress if step else None)
    return tuple(each for some in found for each in some)


async def clear(session: Session, queue: str) -> tuple[str, ...]:
    """Empty the queues for the schedules of a queue where there are none; gives those that there are.

    Nothing is lost: the book says that there are none, and a wake-up says nothing but to look there. Raises
    NotKnown, NotDeclared, BrokerRefused.
    """
    async with hold(session, queue, patience=_GONE) as held:
        if held.book is not None and held.book.entries:
            return tuple(held.book.entries)
        async with session.own_channel() as channel:
            while (wake := await channel.get(names.wake(queue))) is not None:
                channel.ack(wake)
            await channel.ask("basic_qos", prefetch_count=1)
        held.drop()
    return ()


def _written(
    queue: str, former: Book, book: Book, definitions: Mapping[str, Definition]
) -> tuple[Written, ...]:
    found = []
    for name in definitions:
        before, after = former.entries.get(name), book.entries[name]
        same = before is not None and before.definition == after.definition
        state = ADDED if before is None else KEPT if same else CHANGED
        found.append(Written(name, queue, state, None if after.paused is not None else after.next))
    found += (Written(name, queue, REMOVED, None) for name in former.entries if name not in definitions)
    return tuple(found)
