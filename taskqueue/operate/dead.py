"""The dead queue: lists, replays and purges what is in it."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from taskqueue.broker.asking import Delivery
from taskqueue.broker.session import Session
from taskqueue.operate import browse
from taskqueue.operate.acting import Acted, Choice, Note, Transfer, nobody
from taskqueue.operate.browse import Progress
from taskqueue.operate.filters import Filter
from taskqueue.operate.reading import Facts, seconds, whole
from taskqueue.task import astray
from taskqueue.task import decode as state
from taskqueue.task import message as amqp
from taskqueue.task.decide import CANCELLED
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names
from taskqueue.topology.ladder import Way

_MOST_EXTRA = 20_000
"""Most messages of a short look into a long dead queue. Beyond it the order may change, without harm."""
_KEPT = frozenset(
    {
        state.FIRST_SEEN,
        state.FAILED_ID,
        state.FAILED_URL,
        state.FAILURE,
        state.MOVED_TO,
        astray.MEANT_FOR,
    },
)


@dataclass(frozen=True, slots=True)
class DeadTask:
    """What became of one dead task; None where its message does not say."""

    id: str | None
    reason: str
    url: str | None
    attempts: int
    error: str | None
    at: float | None
    """When it died: seconds since the epoch."""
    first_seen: float | None
    replays: int
    """How often it was dead before, and replayed."""
    message: Message


def dead_task(message: Message, queue: str) -> DeadTask:
    """Read what a message of the dead queue tells; never raises, whatever it holds."""
    return _told(Facts(message, queue))


def _told(facts: Facts) -> DeadTask:
    headers = facts.message.headers
    return DeadTask(
        id=facts.id,
        reason=facts.reason,
        url=facts.url,
        attempts=facts.runs,
        error=facts.error,
        at=facts.died,
        first_seen=seconds(headers, state.FIRST_SEEN),
        replays=whole(headers, state.REPLAYS) or 0,
        message=facts.message,
    )


def revived(facts: Facts, way: Way, *, now: float, earliest: float | None = None) -> Publish:
    """Make the message that runs a dead task afresh: same id and body, state reset.

    It is due now, or at `earliest` (seconds since the epoch). A task that was cancelled while it waited is
    due when it was, where that is later.
    """
    message = facts.message
    headers = {
        name: value
        for name, value in astray.copied(message.headers, way.queue).items()
        if name in _KEPT or not str(name).startswith(amqp.PREFIX)
    }
    due = max(now, earliest or 0)
    if facts.reason == CANCELLED:
        due = max(due, facts.due or 0)
    headers[state.DUE] = int(due * 1000)
    headers[state.REPLAYS] = min((whole(message.headers, state.REPLAYS) or 0) + 1, 2**31)
    exchange, keys = way.route(headers[state.DUE], now)
    return Publish(exchange, keys, Message(message.body, headers, amqp.kept(message.properties)))


async def count(session: Session, queue: str) -> int:
    """Count the dead tasks; raises NotDeclared where there is no dead queue, NotKnown."""
    return await browse.count(session, names.dead(queue))


async def entries(
    session: Session,
    queue: str,
    chosen: Filter,
    *,
    limit: int,
    progress: Progress | None = None,
) -> AsyncIterator[DeadTask]:
    """Yield the oldest `limit` dead tasks that a filter covers. They stay in the queue."""
    choice = Choice(chosen)
    async with _opened(session, queue, limit if chosen == Filter() else None) as looking:
        async for found in looking:
            facts = Facts(found.message, queue)
            if choice.takes(facts):
                yield _told(facts)
            if progress is not None:
                progress(choice.looked, looking.count)
            if choice.matched >= limit:
                return


async def counted(
    session: Session, queue: str, chosen: Filter, *, limit: int, progress: Progress | None = None
) -> tuple[list[DeadTask], Acted]:
    """Count the dead tasks that a filter covers, and give the oldest `limit` of them."""
    choice = Choice(chosen)
    first: list[DeadTask] = []
    async with _opened(session, queue) as looking:
        async for found in looking:
            facts = Facts(found.message, queue)
            if choice.takes(facts) and len(first) < limit:
                first.append(_told(facts))
            if progress is not None:
                progress(choice.looked, looking.count)
    return first, choice.acted()


async def replay(
    session: Session,
    way: Way,
    chosen: Filter,
    *,
    every: float | None = None,
    clock: Callable[[], float] = time.time,
    progress: Progress | None = None,
    note: Note = nobody,
) -> Acted:
    """Have the chosen tasks run again, each confirmed before its dead copy is acked.

    At once, or one `every` so many seconds: the ladder holds them until then. Raises PublishFailed at the
    first one that the broker does not take; that one stays dead.
    """
    queue = way.queue
    began = clock()
    async with session.publishing() as channel, _opened(session, queue) as looking:
        transfer = Transfer(channel, queue, done="replayed", stays="stays dead")

        async def put(found: Delivery, facts: Facts) -> None:
            earliest = None if every is None else began + (choice.matched - 1) * every
            publish = revived(facts, way, now=clock(), earliest=earliest)
            await transfer.put(publish, lambda: taken(found, facts))

        def taken(found: Delivery, facts: Facts) -> None:
            looking.take(found)
            choice.did(facts)

        choice = Choice(chosen, note)
        await _each(looking, queue, choice, progress, put)
        await transfer.settle()
        return choice.acted()


async def purge(
    session: Session,
    queue: str,
    chosen: Filter,
    *,
    progress: Progress | None = None,
    note: Note = nobody,
) -> Acted:
    """Delete the chosen tasks for good: those that were seen, never what has died meanwhile.

    So the queue is never purged as a whole. A leader that hangs would do that when it recovers, whatever is
    in the queue by then.
    """
    choice = Choice(chosen, note)

    async def take(found: Delivery, facts: Facts) -> None:
        looking.take(found)
        choice.did(facts)

    async with _opened(session, queue) as looking:
        await _each(looking, queue, choice, progress, take)
        return choice.acted()


def _opened(
    session: Session, queue: str, limit: int | None = None
) -> AbstractAsyncContextManager[browse.Look]:
    return browse.look(session, names.dead(queue), limit=limit, most_extra=_MOST_EXTRA)


async def _each(
    looking: browse.Look,
    queue: str,
    choice: Choice,
    progress: Progress | None,
    handle: Callable[[Delivery, Facts], Awaitable[None]],
) -> None:
    async for found in looking:
        facts = Facts(found.message, queue)
        if choice.takes(facts):
            await handle(found, facts)
        if progress is not None:
            progress(choice.looked, looking.count)
