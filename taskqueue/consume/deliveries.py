"""The channel on which one queue is consumed: opened, verified, lost and opened again; and its acks.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import Any

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.link import Link
from taskqueue.broker.replies import absent, unacked_too_long
from taskqueue.broker.wire import TolerantConnection, to_message
from taskqueue.consume.acks import Acks
from taskqueue.consume.workers import Delivery
from taskqueue.topology.plan import Exchange, essentials
from taskqueue.tries import Backoff

log = logging.getLogger(__name__)

_REOPEN = 1.0
_LONGEST_REOPEN = 10.0
_HEALTHY = 30.0
"""Seconds of consuming after which a channel that is lost is opened again soon."""


class Intake:
    """Takes deliveries from one queue and acks them.

    A delivery belongs to the channel on which it came. When that is lost, `lost` is called, and
    the delivery can't be acked any more: the broker hands it out again. `missing` is called with
    the reason where something of the queue is not declared, and nothing of it was ever consumed.
    """

    def __init__(
        self,
        queue: str,
        prefetch: int,
        link: Link,
        *,
        received: Callable[[Delivery], None],
        lost: Callable[[], None],
        missing: Callable[[str], None],
    ) -> None:
        self._queue = queue
        self._prefetch = prefetch
        self._link = link
        self._received = received
        self._lost = lost
        self._missing = missing
        self._connection: TolerantConnection | None = None
        self._channel: ConfirmChannel | None = None
        self._consumer_tag: str | None = None
        self._acks = Acks()
        self._flushing = False
        self._stopping = False
        self._paused = False
        self._cancelling = False
        self._ready = False
        self._ever_consumed = False
        self._reopening = Backoff(_REOPEN, _LONGEST_REOPEN, jitter=0.5)
        self._consuming_since: float | None = None

    def connected(self, connection: TolerantConnection) -> None:
        """Open a channel on a fresh connection."""
        self._connection = connection
        self._reopening.reset()
        self._open()

    def disconnected(self, reason: str) -> None:
        """Forget the channel with all that is out on it: the broker hands it out again."""
        self._connection = None
        if self._channel is not None:
            self._channel.abandon(reason)

    def stop(self) -> None:
        """Take no more; what is on its way still comes, and what is out can still be acked."""
        self._stopping = True
        if self._channel is not None and self._channel.is_open and self._consumer_tag is not None:
            self._channel.cancel(self._consumer_tag, lambda: None)

    @property
    def paused(self) -> bool:
        """Tell whether nothing more can come."""
        return self._paused and not self._cancelling

    def pause(self, paused: Callable[[], None]) -> None:
        """Take no more until `resume`; `paused` is called where nothing more can come from then on."""
        self._paused = True
        tag, self._consumer_tag = self._consumer_tag, None
        if self._channel is None or not self._channel.is_open or tag is None:
            return
        self._cancelling = True

        def cancelled() -> None:
            self._cancelling = False
            paused()

        self._channel.cancel(tag, cancelled)

    def resume(self) -> None:
        """Take deliveries again."""
        self._paused = False
        if self._channel is not None and self._channel.is_open and self._ready:
            self._consume(self._channel)

    def holds(self, delivery: Delivery) -> bool:
        """Tell whether a delivery can still be acked."""
        return delivery.channel is self._channel

    def ack(self, delivery: Delivery) -> None:
        """Ack a delivery, together with others that are ready by then."""
        if not self.holds(delivery):
            return
        self._acks.settle(delivery.tag)
        if not self._flushing:
            self._flushing = True
            self._link.call(self.flush)

    def give_back(self, delivery: Delivery) -> None:
        """Let another consumer have a delivery at once that this one will not run."""
        if self._channel is not None and self.holds(delivery) and self._channel.is_open:
            self._acks.forget(delivery.tag)
            self._channel.raw.basic_nack(delivery.tag, requeue=True)

    def flush(self) -> None:
        """Send the acks that are ready."""
        self._flushing = False
        if self._channel is None or not self._channel.is_open:
            return
        for ack in self._acks.flush():
            self._channel.raw.basic_ack(ack.tag, multiple=ack.multiple)

    def _open(self) -> None:
        if self._connection is None or self._stopping or self._channel is not None:
            return
        if self._connection.is_open:
            self._acks = Acks()
            self._ready = False
            self._channel = ConfirmChannel(
                self._link, self._connection, opened=self._verify, closed=self._closed
            )

    def _verify(self, channel: ConfirmChannel) -> None:
        """Ask for everything that settling needs, as a publish to what is missing closes the channel."""
        for needed in essentials(self._queue):
            if isinstance(needed, Exchange):
                channel.raw.exchange_declare(needed.name, passive=True, callback=_ignore)
            else:
                channel.raw.queue_declare(needed.name, passive=True, callback=_ignore)
        channel.raw.add_on_cancel_callback(lambda _: channel.close("cancelled by the broker"))
        channel.raw.basic_qos(prefetch_count=self._prefetch, callback=lambda _: self._consume(channel))

    def _consume(self, channel: ConfirmChannel) -> None:
        if channel is not self._channel or self._stopping:
            return
        self._ready = True
        if self._paused:
            return

        def on_message(_channel: Any, method: Any, properties: Any, body: bytes) -> None:
            self._acks.delivered(method.delivery_tag)
            message = to_message(properties, body)
            self._received(Delivery(channel, method.delivery_tag, message, redelivered=method.redelivered))

        self._consumer_tag = channel.raw.basic_consume(
            self._queue, on_message_callback=on_message, callback=lambda _: self._consuming()
        )

    def _consuming(self) -> None:
        log.info("consuming from %s (prefetch %d)", self._queue, self._prefetch)
        self._ever_consumed = True
        self._consuming_since = time.monotonic()

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        self._consumer_tag = None
        self._cancelling = False
        self._lost()
        if self._stopping or self._connection is None or not self._connection.is_open:
            return
        # A broker that refuses our publishes would have every task run again each time it is opened.
        if self._consuming_since is not None and time.monotonic() - self._consuming_since > _HEALTHY:
            self._reopening = Backoff(_REOPEN, _LONGEST_REOPEN, jitter=0.5)
        self._consuming_since = None
        if absent(code, reason):
            log.error("%s is not declared (%s): run 'taskqueue declare'", self._queue, reason)
            if not self._ever_consumed:
                self._missing(reason)
        elif unacked_too_long(code, reason):
            log.warning(
                "%s: a task ran longer than the broker lets a delivery stay unacked (%s): what was out runs "
                "again; lower 'timeout' of this queue, or raise consumer_timeout in rabbitmq.conf",
                self._queue,
                reason,
            )
        else:
            log.warning(
                "the channel of %s was closed (%s %s): opening it again", self._queue, code or "", reason
            )
        self._link.later(self._reopening.next(), self._open)


def _ignore(_frame: Any) -> None:
    """Take an answer that says nothing: what is missing closes the channel instead."""
