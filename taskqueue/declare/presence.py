"""Whether there is a queue that hardly ever exists, without a word in the broker's log if there is none."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container
from contextlib import asynccontextmanager

from taskqueue.broker.replies import PRECONDITION_FAILED, RESOURCE_LOCKED, Refused
from taskqueue.broker.session import Session
from taskqueue.errors import NotKnown, TopologyConflict
from taskqueue.topology.plan import CLASSIC

_PATIENCE = 15.0
_POLL = 0.5


async def stands(session: Session, name: str) -> bool:
    """Tell whether there is a queue of a name that no key leads to where there is none.

    A passive look at a missing queue is an error in the broker's log. So a queue of its name is declared,
    exclusive, and deleted again: only where there is one that fails. Raises BrokerRefused, NotKnown.
    """
    if not await reserve(session, name):
        return await is_shared(session, name)
    await release(session, name)
    return False


async def reserve(session: Session, name: str) -> bool:
    """Have a queue of this name for this connection alone; False where there is one. Raises BrokerRefused."""
    try:
        async with session.channel() as channel:
            await channel.ask("queue_declare", name, exclusive=True, arguments={"x-queue-type": CLASSIC})
    except Refused as error:
        if error.code not in {RESOURCE_LOCKED, PRECONDITION_FAILED}:
            raise error.told() from error
        return False
    return True


async def release(session: Session, name: str) -> None:
    """Take away what `reserve` has made. Raises BrokerRefused."""
    try:
        async with session.channel() as channel:
            await channel.ask("queue_delete", name)
    except Refused as error:
        raise error.told() from error


async def is_shared(session: Session, queue: str) -> bool:
    """Tell whether there is a queue; that of a connection is none: another declare may have it there now."""
    try:
        async with session.channel() as channel:
            await channel.ask("queue_declare", queue, passive=True)
    except Refused as error:
        if error.absent or error.code == RESOURCE_LOCKED:
            return False
        raise error.told() from error
    return True


async def require_whole(
    session: Session, book: str, sign: str, existing: Container[str], *, lost: str, anew: str
) -> None:
    """Raise TopologyConflict where a book was deleted with its queue, by somebody else: we never do that.

    The queue `sign` is there only where there is a book. `lost` says what went with that, `anew` what
    `declare` does once `sign` is deleted too.
    """
    if book not in existing and not await session.exists("queue", book):
        msg = (
            f"nothing was changed: {book!r} was deleted, {lost}: stop its consumers, delete {sign!r} too, "
            f"and declare again, which {anew}"
        )
        raise TopologyConflict(msg)


@asynccontextmanager
async def alone(session: Session, name: str, doing: str) -> AsyncIterator[None]:
    """Let the one connection go on that has the queue `name`, which says that a command is `doing` something.

    After an error, the next one waits for the end of this connection. Raises NotKnown, BrokerRefused.
    """
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while not await reserve(session, name):
        if asyncio.get_running_loop().time() > deadline:
            raise NotKnown(
                f"another command {doing} and stands still: end it, or wait until the broker drops its "
                "connection, and try again"
            )
        await asyncio.sleep(_POLL)
    yield
    await release(session, name)
