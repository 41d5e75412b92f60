"""A channel of a command: one question at a time, and an end to each; confirmed publishes; one consumer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from pika import spec
from pika.channel import Channel as Raw
from pika.exceptions import AMQPError

from taskqueue.broker import connect as broker
from taskqueue.broker.counted import Counted
from taskqueue.broker.replies import ANSWERS, Refused, Returned, not_taken
from taskqueue.broker.wire import FaultyProperties, to_message, to_properties
from taskqueue.errors import BrokerUnreachable, InvalidTask, NotKnown, PublishFailed, TaskqueueError
from taskqueue.task.message import Message, Publish

PATIENCE = 5.0
"""Seconds that an answer may take; a leader that answers at all does so in milliseconds."""
BEHIND_MANY = 20.0
"""The same for an answer that may come behind thousands of messages on its channel."""
_LAST_CONFIRMS = 1.0
"""Seconds after an alarm in which what the broker had taken before it is confirmed."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """A message that was handed out, and what it takes to settle it."""

    tag: int
    message: Message
    redelivered: bool
    earlier_deliveries: int = 0


@dataclass(slots=True)
class _Pending:
    publish: Publish
    done: asyncio.Future[None]
    returned: bool = False


class Channel:
    """One channel: one question at a time, or publishes with confirms, or one consumer."""

    def __init__(self, raw: Raw) -> None:
        self.acks = 0
        """How many were sent since it is known that a queue has all before them."""
        self._raw = raw
        self._counted = Counted.by(raw.connection.server_properties)
        self._waiting: asyncio.Future[Any] | None = None
        self._error: TaskqueueError | Refused | None = None
        self._sequence = 0
        self._pending: dict[int, _Pending] = {}
        self._arrived: asyncio.Queue[Delivery | None] | None = None
        self._alarm: PublishFailed | None = None
        raw.add_on_close_callback(self._closed)
        raw.add_callback(lambda _: self._answer(None), [spec.Basic.GetEmpty], one_shot=False)

    @property
    def hangs(self) -> bool:
        """Tell whether it is open, and the answer to its last question has not come."""
        return self._raw.is_open and isinstance(self._error, NotKnown)

    @property
    def alarmed(self) -> bool:
        """Tell whether the broker has an alarm, and takes no publishes. It says so to who has published."""
        return self._alarm is not None

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

    def tell(self, method: str, *arguments: Any) -> None:
        """Call one of pika's methods without an answer; a refusal of it is that of the next question."""
        if self._error is None and self._raw.is_open:
            getattr(self._raw, method)(*arguments)

    async def get(self, queue: str) -> Delivery | None:
        """Take the head of a queue, None where its leader says that nothing is ready: no time-out does."""

        def got(_channel: object, method: Any, properties: Any, body: bytes) -> None:
            self._answer(self._delivery(method, properties, body))

        found: Delivery | None = await self._answered(
            lambda: self._raw.basic_get(queue, got), PATIENCE, f"the head of {queue}"
        )
        return found

    def _delivery(self, method: Any, properties: Any, body: bytes) -> Delivery:
        message = to_message(properties, body)
        earlier = self._counted.earlier(message.headers, redelivered=method.redelivered)
        return Delivery(method.delivery_tag, message, method.redelivered, earlier)

    async def confirms(self) -> None:
        """Have every publish confirmed from now on."""
        await self._answered(
            lambda: self._raw.confirm_delivery(self._confirmed, self._answer), PATIENCE, "confirm.select"
        )
        self._raw.add_on_return_callback(self._returned)
        self._raw.connection.add_on_connection_blocked_callback(self._alarmed)
        self._raw.connection.add_on_connection_unblocked_callback(lambda *_: self._alarmed(None, None))

    def publish(self, publish: Publish) -> asyncio.Future[None]:
        """Publish persistent and mandatory; what is given is done once it is confirmed.

        It fails with PublishFailed where the message is returned or refused, or the broker has an alarm and
        takes none; InvalidTask where its headers can't be written; and with what ended the channel otherwise.
        In that case, and after an alarm, it may have arrived or not.
        """
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        # Whoever gives up waiting has been told why by another one.
        done.add_done_callback(lambda each: None if each.cancelled() else each.exception())
        if error := self._error or self._alarm:
            done.set_exception(error)
            return done
        try:
            self._raw.basic_publish(
                publish.exchange,
                publish.routing_keys[0],
                publish.message.body,
                to_properties(publish, self._raw.connection.params.frame_max),
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

    async def consume(
        self,
        queue: str,
        *,
        window: int,
        tag: str = "",
        settled: bool = False,
        arguments: Mapping[str, Any] | None = None,
        patience: float = PATIENCE,
    ) -> None:
        """Have up to `window` messages handed out to this channel; `next` gives them.

        What is `settled` needs no ack. A stream takes where to begin as an argument
        (https://www.rabbitmq.com/docs/streams#consuming).
        """
        if self._arrived is None:
            self._arrived = asyncio.Queue()
            self._raw.add_on_cancel_callback(lambda _: self._ended())
        arrived = self._arrived

        def received(_channel: object, method: Any, properties: Any, body: bytes) -> None:
            arrived.put_nowait(self._delivery(method, properties, body))

        await self.ask("basic_qos", patience=patience, prefetch_count=window)
        given = {"auto_ack": settled, "consumer_tag": tag or None, "arguments": dict(arguments or {}) or None}
        await self.ask("basic_consume", queue, received, patience=patience, **given)

    async def next(self, wait: float) -> Delivery | None:
        """Give the next message that was handed out, None where none comes in time.

        Raises what ended the channel, or NotKnown where the broker has ended the consumer.
        """
        if self._arrived is None:
            raise AssertionError("nothing is consumed here")
        try:
            # At once where it is there already: that is the common case, and a timer costs more than it.
            found = self._arrived.get_nowait()
        except asyncio.QueueEmpty:
            try:
                async with asyncio.timeout(wait):
                    found = await self._arrived.get()
            except TimeoutError:
                return None
        if found is None:
            raise self._error or NotKnown("the broker has ended the look: the queue is gone, or its leader")
        return found

    def ack(self, delivery: Delivery, *, multiple: bool = False) -> None:
        """Ack a message, or it and all that were handed out before it: gone from any queue but a stream."""
        self.acks += 1
        if self._raw.is_open:
            self._raw.basic_ack(delivery.tag, multiple=multiple)

    def requeue(self, delivery: Delivery, *, multiple: bool = False) -> None:
        """Put a message back, or it and all that were handed out before it."""
        if self._raw.is_open:
            self._raw.basic_nack(delivery.tag, multiple=multiple, requeue=True)

    def give_back(self, tag: int) -> None:
        """Put the message back that was handed out with this tag."""
        if self._raw.is_open:
            self._raw.basic_nack(tag, requeue=True)

    def close(self) -> None:
        """Close it, if it still is open: what it holds goes back; behind an answer that is still to come."""
        if self._raw.is_open:
            # pika would cancel first: a classic queue then counts neither consumer nor what is still out.
            self._raw._cancelled.update(self._raw._consumers)  # type: ignore[attr-defined]  # noqa: SLF001
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
            self._error = Refused(code, text) if code in ANSWERS else lost
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(self._error)
        for pending in self._pending.values():
            if not pending.done.done():
                pending.done.set_exception(self._error)
        self._pending.clear()
        self._ended()

    def _ended(self) -> None:
        if self._arrived is not None:
            self._arrived.put_nowait(None)

    def _alarmed(self, _connection: object, frame: Any) -> None:
        """Learn that the broker takes no publishes, or takes them again (no frame)."""
        self._alarm = frame and PublishFailed(
            f"the broker takes no publishes ({frame.method.reason}), though what is on its way may still "
            "arrive: make room, see 'rabbitmq-diagnostics alarms', and try again"
        )
        if frame:
            asyncio.get_running_loop().call_later(_LAST_CONFIRMS, self._give_up)

    def _give_up(self) -> None:
        for pending in self._pending.values():
            if self._alarm is not None and not pending.done.done():
                pending.done.set_exception(self._alarm)

    def _confirmed(self, frame: Any) -> None:
        tag, refused = frame.method.delivery_tag, isinstance(frame.method, spec.Basic.Nack)
        first = next(iter(self._pending), tag)
        for each in range(first, tag + 1) if frame.method.multiple else (tag,):
            pending = self._pending.pop(each, None)
            if pending is None or pending.done.done():
                continue
            where = pending.publish.exchange
            if pending.returned:
                pending.done.set_exception(Returned(where))
            elif refused:
                pending.done.set_exception(not_taken(where))
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
