"""A session of a command with the broker: many questions at once, and an end to each.

The broker may answer no question at all: a leader that hangs stops the channel that asked for it, for good.
So each answer has a time limit, after which the channel is given up.
"""

from __future__ import annotations

import asyncio
import gc
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from pika.channel import Channel as Raw
from pika.exceptions import AMQPError, NoFreeChannels

from taskqueue.broker import connect as broker
from taskqueue.broker.asking import PATIENCE, Channel
from taskqueue.broker.opening import opened
from taskqueue.broker.replies import RESOURCE_LOCKED, Counts, Refused
from taskqueue.broker.wire import TolerantAsyncio
from taskqueue.errors import BrokerRefused, BrokerUnreachable, NotKnown
from taskqueue.settings import Settings

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Called with the step, how much of it is done, and how much there is."""

CHANNELS = 16
"""Questions at once: a quorum queue answers after it has written to its disk, and many write together."""
_KEPT_FREE = 3
"""Channels for what is looked at or held meanwhile, of those that the broker allows."""
_CLOSING = 10.0
"""Seconds to close a connection. A channel that is cut off at work crashes, and fills the broker's log."""
_HANGING = 2.0
"""Seconds to close one on which a question has no answer."""


class Session:
    """A connection for a command, and the channels on it."""

    def __init__(self, connection: TolerantAsyncio) -> None:
        self._connection = connection
        self._idle: deque[Channel] = deque()
        self._hangs = False
        self._opening: set[asyncio.Future[Raw]] = set()
        self._blocked = False
        self._most = max(1, min(CHANNELS, connection.params.channel_max - _KEPT_FREE))
        connection.add_on_close_callback(self._lost)
        connection.add_on_connection_blocked_callback(lambda *_: self._block(now=True))
        connection.add_on_connection_unblocked_callback(lambda *_: self._block(now=False))

    @property
    def properties(self) -> Mapping[str, Any]:
        """The properties that the broker sent when the connection was opened."""
        return self._connection.server_properties or {}

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[Channel]:
        """Give a channel. It is used again afterwards where it still answers and consumes nothing."""
        while self._idle and not self._idle[0].usable:
            self._idle.popleft()
        channel = self._idle.popleft() if self._idle else await self.open_channel()
        try:
            yield channel
        finally:
            if channel.usable:
                self._idle.append(channel)
            else:
                self._end(channel)

    async def open_channel(self) -> Channel:
        """Open a channel; raises BrokerUnreachable where the connection is lost."""
        opening: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()

        def arrived(raw: Raw) -> None:
            if not opening.done():
                opening.set_result(raw)

        self._opening.add(opening)
        try:
            self._connection.channel(on_open_callback=arrived)
            async with asyncio.timeout(PATIENCE):
                return Channel(await opening)
        except NoFreeChannels as error:
            most = self._connection.params.channel_max
            raise BrokerRefused(f"the broker allows {most} channels (channel_max): raise that") from error
        except (AMQPError, TimeoutError) as error:
            raise BrokerUnreachable(f"lost the connection to the broker ({broker.reason(error)})") from error
        finally:
            self._opening.discard(opening)

    def _block(self, *, now: bool) -> None:
        self._blocked = now

    def _lost(self, _connection: object, error: BaseException) -> None:
        """Tell who waits for a channel why there is none."""
        for opening in self._opening:
            if not opening.done():
                opening.set_exception(broker.cause(error))

    @asynccontextmanager
    async def own_channel(self) -> AsyncIterator[Channel]:
        """Give a channel that is closed afterwards: messages that it still holds go back to their place."""
        channel = await self.open_channel()
        try:
            yield channel
        finally:
            self._end(channel)

    def _end(self, channel: Channel) -> None:
        self._hangs = self._hangs or channel.hangs
        channel.close()

    @asynccontextmanager
    async def publishing(self) -> AsyncIterator[Channel]:
        """Give a channel with confirms, on a connection of its own to the same host.

        A broker with an alarm reads nothing more from a connection that has published, and so would take
        neither the acks of what was confirmed nor our word that the rest goes back. Raises BrokerUnreachable.
        """
        host = self._connection.params
        try:
            beside = Session(await opened(host))
        except (AMQPError, OSError, TimeoutError) as error:
            raise broker.failure(error, host) from error
        try:
            async with beside.own_channel() as channel:
                await channel.confirms()
                yield channel
        finally:
            await beside.close()

    async def each(
        self,
        step: str,
        work: Callable[[Session, Item], Awaitable[Result]],
        items: Iterable[Item],
        progress: Progress | None = None,
        *,
        at_once: int = CHANNELS,
    ) -> list[Result]:
        """Do `work` on every item, several at once, and give the results in order. An error ends it."""
        todo = deque(enumerate(items))
        total = len(todo)
        done: dict[int, Result] = {}

        async def share() -> None:
            while todo:
                place, item = todo.popleft()
                done[place] = await work(self, item)
                if progress is not None:
                    progress(step, len(done), total)

        # No TaskGroup: up to Python 3.12 an error may leave its task counted as cancelled for ever, and then
        # the Ctrl-C of a command that goes on is no KeyboardInterrupt.
        shares = [asyncio.create_task(share()) for _ in range(min(at_once, self._most, total))]
        try:
            await asyncio.gather(*shares)
        finally:
            for each in shares:
                each.cancel()
            await asyncio.gather(*shares, return_exceptions=True)
        return [done[place] for place in range(total)]

    async def exists(self, kind: str, name: str) -> bool:
        """Tell whether there is a queue or an exchange of this name, whatever its settings.

        Raises BrokerRefused, or NotKnown where the broker can't say.
        """
        async with self.channel() as channel:
            try:
                await channel.ask(f"{kind}_declare", name, passive=True)
            except Refused as error:
                if error.absent:
                    return False
                # A queue that is exclusive to another connection can't be looked at, but it exists.
                if error.code != RESOURCE_LOCKED:
                    raise error.told() from error
        return True

    async def counts(self, queue: str) -> Counts | None:
        """Count what is ready in a queue and its consumers, None where there is no such queue.

        RabbitMQ answers zero for both where the leader of a quorum queue does not answer it in a quarter of a
        second (``rabbit_quorum_queue:stat/2``). So zeros are believed only if they came sooner, together with
        an empty ``basic.get``, the leader's own word: late ones may hide consumers that hold all of it.
        Raises NotKnown where no such zeros come, and BrokerRefused.
        """
        clock, heads = asyncio.get_running_loop().time, 0
        until = clock() + PATIENCE
        async with self.channel() as channel:
            while heads < _HEADS and clock() < until:
                asked = clock()
                try:
                    counts = await _declared(channel, queue)
                    if counts.ready or counts.consumers:
                        return counts
                    late = clock() - asked >= _LATE
                    head = await channel.get(queue)
                except Refused as error:
                    if error.absent:
                        return None
                    raise error.told() from error
                if head is not None:
                    channel.requeue(head)
                    heads += 1
                elif not late:
                    return counts
        told = "and hands out messages" if heads else "too late"
        raise NotKnown(f"{queue}: the broker counts nothing in it, {told}")

    async def close(self) -> None:
        """Close the connection. If it hangs, cut it, so that the broker takes back what it had handed out."""
        if self._connection.is_open:
            closed = asyncio.Event()
            self._connection.add_on_close_callback(lambda *_: closed.set())
            try:
                self._connection.close()
                async with asyncio.timeout(0 if self._blocked else _HANGING if self._hangs else _CLOSING):
                    await closed.wait()
            except (TimeoutError, AMQPError):
                transport = getattr(self._connection, "_transport", None)
                if transport is not None:
                    transport.abort()


_HEADS = 3
"""Messages that a queue hands out, which counts none, until it is given up."""
_LATE = 0.2
"""Seconds after which the broker may have answered for a leader that had not."""


async def _declared(channel: Channel, queue: str) -> Counts:
    answer = await channel.ask("queue_declare", queue, passive=True)
    return Counts(int(answer.message_count), int(answer.consumer_count))


@asynccontextmanager
async def connected(settings: Settings, *, name: str) -> AsyncIterator[Session]:
    """Connect to the first host that answers; each is tried once.

    Raises BrokerUnreachable where none does, or none lets the user in.
    """
    failures: list[BrokerUnreachable] = []
    for host in broker.parameters(settings, name=name):
        try:
            session = Session(await opened(host))
        except (AMQPError, OSError, TimeoutError) as error:
            failures.append(broker.failure(error, host))
            continue
        try:
            yield session
        finally:
            await session.close()
        return
    raise broker.together(failures)


_MANY_OBJECTS = 20_000


def run(work: Awaitable[Result]) -> Result:
    """Run what a command does in a session to its end; raises BrokerUnreachable where that is cut off."""
    # The plan of a thousand queues is a million objects and no garbage: to look for some takes a fifth more.
    gc.set_threshold(_MANY_OBJECTS)
    # Not the result of the task, which asyncio writes out at the end: a second where it is a long plan.
    results: list[Result] = []

    async def main() -> None:
        try:
            results.append(await work)
        except AMQPError as error:
            msg = f"lost the connection to the broker ({error!r}): run the command again"
            raise BrokerUnreachable(msg) from error

    asyncio.run(main())
    return results[0]
