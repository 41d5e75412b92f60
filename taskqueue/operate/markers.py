"""The markers of a look: messages of its own that tell where each rung ends.

Two of them go to the end of a rung. The first waits there like a task and is handed out behind all that was
there before: the look has seen all then, and acks it. The second expires as soon as it is the first in line.
The broker hands on what has expired in its order. So when the second comes out of the rung, all that left the
rung before it has been handed on, to where the look comes next.

Where the look is killed, its markers walk off by themselves: their only way leads from the exchange of the
level to the queue `names.looked`, which keeps nothing.

A broker with an alarm takes no publish, and reads nothing more of a connection that has tried: not even that
it is closed. So markers are published on a connection of their own, and a look does without them then.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

from taskqueue.broker.asking import Channel
from taskqueue.broker.replies import RESOURCE_LOCKED, Refused
from taskqueue.broker.session import Session
from taskqueue.errors import NotDeclared, NotKnown, PublishFailed, TaskqueueError
from taskqueue.operate.rungs import Rung
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names

_PATIENCE = 15.0
"""Seconds in which another look ends, or a broker hands on what it has in hand."""
_POLL = 0.3
_STAYS_MS = 60_000
"""How long a marker stays that nobody acks, once it is the first in line."""


@dataclass(slots=True)
class Markers:
    """The markers of one look over one ladder, and the queue that they come to."""

    channel: Channel
    """Publishes them."""
    arrivals: Channel
    """Consumes what comes out of the rungs."""
    look: str = field(default_factory=lambda: uuid.uuid4().hex)
    _out: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    async def put(self, rung: Rung) -> asyncio.Future[None] | None:
        """Put both markers at the end of a rung; what is given is done once all before them is handed on.

        None where the broker takes no publishes, or no key leads to the rung. It has to exist, as a marker
        that finds no way on the ladder is taken for a task.
        """
        if rung.entry is None:
            return None
        gone = f"{self.look}/{rung.queue}"
        self._out[gone] = asyncio.get_running_loop().create_future()
        publishes = (
            _marker(rung.entry, rung, self.seen(rung), _STAYS_MS),
            _marker(rung.entry, rung, gone, 0),
        )
        confirmed: asyncio.Future[Any] = asyncio.gather(*map(self.channel.publish, publishes))
        # Whoever gives up waiting has been told why.
        confirmed.add_done_callback(lambda each: None if each.cancelled() else each.exception())
        try:
            async with asyncio.timeout(_PATIENCE):
                await confirmed
        except Refused as error:
            raise error.told() from error
        except (TimeoutError, PublishFailed) as error:
            if self.channel.alarmed:
                return None
            why = str(error) or f"its leader did not answer in {_PATIENCE:g} s"
            raise NotKnown(f"{rung.queue}: {why}: the look is not complete") from error
        return self._out[gone]

    def seen(self, rung: Rung) -> str:
        """Give the id of the marker that the rung hands out behind all that was there before it."""
        return f"{self.look}:{rung.queue}"

    def has_gone(self, message: Message) -> bool:
        """Tell whether a message is the other marker, which the rung is to hand on by itself."""
        return message.properties.get("message_id") in self._out

    async def receive(self) -> None:
        """Take what comes out of the rungs, until it is cancelled."""
        while True:
            found = await self.arrivals.next(_PATIENCE)
            if found is not None:
                gone = self._out.get(str(found.message.properties.get("message_id")))
                if gone is not None and not gone.done():
                    gone.set_result(None)


def _marker(entry: str, rung: Rung, marker: str, stays_ms: int) -> Publish:
    keys = (names.hop(names.ENTRY, rung.ttl), names.LOOK)
    properties = {"message_id": marker, "expiration": str(stays_ms)}
    return Publish(entry, keys, Message(b"", {}, properties))


@asynccontextmanager
async def alone(session: Session, ladder: str) -> AsyncIterator[str]:
    """Have the ladder to oneself, as one look or probe at a time; gives the queue for what comes meanwhile.

    Waits for another. Raises NotKnown where that does not end, BrokerUnreachable.
    """
    queue = names.looking(ladder)
    await _locked(session, queue, ladder)
    try:
        yield queue
    finally:
        # Else it is gone with the connection, which may go on for a while.
        with suppress(TaskqueueError, Refused):
            async with session.channel() as channel:
                await channel.ask("queue_delete", queue)


@asynccontextmanager
async def marking(session: Session, ladder: str, rungs: Iterable[Rung]) -> AsyncIterator[Markers]:
    """Have the ladder to oneself, and markers to look through these rungs.

    Waits for another look. Raises NotKnown where that does not end, BrokerUnreachable.
    """
    leading = (names.timed(rung.queue) for rung in rungs if rung.entry is not None)
    levels = dict.fromkeys(found.level for found in leading if found is not None)
    async with (
        alone(session, ladder) as queue,
        session.own_channel() as arrivals,
        session.publishing() as channel,
    ):
        for level in levels:
            await asked(arrivals, "queue_bind", queue, level, names.LOOK)
        await arrivals.consume(queue, window=0, settled=True)
        markers = Markers(channel, arrivals)
        receiving = asyncio.create_task(markers.receive())
        try:
            yield markers
        finally:
            receiving.cancel()
            await asyncio.gather(receiving, return_exceptions=True)


async def _locked(session: Session, queue: str, ladder: str) -> None:
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        async with session.channel() as channel:
            try:
                await channel.ask("queue_declare", queue, exclusive=True, durable=False)
            except Refused as error:
                if error.code != RESOURCE_LOCKED:
                    raise error.told() from error
            else:
                return
        if asyncio.get_running_loop().time() > deadline:
            raise NotKnown(f"somebody else looks at ladder {ladder}: try again when that has ended")
        await asyncio.sleep(_POLL)


async def asked(channel: Channel, method: str, *arguments: str) -> None:
    """Ask the broker, and raise what it means where it refuses."""
    try:
        await channel.ask(method, *arguments)
    except Refused as error:
        if error.absent:
            raise NotDeclared(f"{error.reason}: run `taskqueue declare`") from error
        raise error.told() from error
