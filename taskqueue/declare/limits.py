"""Issue the permits of the ini: running consumers go by the limit that stands in the broker."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace

from taskqueue.broker.asking import Channel, Delivery
from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Session
from taskqueue.declare.presence import alone, is_shared, require_whole
from taskqueue.declare.verify import Findings
from taskqueue.errors import NotKnown, PublishFailed
from taskqueue.limit import (
    Book,
    UnreadableBook,
    book_publish,
    is_book,
    latest,
    permit_publishes,
    read_book,
    read_permit,
)
from taskqueue.settings import QueueSettings, Settings
from taskqueue.task.message import Publish
from taskqueue.topology import names
from taskqueue.topology.plan import Queue

_PATIENCE = 15.0
"""Seconds to wait for a book that somebody else holds, who needs it for milliseconds."""
_POLL = 0.05
_CONFIRMING = 30.0


async def begin(session: Session, queue: str, create: Callable[[], Awaitable[object]]) -> None:
    """Have a first book in `Q.limit` where there is none, then `create` `Q.limit.permits`.

    So where the latter exists there is a book, in its queue or in somebody's hands, as `beginning` tells of
    schedules. A first book lets nothing run and has the lowest version, so that one which comes late outdoes
    none. Raises NotKnown where another command is at it and stands still; PublishFailed, BrokerRefused.
    """
    async with alone(session, names.limiting(queue), f"begins the limit of {queue}"):
        if await is_shared(session, names.permits(queue)):
            return
        async with session.own_channel() as channel:
            try:
                await channel.confirms()
                copies = await _taken(channel, names.limit(queue))
                former = _latest(queue, copies)
                if former is None or former.issued:
                    # Without their queue all permits that it knows are gone.
                    await _replace(channel, queue, Book(former.version + 1 if former else 0), copies)
            except Refused as error:
                raise error.told() from error
        await create()


async def settle(session: Session, settings: Settings, findings: Findings, *, dry_run: bool = False) -> None:
    """Make the limit of each queue in the broker that of the ini; issues the permits that are missing.

    A `dry_run` before anything is changed finds whether somebody holds a book and stands still. Raises
    NotKnown, PublishFailed, BrokerRefused, and TopologyConflict where a book was deleted.
    """
    existing = {item.name for item in findings.existing if isinstance(item, Queue)}
    capped = [queue for queue in settings.queues.values() if queue.max_concurrency]

    async def work(session: Session, queue: QueueSettings) -> None:
        known = names.permits(queue.name) in existing
        if dry_run and not known:
            return
        if known:
            await require_whole(
                session, names.limit(queue.name), names.permits(queue.name), existing,
                lost=f"which told what permits of {queue.name} count", anew="issues all of them anew",
            )  # fmt: skip
        async with session.own_channel() as channel:
            try:
                await channel.confirms()
                copies = await _held(channel, queue.name)
                former = _latest(queue.name, copies)
                if not dry_run and former is not None:
                    await _write(channel, queue, former, copies)
            except Refused as error:
                raise error.told() from error

    await session.each("", work, capped)


async def _write(channel: Channel, queue: QueueSettings, former: Book, copies: list[Delivery]) -> None:
    """Publish permits, then the book that knows them, each confirmed; then ack the former book.

    Where that ends early the former book counts, which does not know the new permits.
    """
    limit = queue.max_concurrency or 0
    if former.limit == limit:
        return
    if not former.issued:
        # Somebody may have held one from before `Q.limit.permits` was deleted: the new one has to outdo it.
        former = replace(former, version=max(former.version, int(time.time())))
    book, permits = former.limited(limit, secrets.token_hex(4))
    await _publish(channel, queue.name, *permit_publishes(queue.name, permits))
    await _replace(channel, queue.name, book, copies)


async def _replace(channel: Channel, queue: str, book: Book, copies: list[Delivery]) -> None:
    """Publish a book and wait for its confirm; then ack what it takes the place of."""
    await _publish(channel, queue, book_publish(queue, book))
    for copy in copies:
        channel.ack(copy)
    await channel.ask("basic_qos", prefetch_count=0)


async def _publish(channel: Channel, queue: str, *publishes: Publish) -> None:
    try:
        async with asyncio.timeout(_CONFIRMING):
            await asyncio.gather(*(channel.publish(each) for each in publishes))
    except TimeoutError as error:
        msg = f"max_concurrency of {queue} is as it was: no confirm in {_CONFIRMING:g} s"
        raise PublishFailed(msg) from error


async def foreign(session: Session, queue: str) -> str | None:
    """Tell why the queues for the permits of a queue have to stay: one holds a message that is none of ours.

    All that is looked at goes back. Raises NotKnown, BrokerRefused.
    """
    for name, is_ours in ((names.permits(queue), read_permit), (names.limit(queue), is_book)):
        async with session.own_channel() as channel:
            try:
                while (found := await channel.get(name)) is not None:
                    if not is_ours(found.message):
                        why = "holds a message that is none of ours: look at it, and take it out"
                        return f"queue {name!r} {why}"
            except Refused as error:
                if not error.absent:
                    raise error.told() from error
    return None


async def _held(channel: Channel, queue: str) -> list[Delivery]:
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while not (copies := await _taken(channel, names.limit(queue))):
        if asyncio.get_running_loop().time() > deadline:
            raise NotKnown(
                f"{queue}: a consumer or a command has held its max_concurrency for {_PATIENCE:g} s and "
                "stands still, so that is as it was: end it, or wait until the broker drops its connection, "
                f"and try again; where somebody has purged {names.limit(queue)!r}, see docs/limits.md"
            )
        await asyncio.sleep(_POLL)
    return copies


async def _taken(channel: Channel, queue: str) -> list[Delivery]:
    copies = []
    while (found := await channel.get(queue)) is not None:
        # What is none stays, and a consumer brings it to the dead queue.
        if is_book(found.message):
            copies.append(found)
    return copies


def _latest(queue: str, copies: list[Delivery]) -> Book | None:
    try:
        return latest(read_book(each.message) for each in copies) if copies else None
    except UnreadableBook as error:
        msg = (
            f"what stands in {names.limit(queue)} {error}: use the version of taskqueue that wrote it, or "
            f"delete that queue and {names.permits(queue)} while no consumer runs, and declare again"
        )
        raise NotKnown(msg) from error
