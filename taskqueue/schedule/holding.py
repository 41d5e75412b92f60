"""How a command reads or changes the book of a queue: it holds that meanwhile, for some milliseconds.

Somebody else may hold it, who needs it for as short a time, or stands still: no answer, however often, proves
that there is none. Where `Q.schedule.due` exists there is one, as `declare/beginning.py` says.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager

from taskqueue.broker.asking import Channel, Delivery
from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Session
from taskqueue.errors import NotDeclared, NotKnown, PublishFailed
from taskqueue.schedule import messages
from taskqueue.schedule.book import Book, latest
from taskqueue.schedule.messages import UnreadableBook
from taskqueue.task.message import Publish
from taskqueue.topology import names

PATIENCE = 15.0
"""Seconds to wait for a book that somebody else holds, who needs it for milliseconds."""
_POLL = 0.05
CONFIRMING = 30.0
"""Seconds to wait for the confirm of what was published."""


class Held:
    """The book of a queue, which nobody else has meanwhile."""

    def __init__(self, channel: Channel, queue: str, copies: list[Delivery], book: Book) -> None:
        self.book = book
        self._channel = channel
        self._queue = queue
        self._copies = copies

    async def replace(self, book: Book, *first: Publish) -> None:
        """Publish others `first`, then a new book, each confirmed; then ack the old one.

        Raises PublishFailed where the broker does not take one: the old book counts then.
        """
        for publish in (*first, messages.book_publish(self._queue, book)):
            await confirmed(self._channel, publish, self._queue)
        # What is confirmed stands in the queue, so nothing is lost with the old ones.
        self.drop()

    def drop(self) -> None:
        """Take the book away: another one stands in its place, or none is needed."""
        for copy in self._copies:
            self._channel.ack(copy)


@asynccontextmanager
async def hold(session: Session, queue: str, *, patience: float = PATIENCE) -> AsyncIterator[Held]:
    """Hold the book of a queue; `replace` changes it, and else it goes back as it was.

    Raises NotDeclared where there is none, NotKnown where it can't be read, or somebody else holds it for so
    many seconds.
    """
    deadline = asyncio.get_running_loop().time() + patience
    if not await session.exists("queue", names.wake(queue)):
        raise _none(queue)
    async with session.own_channel() as channel:
        try:
            await channel.confirms()
            while not (copies := await taken(channel, queue)):
                if asyncio.get_running_loop().time() > deadline:
                    raise _elsewhere(queue, patience)
                await asyncio.sleep(_POLL)
            yield Held(channel, queue, copies, book_of(queue, copies))
        except Refused as error:
            if error.absent:
                raise _none(queue) from error
            raise error.told() from error


async def read(session: Session, queue: str) -> Book:
    """Read the book of a queue; raises as `hold` does."""
    async with hold(session, queue) as held:
        return held.book


async def taken(channel: Channel, queue: str) -> list[Delivery]:
    """Take all copies of the book that nobody else holds; what is none goes back with the channel."""
    copies = []
    while (found := await channel.get(names.schedule(queue))) is not None:
        if messages.is_book(found.message):
            copies.append(found)
    return copies


def book_of(queue: str, copies: Iterable[Delivery]) -> Book:
    """Read the book that counts of its copies; raises NotKnown where one can't be read."""
    try:
        return latest([messages.read_book(each.message) for each in copies])
    except UnreadableBook as error:
        msg = (
            f"what stands in {names.schedule(queue)} {error}: use the version of taskqueue that wrote it, or "
            f"delete that queue and {names.wake(queue)}, and declare again"
        )
        raise NotKnown(msg) from error


async def confirmed(channel: Channel, publish: Publish, queue: str) -> None:
    """Publish something of the schedules of a queue and wait for its confirm; raises PublishFailed."""
    try:
        async with asyncio.timeout(CONFIRMING):
            await channel.publish(publish)
    except TimeoutError as error:
        msg = f"the schedules of {queue} may be as they were: no confirm in {CONFIRMING:g} s, try again"
        raise PublishFailed(msg) from error
    except Refused as error:
        raise error.told() from error


def _none(queue: str) -> NotDeclared:
    return NotDeclared(f"{queue} has no schedules in the broker: run 'taskqueue declare'")


def _elsewhere(queue: str, patience: float) -> NotKnown:
    return NotKnown(
        f"{queue}: a consumer or a command has held its schedules for {patience:g} s and stands still, so "
        "they are as they were: end it, or wait until the broker drops its connection, and try again "
        "(docs/schedules.md)"
    )
