"""Reads a stream over AMQP 0-9-1: from an offset, a time or its begin, to what was its end.

A consumer of a stream begins at ``x-stream-offset``: ``first``, ``last``, a number, or a time in whole
seconds by the broker's clock (``rabbit_stream_queue:parse_offset_arg/1``, the same from 3.10 to 4.3). It
needs a prefetch and acks, and gets the offset of each message as a header. Nothing is taken away.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

from taskqueue.broker.asking import Channel
from taskqueue.broker.replies import ACCESS_REFUSED, PRECONDITION_FAILED, Refused
from taskqueue.broker.session import Session
from taskqueue.errors import BrokerRefused, NotDeclared, NotKnown, TaskqueueError
from taskqueue.task.message import Message
from taskqueue.topology import names

FIRST = "first"
_LAST = "last"
_OFFSET = "x-stream-offset"
_WINDOW = 400
_PATIENCE = 15.0
"""Seconds that a message may take that is known to be there."""
_EMPTY = 1.0
"""Seconds without a message after which it is asked whether a stream has any."""
_QUIET = 0.02
Offset = str | int | datetime


def at(seconds: float) -> datetime:
    """Give the offset of a time in seconds since the epoch; a time before it is the begin."""
    return datetime.fromtimestamp(max(0.0, seconds), UTC)


async def end(session: Session, stream: str) -> tuple[int, Message] | None:
    """Give the last message that a stream has at this moment, and its offset; None where it is empty.

    Raises NotDeclared where there is no such stream, NotKnown where it does not answer.
    """
    async with _consumed(session, stream, _LAST) as channel:
        found = await channel.next(_EMPTY)
        if found is None and (await channel.ask("queue_declare", stream, passive=True)).message_count:
            found = await channel.next(_PATIENCE)
            if found is None:
                raise NotKnown(f"{stream}: the broker counts messages in it, and hands out none: try again")
        last = None
        while found is not None:
            last = found.message
            # The channel answers this after all that the stream has given it so far: the rest of the chunk.
            await channel.ask("basic_qos", prefetch_count=_WINDOW)
            found = await channel.next(_QUIET)
    return None if last is None else (_offset(last), last)


async def read(session: Session, stream: str, offset: Offset, last: int) -> AsyncGenerator[Message, None]:
    """Yield the messages of a stream from an offset, not behind its `last` message, to that, in their order.

    Raises NotDeclared, and NotKnown where it stops before.
    """
    async with _consumed(session, stream, offset) as channel:
        unacked = 0
        while True:
            found = await channel.next(_PATIENCE)
            if found is None:
                raise NotKnown(
                    f"{stream}: the broker hands out no more of it: look at its leader, and whether all "
                    "clocks agree"
                )
            unacked += 1
            if unacked >= _WINDOW // 2:
                channel.ack(found, multiple=True)
                unacked = 0
            reached = _offset(found.message)
            if reached <= last:
                yield found.message
            if reached >= last:
                return


@asynccontextmanager
async def _consumed(session: Session, stream: str, offset: Offset) -> AsyncIterator[Channel]:
    try:
        async with session.own_channel() as channel:
            try:
                await channel.consume(stream, window=_WINDOW, arguments={_OFFSET: offset})
            except NotKnown as error:
                raise NotKnown(f"{stream} does not answer: look at its leader, and try again") from error
            yield channel
    except Refused as error:
        raise told(error) from error


def told(error: Refused) -> TaskqueueError:
    """Say what a refusal means for the history, and what to do."""
    if error.absent:
        return NotDeclared(f"{error.reason}: run 'taskqueue declare' with history in the ini")
    if error.code == ACCESS_REFUSED:
        pattern = names.pattern(names.HISTORY)
        return BrokerRefused(
            f"{error.reason}: the history takes write and read permission on {pattern} "
            "(rabbitmqctl set_permissions)"
        )
    if error.code == PRECONDITION_FAILED and "replica" in error.reason:
        return NotKnown(f"{error.reason}: name another node of the cluster in 'server'")
    return error.told()


def _offset(message: Message) -> int:
    found = message.headers.get(_OFFSET)
    if not isinstance(found, int):
        raise NotKnown("a message of the stream has no offset: is it a stream? See 'taskqueue check'")
    return found
