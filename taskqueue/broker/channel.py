"""A channel in confirm mode: every publish ends in exactly one outcome."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import pika
from pika import spec
from pika.channel import Channel

from taskqueue.broker.counted import Counted
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.outcome import Outcome, Pending
from taskqueue.broker.wire import FaultyProperties, HeadersTooLarge, to_message, to_properties
from taskqueue.task.message import Publish
from taskqueue.topology.plan import Exchange, Queue

if TYPE_CHECKING:
    from taskqueue.broker.link import Link

log = logging.getLogger(__name__)

CONFIRM_DEADLINE = 30.0
"""Seconds after which a confirm that did not come is taken as lost, and the channel with it."""
_SWEEP = 2.0


class ConfirmChannel:
    """One channel of a link's connection, to publish and to consume on; used on the I/O thread only.

    `opened` is called once it is in confirm mode, `closed` once with the broker's reply code (0
    where there is none) and the reason, after every outstanding publish has ended as LOST.
    A consumer that the broker cancels ends the channel, unless it has a function for that. `blocked` is for
    one beside the link's connection.
    """

    def __init__(
        self,
        link: Link,
        connection: pika.SelectConnection,
        *,
        opened: Callable[[ConfirmChannel], None],
        closed: Callable[[ConfirmChannel, int, str], None],
        blocked: Callable[[], bool] | None = None,
    ) -> None:
        self._link = link
        self._blocked = blocked or (lambda: link.blocked)
        self._opened = opened
        self._closed = closed
        self._sequence = 0
        self._pending: dict[int, Pending] = {}
        self._confirms = False
        self._ended = False
        self._retired = False
        self._none: Callable[[], None] | None = None
        self._if_cancelled: dict[str, tuple[Callable[..., None], Callable[[ConfirmChannel], None]]] = {}
        self.released: set[int] = set()
        """Tags of deliveries that were given up, as the broker has taken them back."""
        self.connection = connection
        """The connection that it is a channel of."""
        self._counted = Counted.by(connection.server_properties)
        self._raw: Channel = connection.channel(on_open_callback=self._on_open)
        self._raw.add_on_close_callback(self._on_close)

    @property
    def is_open(self) -> bool:
        """Tell whether it takes frames: not before confirm mode, nor while it or its connection is closed."""
        return self._confirms and not self._ended and self._raw.is_open and self.connection.is_open

    @property
    def outstanding(self) -> int:
        """Count the publishes without an outcome."""
        return len(self._pending)

    def publish(self, publish: Publish, done: Callable[[Outcome], None]) -> None:
        """Publish persistent and mandatory; `done` is called with the outcome, maybe at once."""
        if not self.is_open:
            done(Outcome.LOST)
            return
        keys = publish.routing_keys
        try:
            properties = to_properties(publish, self.connection.params.frame_max)
            self._raw.basic_publish(
                publish.exchange, keys[0], publish.message.body, properties, mandatory=True
            )
        except (pika.exceptions.AMQPConnectionError, pika.exceptions.ChannelWrongStateError):
            done(Outcome.LOST)
            return
        except HeadersTooLarge:
            done(Outcome.TOO_LARGE)
            return
        except Exception:
            # Whoever publishes it says what becomes of it.
            log.debug("a message could not be encoded", exc_info=True)
            done(Outcome.UNFIT)
            return
        self._sequence += 1
        self._pending[self._sequence] = Pending(publish, done, self._link.monotonic())

    def verify(self, needed: Sequence[Exchange | Queue], there: Callable[[], None]) -> None:
        """Look up each of `needed` by its name; `there` is called once all were found.

        One that is missing closes the channel.
        """
        left = len(needed)

        def found(_frame: Any) -> None:
            nonlocal left
            left -= 1
            if not left and self.is_open:
                there()

        for each in needed:
            look_up = self._raw.exchange_declare if isinstance(each, Exchange) else self._raw.queue_declare
            look_up(each.name, passive=True, callback=found)

    def require(self, queue: str, targets: Iterable[str]) -> None:
        """Have the broker close the channel where the user may not read a queue, or write to a target.

        It is asked to unbind what is not bound, and looks at the permissions first. No answer is waited for:
        the next question has none where one of these is refused.
        """
        for target in targets:
            self._raw.exchange_unbind(target, queue, "taskqueue.check")

    def prefetch(self, count: int, done: Callable[[], None]) -> None:
        """Have at most `count` deliveries out at once for each consumer that begins from now on."""
        self._raw.basic_qos(prefetch_count=count, callback=lambda _: done())

    def consume(
        self,
        queue: str,
        received: Callable[[Delivery], None],
        begun: Callable[[], None],
        cancelled: Callable[[ConfirmChannel], None] | None = None,
    ) -> str:
        """Have each message of a queue handed to `received`, and give the consumer's tag.

        `begun` is called once the broker has agreed, `cancelled` where one ends it that does so over what is
        out for too long, or as the queue is gone. Any other ends the channel: its queue is gone, and what is
        out may not be acked in one that was declared in its place (`consume/former.py`).
        """

        def handed_out(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            received(self._delivery(method, properties, body))

        tag = self._raw.basic_consume(queue, on_message_callback=handed_out, callback=lambda _: begun())
        if cancelled is not None and self._counted.apart:
            self._if_cancelled[tag] = (handed_out, cancelled)
        return tag

    def get(self, queue: str, got: Callable[[Delivery | None], None]) -> None:
        """Take the message at the head of a queue, None where nothing is ready; one look at a time."""

        def found(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            got(self._delivery(method, properties, body))

        if self._none is None:
            self._raw.add_callback(self._on_none, [spec.Basic.GetEmpty], one_shot=False)
        self._none = lambda: got(None)
        self._raw.basic_get(queue, found)

    def count(self, queue: str, counted: Callable[[spec.Queue.DeclareOk], None]) -> None:
        """Count what is ready in a queue, and its consumers; both are 0 where its leader does not answer."""
        self._raw.queue_declare(queue, passive=True, callback=lambda found: counted(found.method))

    def ack(self, tag: int, *, multiple: bool = False) -> None:
        """Ack a delivery, or it and all that came before it: they are gone from their queue."""
        self._raw.basic_ack(tag, multiple=multiple)

    def requeue(self, tag: int) -> None:
        """Put a delivery back into its queue, by a nack: another consumer may have it at once."""
        self._raw.basic_nack(tag, requeue=True)

    def cancel(self, consumer_tag: str, done: Callable[[], None]) -> None:
        """Have a consumer take no more; what is on its way still comes, and `done` is called after it.

        pika's own way rejects what is on its way, which quorum queues count as a failed delivery.
        """
        raw: Any = self._raw
        reply = (spec.Basic.CancelOk, {"consumer_tag": consumer_tag})

        def gone(_frame: Any) -> None:
            self._if_cancelled.pop(consumer_tag, None)
            # Who consumes anew often would fill the memory in months: pika forgets it only by its own way.
            raw._consumers.pop(consumer_tag, None)  # noqa: SLF001
            done()

        raw._rpc(spec.Basic.Cancel(consumer_tag=consumer_tag), gone, [reply])  # noqa: SLF001

    def close(self, reason: str) -> None:
        """Give the channel up: the broker takes back what is not acked."""
        log.debug("closing channel: %s", reason)
        if self._raw.is_open:
            self._raw.close(reply_text=reason[:200])

    def retire(self) -> None:
        """Close as soon as every publish has its outcome."""
        self._retired = True
        if not self._pending:
            self.close("another one is in use")

    def abandon(self, reason: str) -> None:
        """End as closed, for a connection that is gone without a word to its channels."""
        self._end(0, reason)

    def _on_open(self, raw: Channel) -> None:
        raw.add_on_return_callback(self._on_return)
        raw.add_on_cancel_callback(self._on_cancel)
        raw.confirm_delivery(self._on_confirm, self._on_confirm_mode)

    def _delivery(self, method: Any, properties: Any, body: bytes) -> Delivery:
        message = to_message(properties, body)
        earlier = self._counted.earlier(message.headers, redelivered=method.redelivered)
        return Delivery(self, method.delivery_tag, message, method.redelivered, earlier)

    def _on_none(self, _frame: Any) -> None:
        if self._none is not None:
            self._none()

    def _on_cancel(self, frame: Any) -> None:
        tag = frame.method.consumer_tag
        if tag not in self._if_cancelled:
            self.close("cancelled by the broker")
            return
        handed_out, cancelled = self._if_cancelled[tag]
        # What is on its way still comes: pika has forgotten by whom it is taken.
        raw: Any = self._raw
        raw._consumers[tag] = handed_out  # noqa: SLF001
        cancelled(self)

    def _on_confirm_mode(self, _frame: Any) -> None:
        self._confirms = True
        self._link.later(_SWEEP, self._sweep)
        self._opened(self)

    def _on_confirm(self, frame: Any) -> None:
        method = frame.method
        outcome = Outcome.NACKED if isinstance(method, spec.Basic.Nack) else Outcome.CONFIRMED
        tag = method.delivery_tag
        if not method.multiple:
            self._settle(tag, outcome)
            return
        while self._pending and (first := next(iter(self._pending))) <= tag:
            self._settle(first, outcome)

    def _settle(self, tag: int, outcome: Outcome) -> None:
        pending = self._pending.pop(tag, None)
        if pending is None:
            return
        pending.done(Outcome.RETURNED if pending.returned else outcome)
        if self._retired and not self._pending:
            self.close("another one is in use")

    def _on_return(self, _channel: Any, method: Any, properties: pika.BasicProperties, _body: bytes) -> None:
        # A return carries no delivery tag. What has the same exchange and key is as unroutable.
        unreadable = isinstance(properties, FaultyProperties)
        for pending in self._pending.values():
            publish = pending.publish
            if (
                not pending.returned
                and publish.exchange == method.exchange
                and publish.routing_keys[0] == method.routing_key
                and (unreadable or publish.message.properties.get("message_id") == properties.message_id)
            ):
                pending.returned = True
                if not unreadable:
                    return

    def _sweep(self) -> None:
        if self._ended:
            return
        oldest = next(iter(self._pending.values()), None)
        if self._blocked():
            now = self._link.monotonic()
            for pending in self._pending.values():
                pending.since = now
        elif oldest is not None and self._link.monotonic() - oldest.since > CONFIRM_DEADLINE:
            log.warning("no confirm in %.0f s: giving up the channel", CONFIRM_DEADLINE)
            self.close("confirm deadline")
            self._end(0, "no confirm in time")
            return
        self._link.later(_SWEEP, self._sweep)

    def _on_close(self, _channel: Any, reason: Exception) -> None:
        code = getattr(reason, "reply_code", 0)
        self._end(code, getattr(reason, "reply_text", None) or str(reason) or type(reason).__name__)

    def _end(self, code: int, reason: str) -> None:
        if self._ended:
            return
        self._ended = True
        pending, self._pending = self._pending, {}
        for one in pending.values():
            one.done(Outcome.LOST)
        self._closed(self, code, reason)
