"""Write the schedules of the ini into the broker: consumers go by what stands there, not by their own ini.

So while one ini takes the place of another, one of both counts at any time. What an ini says of a queue is
all: a schedule of the queue that it does not name is removed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from taskqueue.broker.session import Progress, Session
from taskqueue.declare.presence import require_whole, stands
from taskqueue.declare.verify import Findings
from taskqueue.schedule import messages
from taskqueue.schedule.book import Book, declared
from taskqueue.schedule.holding import hold
from taskqueue.settings import Settings
from taskqueue.settings.schedules import Definition
from taskqueue.topology import names
from taskqueue.topology.plan import Queue

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
    A `dry_run` before anything is changed finds whether somebody holds a book and stands still.
    """
    since = clock()
    existing = {item.name for item in findings.existing if isinstance(item, Queue)}

    async def work(session: Session, queue: str) -> tuple[Written, ...]:
        definitions = {
            each.name: each.definition for each in settings.schedules.values() if each.queue == queue
        }
        known = names.wake(queue) in existing
        # Without definitions they are in no plan, so nobody has looked for them.
        if not known and (dry_run if definitions else not await _stand(session, queue)):
            return tuple(Written(name, queue, ADDED, None) for name in definitions)
        if known:
            await require_whole(
                session, names.schedule(queue), names.wake(queue), existing,
                lost=f"and with it the schedules of {queue}", anew="begins with those of the configuration",
            )  # fmt: skip
        async with hold(session, queue) as held:
            now, former = clock(), held.book
            book = declared(former, definitions, now, since=since)
            if not dry_run:
                # Also where nothing has changed: it mends what was lost with a rung, and does no other harm.
                await held.replace(book, *messages.wake_publishes(book, settings.way(queue), now))
        return _written(queue, former, book, definitions)

    step = "writing schedules" if settings.schedules and not dry_run else ""
    found = await session.each(step, work, settings.queues, progress if step else None)
    return tuple(each for some in found for each in some)


async def _stand(session: Session, queue: str) -> bool:
    return await stands(session, names.schedule(queue)) and await stands(session, names.wake(queue))


def _written(
    queue: str, former: Book, book: Book, definitions: Mapping[str, Definition]
) -> tuple[Written, ...]:
    found = []
    for name in definitions:
        before, after = former.entries.get(name), book.entries[name]
        same = before is not None and before.definition == after.definition
        state = ADDED if before is None else KEPT if same else CHANGED
        found.append(Written(name, queue, state, None if after.paused is not None else after.first))
    found += (Written(name, queue, REMOVED, None) for name in former.entries if name not in definitions)
    return tuple(found)
