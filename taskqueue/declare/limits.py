"""Issue the permits of the ini: running consumers go by the limit that stands in the broker."""

from __future__ import annotations

import asyncio
import secrets
import time

from taskqueue.broker.asking import Channel, Delivery
from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Session
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


async def settle(session: Session, settings: Settings, findings: Findings) -> None:
    """Make the limit of each queue in the broker that of the ini; issues the permits that are missing.

    Raises NotKnown, PublishFailed, BrokerRefused.
    """
    existing = {item.name for item in findings.existing if isinstance(item, Queue)}
    capped = [queue for queue in settings.queues.values() if queue.max_concurrency]

    async def work(session: Session, queue: QueueSettings) -> None:
        there = names.limit(queue.name) in existing
        async with session.own_channel() as channel:
            try:
                await channel.confirms()
                copies = await _held(channel, names.limit(queue.name), _PATIENCE if there else 0.0)
                # Without their queue all permits are gone.
                former = _latest(queue.name, copies) if names.permits(queue.name) in existing else None
                await _write(channel, queue, former, copies)
            except Refused as error:
                raise error.told() from error

    await session.each("", work, capped)


async def _write(channel: Channel, queue: QueueSettings, former: Book | None, copies: list[Delivery]) -> None:
    """Publish permits, then the book that knows them, each confirmed; then ack the former book.

    Where that ends early the former book counts, which does not know the new permits.
    """
    limit = queue.max_concurrency or 0
    # Somebody may have held the former one for too long: the new one has to outdo it.
    book, permits = (former or Book(int(time.time()))).limited(limit, secrets.token_hex(4))
    if former is not None and former.limit == limit:
        return
    await _publish(channel, queue.name, *permit_publishes(queue.name, permits))
    await _publish(channel, queue.name, book_publish(queue.name, book))
    for copy in copies:
        # Another book stands in its place.
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


async def _held(channel: Channel, queue: str, patience: float) -> list[Delivery]:
    deadline = asyncio.get_running_loop().time() + patience
    while True:
        copies = []
        while (found := await channel.get(queue)) is not None:
            # What is none stays, and a consumer brings it to the dead queue.
            if is_book(found.message):
                copies.append(found)
        if copies or asyncio.get_running_loop().time() > deadline:
            return copies
        await asyncio.sleep(_POLL)


def _latest(queue: str, copies: list[Delivery]) -> Book | None:
    try:
        return latest(read_book(each.message) for each in copies) if copies else None
    except UnreadableBook as error:
        msg = (
            f"what stands in {names.limit(queue)} {error}: use the version of taskqueue that wrote it, or "
            f"purge that queue and {names.permits(queue)} while no consumer runs, and declare again"
        )
        raise NotKnown(msg) from error
