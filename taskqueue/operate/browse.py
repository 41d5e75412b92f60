"""Look through the messages of a queue without taking them, or take only chosen ones.

Messages are consumed without an ack, a page at a time. When the channel closes, all that were not taken go
back to their place. Memory holds one page at most. A look sees every message that its queue held when it
began, or raises NotKnown.
"""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress

from taskqueue.broker.asking import BEHIND_MANY, Channel, Delivery
from taskqueue.broker.replies import Counts, Refused
from taskqueue.broker.session import Session
from taskqueue.broker.taken import QUIET, SENT_AT_ONCE, handed_out, taken
from taskqueue.errors import NotDeclared, NotKnown, TaskqueueError

Progress = Callable[[int, int], None]
"""Called with how many messages were looked at, and how many there are to look at."""
_FIRST_PAGE = 1000
_LARGEST_PAGE = 65_535
"""AMQP's largest prefetch. A quorum queue takes none at all for 2000."""
_PAGE_BYTES = 64 * 2**20
_COUNTS = frozenset({"x-delivery-count", "x-acquired-count"})
_TICK = 0.1
_PATIENCE = 15.0
"""Seconds in which a broker reads from its disk, or takes back what another look held."""
_POLL = 0.02
_SHARED = "{}: somebody else holds messages of it, so a look would not be complete: try again"


class Look:
    """One look through one queue, from its head: `count` messages at most, which is what was ready.

    It reads in pages, and each page is a consumer. When a page is full, a larger one is opened and the old
    consumer is cancelled. A quorum queue returns messages page by page (in the order of the consumer tags, up
    to 32 of them), so their order is kept. A message that is taken makes room for another one in the same
    page. So no page is cancelled while a message is on its way to it, which would come back behind those of
    the next page.
    `most_extra` bounds how far the look goes on at its end to keep the order, see `end`.
    """

    def __init__(self, channel: Channel, queue: str, count: int, most_extra: float) -> None:
        self.count = count
        """How many messages this look covers."""
        self._channel = channel
        self._queue = queue
        self._received = 0
        self._last_came_back = False
        self._most_extra = most_extra
        self._bytes = 0
        self._page = self._size = self._room = 0
        self._newest = self._newest_of_former = 0
        self._tag = ""
        self._shared = self._stopped = False

    async def __aiter__(self) -> AsyncIterator[Delivery]:
        """Yield each message, oldest first; ends early where others take messages meanwhile.

        Raises NotKnown where another look has begun at the same moment: each would have a part of it.
        """
        for _ in range(self.count):
            if self._room == 0:
                await self._turn_page(self._next_size())
                if self._page == 1 and (await self._counts()).consumers > 1:
                    self._shared = True
                    raise NotKnown(_SHARED.format(self._queue))
            found = await self._next()
            if found is None:
                return
            yield found

    async def finds_nothing(self) -> bool:
        """Tell whether the queue is empty and nobody holds a message of it, by two pages of one message each.

        Where the first is the only consumer and nothing is ready, it alone may hold a message. One that holds
        any still counts beside the second after its end; a classic queue has handed it out by then.
        """
        await self._turn_page(1)
        counts = await self._counts()
        self._shared = counts.consumers > 1
        if counts != Counts(ready=0, consumers=1):
            return False
        await self._turn_page(1)
        if (await self._counts()).consumers > 1:
            return False
        found = await self._channel.next(0)
        if found is not None:
            self._arrived(found)
        return found is None

    def take(self, found: Delivery) -> None:
        """Ack a message, which removes it from the queue."""
        self._channel.ack(found)
        if found.tag > self._newest_of_former:
            self._room += 1

    async def stop(self) -> None:
        """Get no more, whatever room there is: what is put into the queue from now on is not looked at."""
        self._stopped = True
        if self._tag:
            await self._channel.ask("basic_cancel", self._tag, patience=BEHIND_MANY)

    async def beside(self) -> list[Delivery]:
        """Once it is stopped, see to it that the queue has all acks; gives what was handed out for that."""
        if self._channel.acks <= SENT_AT_ONCE:
            return []
        await taken(self._channel, self._queue)
        return await handed_out(self._channel)

    async def end(self) -> None:
        """Go on up to the first messages that no look has seen, then give all back.

        A quorum queue puts what comes back behind what came back before, and ahead of all else. So a look
        that ends amid messages from an earlier look goes on to the end of those.
        """
        if not self._shared and not self._stopped:
            await self._go_on()
        # To ask has more handed out. Where that was to be avoided, what was put back meanwhile would be.
        await taken(self._channel, self._queue, but=SENT_AT_ONCE if self._stopped else 0)

    async def _go_on(self) -> None:
        while self._room > 0 and await self._next():
            pass
        looked, size = self._received, 1
        while self._last_came_back and self._received - looked < self._most_extra:
            if not (await self._counts()).ready:
                return
            await self._turn_page(size)
            before = self._received
            while self._room > 0 and await self._next():
                pass
            if self._received == before:
                return
            size = min(2 * size, _LARGEST_PAGE)

    def _next_size(self) -> int:
        mean = self._bytes // max(1, self._received)
        bounded = max(_FIRST_PAGE, _PAGE_BYTES // max(1, mean))
        grown = max(_FIRST_PAGE, 4 * self._size)
        return max(1, min(grown, bounded, _LARGEST_PAGE, self.count - self._received))

    async def _turn_page(self, size: int) -> None:
        former = self._tag
        self._page += 1
        self._tag = f"browse-{self._page:06d}"
        self._size = self._room = size
        self._newest_of_former = self._newest
        # Before the former page ends: without a consumer another look would think that this one is over.
        await self._channel.consume(self._queue, window=size, tag=self._tag, patience=BEHIND_MANY)
        if former:
            await self._channel.ask("basic_cancel", former, patience=BEHIND_MANY)

    async def _next(self) -> Delivery | None:
        """Wait for a message; None once the queue has handed out all that was ready.

        Raises NotKnown where the broker has more and does not send it, or another look keeps some of it.
        """
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            found = await self._channel.next(_TICK)
            counts = await self._counts() if found is None else None
            # One that began a moment after this look finds it here, and gives back what it got. A quorum
            # queue counts each page as a consumer, cancelled as it is, for as long as anything of it is out.
            if counts is not None and not counts.ready and counts.consumers <= self._page:
                # The channel answers this after everything that its queue has given it so far.
                await self._channel.ask("basic_qos", patience=BEHIND_MANY, prefetch_count=self._size)
                found = await self._channel.next(QUIET)
                if found is None:
                    return None
            if found is not None:
                return self._arrived(found)
            if asyncio.get_running_loop().time() > deadline:
                raise NotKnown(f"{self._queue}: the broker hands out no more of it: the look is not complete")

    def _arrived(self, found: Delivery) -> Delivery:
        self._newest = found.tag
        self._received += 1
        self._room -= 1
        self._bytes += len(found.message.body)
        # A classic queue sets the flag too, but no count: there each message goes back to its place.
        counted = found.message.fault is not None or not _COUNTS.isdisjoint(found.message.headers)
        self._last_came_back = found.redelivered and counted
        return found

    async def _counts(self) -> Counts:
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            answer = await self._channel.ask("queue_declare", self._queue, patience=BEHIND_MANY, passive=True)
            # We are one consumer at least, so a zero is not the leader's: it is late, or there is none.
            if answer.consumer_count:
                return Counts(answer.message_count, answer.consumer_count)
            if asyncio.get_running_loop().time() > deadline:
                raise NotKnown(f"{self._queue}: its leader does not answer: the look is not complete")
            await asyncio.sleep(_POLL)


@asynccontextmanager
async def look(
    session: Session, queue: str, *, limit: int | None = None, most_extra: float = math.inf
) -> AsyncIterator[Look]:
    """Look through a queue from its head, at most `limit` messages. What was not taken goes back at the end.

    Covers what is ready at the start, so that it ends even where more keeps coming. Waits for what another
    look holds, before and after. Raises NotDeclared where there is no such queue, NotKnown where it can't be
    seen as a whole.
    """
    counts = await _whole(session, queue)
    count = counts.ready if limit is None else min(counts.ready, limit)
    async with session.own_channel() as channel:
        looking = Look(channel, queue, count, most_extra)
        try:
            yield looking
        except Refused as error:
            raise error.told() from error
        except BaseException:
            with suppress(TaskqueueError, Refused):
                await looking.end()
            raise
        await looking.end()
    await _undisturbed(session, queue)


async def count(session: Session, queue: str) -> int:
    """Count what is ready in a queue once nobody looks at it; raises NotDeclared without it, NotKnown."""
    return (await _whole(session, queue)).ready


async def _whole(session: Session, queue: str) -> Counts:
    """Wait until nobody holds a message of a queue, and prove that where the broker counts nothing.

    Where its leader is late the broker counts neither messages nor consumers, and its head is empty too while
    another look holds all of it. What that gives back after the count is in no zero either.
    """
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        counts = await _undisturbed(session, queue)
        if counts.ready or await _empty(session, queue):
            return counts
        if asyncio.get_running_loop().time() > deadline:
            raise NotKnown(_SHARED.format(queue))
        await asyncio.sleep(_POLL)


async def _empty(session: Session, queue: str) -> bool:
    async with session.own_channel() as channel:
        looking = Look(channel, queue, 0, math.inf)
        try:
            empty = await looking.finds_nothing()
            if not empty:
                await looking.end()
        except Refused as error:
            raise error.told() from error
    return empty


async def _undisturbed(session: Session, queue: str) -> Counts:
    """Wait until nobody holds a message of a queue: messages come back when the look at them ends."""
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        counts = await session.counts(queue)
        if counts is None:
            raise NotDeclared(f"queue {queue} does not exist: run `taskqueue declare`")
        if not counts.consumers:
            return counts
        if asyncio.get_running_loop().time() > deadline:
            raise NotKnown(_SHARED.format(queue))
        await asyncio.sleep(_POLL)
