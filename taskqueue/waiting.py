"""The ladder of one queue: which tasks wait on it, and taking some off it.

The wait queues are looked through from the shortest TTL to the longest, which is the way that
tasks walk: one that moves on meanwhile is met again further up, never missed. While a wait queue
is looked through its messages are held, so one that comes due in that moment is late by it.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from pika.adapters.blocking_connection import BlockingConnection

from taskqueue import task as state
from taskqueue.browse import Browse, Progress, ready_messages, text, url_of, whole
from taskqueue.message import Message
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder


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
    """How long its wait queue holds it, ``20s``; other rungs may follow."""


@dataclass(frozen=True, slots=True)
class Rung:
    """One wait queue: its TTL as it is written, in milliseconds, and the queue's name."""

    ttl: str
    ttl_ms: int
    queue: str


def rungs(queue: str, ladder: Ladder) -> tuple[Rung, ...]:
    """List the wait queues of `queue` from the shortest TTL to the longest."""
    every = (
        Rung(ladder.ttl(leg), ladder.ttl_ms(leg), names.wait_queue(queue, ladder.ttl(leg)))
        for leg in ladder.rungs()
    )
    return tuple(sorted(every, key=lambda rung: rung.ttl_ms))


def read(message: Message, rung: str) -> WaitingTask:
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


def count(connection: BlockingConnection, queue: str, ladder: Ladder) -> int:
    """Count the tasks that wait; raises NotDeclared where a wait queue is missing."""
    channel = connection.channel()
    total = sum(ready_messages(channel, rung.queue) for rung in rungs(queue, ladder))
    channel.close()
    return total


def entries(
    connection: BlockingConnection, queue: str, ladder: Ladder, *, limit: int
) -> Iterator[WaitingTask]:
    """Yield at most `limit` waiting tasks, rung by rung; leaves them where they are."""
    for rung in rungs(queue, ladder):
        if limit <= 0:
            return
        # Read as a whole before any is handed on: what is held longer than needed may be late.
        with Browse(connection, rung.queue, limit=limit) as browse:
            found = [read(found.message, rung.ttl) for found in browse]
        yield from found
        limit -= len(found)


def cancel(
    connection: BlockingConnection,
    queue: str,
    ladder: Ladder,
    ids: Collection[str],
    *,
    progress: Progress | None = None,
) -> frozenset[str]:
    """Take tasks off the ladder (the first copy of each); returns the ids that were not on it.

    Such a task may be in the work queue, running, done, or dead.
    """
    left = set(ids)
    total = count(connection, queue, ladder) if progress is not None else 0
    looked = 0
    for rung in rungs(queue, ladder):
        if not left:
            break
        with Browse(connection, rung.queue) as browse:
            for found in browse:
                looked += 1
                if progress is not None:
                    progress(looked, max(looked, total))
                task_id = read(found.message, rung.ttl).id
                if task_id in left:
                    browse.take(found)
                    left.discard(task_id)
                    if not left:
                        break
    return frozenset(left)
