"""A session of a command with the broker: many questions at once, and an end to each.

The broker may answer no question at all: a leader that hangs stops the channel that asked for it, for good.
So each answer is waited for a while only, and the channel is given up with it.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

from pika import spec
from pika.channel import Channel as Raw
from pika.connection import Parameters
from pika.exceptions import AMQPError

from taskqueue.broker import connect as broker
from taskqueue.broker.wire import FaultyProperties, TolerantAsyncio, to_message, to_properties
from taskqueue.errors import (
    BrokerRefused,
    BrokerUnreachable,
    InvalidTask,
    NotKnown,
    PublishFailed,
    TaskqueueError,
)
from taskqueue.settings import Settings
from taskqueue.task.message import Message, Publish

Item = TypeVar("Item")
Result = TypeVar("Result")
Progress = Callable[[str, int, int], None]
"""Told the step, how much of it is done, and how much there is."""

ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED = 403, 404, 405, 406
PATIENCE = 5.0
"""Seconds that an answer may take; a leader that answers at all does so in milliseconds."""
CHANNELS = 16
"""Questions at once: a quorum queue answers after it has written to its disk, and many write together."""
_CONNECTING = 10.0
_CLOSING = 2.0
_ABSENT = ("NOT_FOUND - no queue", "NOT_FOUND - no exchange")


class Refused(Exception):
    """The broker has closed the channel over what was asked: its code and its words."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason

    @property
    def absent(self) -> bool:
        """There is no such queue or exchange; any other 404 is one whose node is away for now."""
        return self.code == NOT_FOUND and self.reason.startswith(_ABSENT)

    def told(self) -> TaskqueueError:
        """Say what the broker said, and which permission it takes."""
        if self.code == NOT_FOUND and not self.absent:
            return NotKnown(f"{self.reason}: its node or leader is away, try again")
        if self.code == ACCESS_REFUSED:
            return BrokerRefused(
                f"{self.reason}: the user needs configure, write and read permission on "
                r"^Q(\..*)?$ for each queue Q (rabbitmqctl set_permissions)"
            )
        return BrokerRefused(f"the broker refused: {self.reason}")


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was handed out, and what it takes to settle it."""

    tag: int
    message: Message
    redelivered: bool


@dataclass(frozen=True, slots=True)
class Counts:
    """What a queue holds that is ready, and its consumers."""

    ready: int
    consumers: int


@dataclass(slots=True)
class _Pending:
    publish: Publish
    done: asyncio.Future[None]
    returned: bool = False


@dataclass(slots=True)
class _Consumer:
    arrived: asyncio.Queue[Delivery | None] = field(default_factory=asyncio.Queue)


class Channel:
    """One channel: one question at a time, or publishes with confirms, or one consumer."""

    def __init__(self, raw: Raw) -> None:
        self._raw = raw
        self._waiting: asyncio.Future[Any] | None = None
        self._error: TaskqueueError | Refused | None = None
        self._sequence = 0
        self._pending: dict[int, _Pending] = {}
        self._consumer: _Consumer | None = None
        raw.add_on_close_callback(self._closed)
        raw.add_callback(lambda _: self._answer(None), [spec.Basic.GetEmpty], one_shot=False)

    @property
    def usable(self) -> bool:
        """Tell whether it answers, as far as is known."""
        return self._error is None and self._raw.is_open

    async def ask(self, method: str, *arguments: Any, patience: float = PATIENCE, **named: Any) -> Any:
        """Call one of pika's methods and give the broker's answer.

        Raises Refused where the broker closes the channel over it, NotKnown where no answer comes in time;
        nothing more can be asked on the channel after either.
        """
        return await self._answered(
            lambda: getattr(self._raw, method)(*arguments, callback=self._answer, **named), patience, method
        )

    async def get(self, queue: str) -> Delivery | None:
        """Take the message at the head of a queue, None where nothing is ready.

        An empty answer is the queue's own word, given by its leader: no time-out looks like it.
        """

        def got(_channel: object, method: Any, properties: Any, body: bytes) -> None:
            message = to_message(properties, body)
            self._answer(Delivery(method.delivery_tag, message, method.redelivered))

        found: Delivery | None = await self._answered(
            lambda: self._raw.basic_get(queue, got), PATIENCE, f"the head of {queue}"
        )
        return found

    async def confirms(self) -> None:
        """Have every publish confirmed from now on."""
        await self._answered(
            lambda: self._raw.confirm_delivery(self._confirmed, self._answer), PATIENCE, "confirm.select"
        )
        self._raw.add_on_return_callback(self._returned)

    def publish(self, publish: Publish) -> asyncio.Future[None]:
        """Publish persistent and mandatory; what is given is done once it is confirmed.

        It fails with PublishFailed where the message is returned or refused, InvalidTask where its headers
        can't be written, and with what ended the channel otherwise: then it may have arrived or not.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Whoever gives up waiting has been told why by another one.
        done.add_done_callback(lambda each: None if each.cancelled() else each.exception())
        if self._error is not None:
            done.set_exception(self._error)
            return done
        try:
            self._raw.basic_publish(
                publish.exchange,
                publish.routing_keys[0],
                publish.message.body,
                to_properties(publish),
                mandatory=True,
            )
        except AMQPError as error:
            done.set_exception(BrokerUnreachable(f"lost the connection to the broker ({error!r})"))
            return done
        except Exception as error:  # noqa: BLE001 whatever pika can't write
            done.set_exception(InvalidTask("headers", f"can't be written: {error}"))
            return done
        self._sequence += 1
        self._pending[self._sequence] = _Pending(publish, done)
        return done

    async def consume(self, queue: str, *, window: int, tag: str = "") -> None:
        """Have up to `window` messages handed out to this channel; `next` gives them."""
        if self._consumer is None:
            self._consumer = _Consumer()
            self._raw.add_on_cancel_callback(lambda _: self._ended())
        arrived = self._consumer.arrived

        def received(_channel: object, method: Any, properties: Any, body: bytes) -> None:
            message = to_message(properties, body)
            arrived.put_nowait(Delivery(method.delivery_tag, message, method.redelivered))

        await self.ask("basic_qos", prefetch_count=window)
        await self.ask("basic_consume", queue, received, consumer_tag=tag or None)

    async def next(self, wait: float) -> Delivery | None:
        """Give the next message that was handed out, None where none comes in time.

        Raises what ended the channel, or NotKnown where the broker has ended the consumer.
        """
        if self._consumer is None:
            raise AssertionError("nothing is consumed here")
        try:
            # At once where it is there already: that is the common case, and a timer costs more than it.
            found = self._consumer.arrived.get_nowait()
        except asyncio.QueueEmpty:
            try:
                async with asyncio.timeout(wait):
                    found = await self._consumer.arrived.get()
            except TimeoutError:
                return None
        if found is None:
            raise self._error or NotKnown("the broker has ended the look: the queue is gone, or its leader")
        return found

    def ack(self, delivery: Delivery) -> None:
        """Ack a message: it is gone from its queue."""
        if self._raw.is_open:
            self._raw.basic_ack(delivery.tag)

    def requeue(self, delivery: Delivery, *, multiple: bool = False) -> None:
        """Put a message back, or it and all that were handed out before it."""
        if self._raw.is_open:
            self._raw.basic_nack(delivery.tag, multiple=multiple, requeue=True)

    def close(self) -> None:
        """Close it, if it still is open: what it holds goes back; behind an answer that is still to come."""
        if self._raw.is_open:
            # pika rejects one by one what it has handed out to nobody; here all is handed out.
            self._raw.close()

    async def _answered(self, begin: Callable[[], object], patience: float, what: str) -> Any:
        if self._error is not None:
            raise self._error
        self._waiting = asyncio.get_running_loop().create_future()
        try:
            begin()
            async with asyncio.timeout(patience):
                return await self._waiting
        except TimeoutError:
            self._error = NotKnown(f"the broker did not answer in {patience:g} s ({what})")
            raise self._error from None
        except asyncio.CancelledError:
            # Its answer is still to come, and would be taken for that of the next question.
            self._error = NotKnown(f"given up ({what})")
            raise
        except AMQPError as error:
            self._error = BrokerUnreachable(f"lost the connection to the broker ({error!r})")
            raise self._error from error
        finally:
            self._waiting = None

    def _answer(self, frame: Any) -> None:
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_result(getattr(frame, "method", frame))

    def _closed(self, _raw: object, reason: Exception) -> None:
        code = getattr(reason, "reply_code", 0)
        if self._error is None:
            text = getattr(reason, "reply_text", None) or str(reason)
            lost = BrokerUnreachable(f"lost the connection to the broker ({broker.reason(reason)})")
            self._error = Refused(code, text) if code in _CHANNEL_ERRORS else lost
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(self._error)
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_exception(self._error)
        self._pending.clear()
        self._ended()

    def _ended(self) -> None:
        if self._consumer is not None:
            self._consumer.arrived.put_nowait(None)

    def _confirmed(self, frame: Any) -> None:
        tag, refused = frame.method.delivery_tag, isinstance(frame.method, spec.Basic.Nack)
        first = next(iter(self._pending), tag)
        for each in range(first, tag + 1) if frame.method.multiple else (tag,):
            pending = self._pending.pop(each, None)
            if pending is None or pending.done.done():
                continue
            where = pending.publish.exchange
            if pending.returned:
                pending.done.set_exception(
                    PublishFailed(f"{where}: no queue is bound, run 'taskqueue declare'")
                )
            elif refused:
                pending.done.set_exception(
                    PublishFailed(f"{where}: a queue is full or its leader unavailable")
                )
            else:
                pending.done.set_result(None)

    def _returned(self, _channel: object, method: Any, properties: Any, _body: bytes) -> None:
        # A return carries no delivery tag. What has the same exchange, key and id is as unroutable.
        unreadable = isinstance(properties, FaultyProperties)
        for pending in self._pending.values():
            publish = pending.publish
            same = (publish.exchange, publish.routing_keys[0]) == (method.exchange, method.routing_key)
            known = unreadable or publish.message.properties.get("message_id") == properties.message_id
            if same and known and not pending.returned:
                pending.returned = True
                return


_CHANNEL_ERRORS = frozenset({ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED, 311, 540, 541})


class Session:
    """A connection for a command, and the channels on it."""

    def __init__(self, connection: TolerantAsyncio) -> None:
        self._connection = connection
        self._idle: deque[Channel] = deque()

    @property
    def properties(self) -> Mapping[str, Any]:
        """Give what the broker said of itself."""
        return self._connection.server_properties or {}

    @asynccontextmanager
    async def channel(self) -> AsyncIterator[Channel]:
        """Give a channel; it is used again afterwards where it still answers and consumes nothing."""
        while self._idle and not self._idle[0].usable:
            self._idle.popleft()
        channel = self._idle.popleft() if self._idle else await self.open_channel()
        try:
            yield channel
        finally:
            if channel.usable:
                self._idle.append(channel)
            else:
                channel.close()

    async def open_channel(self) -> Channel:
        """Open a channel; raises BrokerUnreachable where the connection is lost."""
        opened: asyncio.Future[Raw] = asyncio.get_running_loop().create_future()

        def arrived(raw: Raw) -> None:
            if not opened.done():
                opened.set_result(raw)

        try:
            self._connection.channel(on_open_callback=arrived)
            async with asyncio.timeout(PATIENCE):
                return Channel(await opened)
        except (AMQPError, TimeoutError) as error:
            raise BrokerUnreachable(f"lost the connection to the broker ({error!r})") from error

    @asynccontextmanager
    async def own_channel(self) -> AsyncIterator[Channel]:
        """Give a channel that is closed afterwards: what it holds then goes back to where it was."""
        channel = await self.open_channel()
        try:
            yield channel
        finally:
            channel.close()

    async def each(
        self,
        step: str,
        work: Callable[[Session, Item], Awaitable[Result]],
        items: Iterable[Item],
        progress: Progress | None = None,
        *,
        at_once: int = CHANNELS,
    ) -> list[Result]:
        """Do `work` on every item, several at once, and give the results in order; an error ends it."""
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
        shares = [asyncio.create_task(share()) for _ in range(min(at_once, total))]
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
                # What belongs to another connection can't be looked at, but it is there.
                if error.code != RESOURCE_LOCKED:
                    raise error.told() from error
        return True

    async def counts(self, queue: str) -> Counts | None:
        """Count what is ready in a queue and its consumers, None where there is no such queue.

        RabbitMQ answers zero for both where the leader of a quorum queue does not answer it in a quarter of a
        second (``rabbit_quorum_queue:stat/2``). So zeros are believed only together with the leader's own
        word, an empty ``basic.get``. Raises NotKnown without it, BrokerRefused.
        """
        async with self.channel() as channel:
            for _ in range(_LOOKS):
                try:
                    counts = await _declared(channel, queue)
                except Refused as error:
                    if error.absent:
                        return None
                    raise error.told() from error
                if counts.ready or counts.consumers:
                    return counts
                try:
                    head = await channel.get(queue)
                except Refused as error:
                    raise error.told() from error
                if head is None:
                    return counts
                channel.requeue(head)
        raise NotKnown(f"{queue}: the broker counts nothing in it, and hands out messages")

    async def close(self) -> None:
        """Close the connection; one that hangs is cut, so that the broker takes back what it had given."""
        if self._connection.is_open:
            closed = asyncio.Event()
            self._connection.add_on_close_callback(lambda *_: closed.set())
            try:
                self._connection.close()
                async with asyncio.timeout(_CLOSING):
                    await closed.wait()
            except (TimeoutError, AMQPError):
                transport = getattr(self._connection, "_transport", None)
                if transport is not None:
                    transport.abort()


_LOOKS = 3


async def _declared(channel: Channel, queue: str) -> Counts:
    answer = await channel.ask("queue_declare", queue, passive=True)
    return Counts(int(answer.message_count), int(answer.consumer_count))


@asynccontextmanager
async def connected(settings: Settings, *, name: str) -> AsyncIterator[Session]:
    """Connect to the first host that answers; each is tried once.

    Raises BrokerUnreachable where none does or the login is refused, BrokerRefused where the user may not use
    the virtual host.
    """
    failures: list[TaskqueueError] = []
    for host in broker.parameters(settings, name=name):
        try:
            session = Session(await _connect(host))
        except (AMQPError, OSError, TimeoutError) as error:
            failures.append(broker.failure(error, host))
            continue
        try:
            yield session
        finally:
            await session.close()
        return
    raise broker.worst(failures)


async def _connect(host: Parameters) -> TolerantAsyncio:
    opened: asyncio.Future[TolerantAsyncio] = asyncio.get_running_loop().create_future()

    def failed(_connection: object, error: BaseException | str) -> None:
        if not opened.done():
            opened.set_exception(broker.cause(error))

    def succeeded(made: TolerantAsyncio) -> None:
        if not opened.done():
            opened.set_result(made)

    connection = TolerantAsyncio(
        host,
        on_open_callback=succeeded,
        on_open_error_callback=failed,
        custom_ioloop=asyncio.get_running_loop(),
    )
    try:
        async with asyncio.timeout(_CONNECTING):
            return await opened
    except TimeoutError:
        # A server that accepts and says nothing.
        transport = getattr(connection, "_transport", None)
        if transport is not None:
            transport.abort()
        raise


def run(work: Awaitable[Result]) -> Result:
    """Run what a command does in a session to its end."""

    async def main() -> Result:
        return await work

    return asyncio.run(main())
