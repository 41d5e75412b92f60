"""The first book of a queue's schedules, and its end: what proves that nobody holds one.

A book is held by whoever changes it, who may stand still. So it proves nothing that none is found in
`Q.schedule`. What proves it is the order of things:

- `Q.schedule.due` is created once a first book is confirmed in `Q.schedule`, and deleted before the last one
  is taken away. So where it exists there is a book: in its queue, or in somebody's hands.
- Consumers and commands touch no book before they have seen `Q.schedule.due`. So where that does not exist,
  nobody holds a book that says anything, and an empty ``basic.get`` says that there is none.
- One command at a time goes by that, on the connection that has the queue `Q.schedule.begins` for itself.
  RabbitMQ gives a name to one of them in one transaction (`rabbit_db_queue:create_or_get/1`, in 3.10
  `rabbit_amqqueue:internal_declare/2`), and an exclusive queue ends with its connection, which it monitors
  (`rabbit_amqqueue_process`).

Killed at any step, it leaves nothing, a first book, or all; the next command goes on from there. A first book
names no schedule and has the lowest version. So one that the broker still routes for a command that has died
outdoes none.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager

from taskqueue.broker.session import Session
from taskqueue.declare.emptiness import came, delete, let_go, reported, settled
from taskqueue.declare.leftovers import in_use
from taskqueue.declare.presence import alone, is_shared
from taskqueue.errors import NotKnown
from taskqueue.schedule import messages
from taskqueue.schedule.book import Book
from taskqueue.schedule.holding import book_of, confirmed, hold, taken
from taskqueue.settings import Settings
from taskqueue.topology import names


async def begin(session: Session, queue: str, create: Callable[[], Awaitable[object]]) -> None:
    """Have a first book in `Q.schedule` where there is none, then `create` `Q.schedule.due`.

    Raises NotKnown where another command is at it and stands still; PublishFailed, BrokerRefused.
    """
    async with _alone(session, queue):
        if await is_shared(session, names.wake(queue)):
            return
        async with session.own_channel() as channel:
            await channel.confirms()
            if not await taken(channel, queue):
                await confirmed(channel, messages.book_publish(queue, Book()), queue)
        await create()


async def end(
    session: Session, settings: Settings, queue: str, unbind: Callable[[], Awaitable[object]]
) -> str | None:
    """Take away the book of a queue that has no schedules, and before it `Q.schedule.due`.

    `unbind` takes away each way to the latter. Gives why both have to stay. Nothing is lost: the book says
    that there are no schedules, and a wake-up says nothing but to look there. Raises NotKnown, BrokerRefused.
    """
    if not await is_shared(session, names.wake(queue)):
        # Interrupted before.
        async with _alone(session, queue), session.own_channel() as channel:
            copies = await taken(channel, queue)
            if copies and (told := _told(book_of(queue, copies))):
                return told
            for copy in copies:
                channel.ack(copy)
        return None
    async with hold(session, queue) as held:
        if told := _told(held.book):
            return told
        await unbind()
        await settled()
        if told := await _end_wake_ups(session, settings, names.wake(queue)):
            return told
        held.drop()
    return None


def _told(book: Book) -> str | None:
    if not book.entries:
        return None
    return f"it has schedules ({', '.join(book.entries)}): declare it without them first"


async def _end_wake_ups(session: Session, settings: Settings, wake: str) -> str | None:
    """Delete the queue of wake-ups, to which no key leads; gives why it has to stay.

    Wake-ups that are ready are dropped. Anything else in it, in somebody's hands too, is in a report of its
    leader that knows of our consumer: so it was made after no key led there any more.
    """
    counts = await session.counts(wake)
    if counts is not None and counts.consumers:
        return in_use(wake, 0, counts.consumers)
    async with session.own_channel() as channel:
        while (found := await channel.get(wake)) is not None:
            if messages.read_wake(found.message) is None:
                return f"queue {wake!r} holds a message that is none of ours: look at it, and take it out"
            channel.ack(found)
        await channel.consume(wake, window=1, tag=wake)
        left = (await reported(settings, (wake,)))[wake]
        seen = await session.counts(wake)
        if left is None or seen is None or not seen.consumers:
            raise NotKnown(f"queue {wake!r}: nobody can tell whether it is empty")
        if told := in_use(wake, left, seen.consumers - 1):
            return told
        await let_go(channel, (wake,))
        if told := await came(session, wake):
            return told
        await delete(session, wake)
    return None


def _alone(session: Session, queue: str) -> AbstractAsyncContextManager[None]:
    return alone(session, names.beginning(queue), f"begins or ends the schedules of {queue}")
