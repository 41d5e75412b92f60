"""How a command reads or changes the book of a queue: it holds that meanwhile, for some milliseconds."""

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
_CONFIRMING = 30.0


class Held:
    """The book of a queue, which nobody else has meanwhile; `book` is None where there is none."""

    def __init__(self, channel: Channel, queue: str, copies: list[Delivery], book: Book | None) -> None:
        self.book = book
        self._channel = channel
        self._queue = queue
        self._copies = copies

    async def replace(self, book: Book, *first: Publish) -> None:
        """Publish others `first`, then a new book, each confirmed; then ack the old one.

        Raises PublishFailed where the broker does not take one: the old book counts then.
        """
        for publish in (*first, messages.book_publish(self._queue, book)):
            try:
                async with asyncio.timeout(_CONFIRMING):
                    await self._channel.publish(publish)
            except TimeoutError as error:
                msg = f"the schedules of {self._queue} are as they were: no confirm in {_CONFIRMING:g} s"
                raise PublishFailed(msg) from error
            except Refused as error:
                raise error.told() from error
        # What is confirmed stands in the queue, so nothing is lost with the old ones.
        self.drop()

    def drop(self) -> None:
        """Take the book away: another one stands in its place, or none is needed."""
        for copy in self._copies:
            self._channel.ack(copy)


@asynccontextmanager
async def hold(session: Session, queue: str, *, patience: float = PATIENCE) -> AsyncIterator[Held]:
    """Hold the book of a queue; `replace` changes it, and else it goes back as it was.

    Raises NotDeclared where there is no such queue, NotKnown where what stands there can't be read.
    """
    deadline = asyncio.get_running_loop().time() + patience
    async with session.own_channel() as channel:
        try:
            await channel.confirms()
            while True:
                copies = await _copies(channel, names.schedule(queue))
                if copies or asyncio.get_running_loop().time() > deadline:
                    break
                await asyncio.sleep(_POLL)
            yield Held(channel, queue, copies, _latest(queue, copies))
        except Refused as error:
            if error.absent:
                raise NotDeclared(
                    f"{queue} has no schedules in the broker: run 'taskqueue declare'"
                ) from error
            raise error.told() from error


async def read(session: Session, queue: str) -> Book | None:
    """Read the book of a queue, None where there is none; raises as `hold` does."""
    async with hold(session, queue) as held:
        return held.book


async def _copies(channel: Channel, queue: str) -> list[Delivery]:
    copies = []
    while (found := await channel.get(queue)) is not None:
        copies.append(found)
    return copies


def _latest(queue: str, copies: Iterable[Delivery]) -> Book | None:
    try:
        books = [messages.read_book(each.message) for each in copies]
    except UnreadableBook as error:
        msg = (
            f"what stands in {names.schedule(queue)} {error}: use the version of taskqueue that wrote it, or "
            "purge that queue and declare again"
        )
        raise NotKnown(msg) from error
    return latest(books) if books else None
