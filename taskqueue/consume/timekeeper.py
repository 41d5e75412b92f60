"""The schedules of one queue in a consumer, which is woken by the broker when one is due.

It holds no timer and keeps nothing. When something is due stands in the book, a message in `Q.schedule`. A
wake-up walks the ladder of the queue until then, and comes to one consumer, whichever; `wakeup` works it off.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.replies import absent
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.metrics import Metrics
from taskqueue.consume.reopening import Reopening
from taskqueue.consume.strays import bury
from taskqueue.consume.wakeup import WakeUp, tell_unreadable
from taskqueue.schedule import messages
from taskqueue.schedule.clocks import broker_time, present
from taskqueue.schedule.messages import UnreadableBook, Wake
from taskqueue.topology import names
from taskqueue.topology.ladder import Way
from taskqueue.topology.plan import Exchange, Queue

log = logging.getLogger(__name__)

_SOON = 300
"""Seconds ahead for which a wake-up is sent anew: RabbitMQ may hold one for 3 minutes when it is back."""


class Owner(Protocol):
    """What a timekeeper tells its consumer."""

    def missing(self, queue: str, reason: str) -> None:
        """Something that schedules need is not declared, and never was there."""

    def progressed(self) -> None:
        """Nothing is under way any more."""


class Timekeeper:
    """Enqueues the occurrences of the schedules of one queue, `way` being the way to it.

    `forgetful` says that the broker may lose a wake-up (classic rungs, when it is killed). `clock` gives the
    seconds since the epoch.
    """

    def __init__(
        self,
        way: Way,
        *,
        forgetful: bool,
        link: Link,
        owner: Owner,
        metrics: Metrics,
        clock: Callable[[], float],
    ) -> None:
        self._way = way
        self._forgetful = forgetful
        self._link = link
        self._owner = owner
        self._metrics = metrics
        self._clock = clock
        self._connection: TolerantConnection | None = None
        self._channel: ConfirmChannel | None = None
        self._work: WakeUp | None = None
        self._stopping = False
        self._reopening = Reopening()
        self._wrong_clock = False

    @property
    def idle(self) -> bool:
        """Nothing is under way that could come to an end: a broker with an alarm confirms nothing."""
        return self._work is None or (self._stopping and self._link.blocked)

    def connected(self, connection: TolerantConnection) -> None:
        """Open a channel on a fresh connection."""
        self._connection = connection
        self._reopening.connected()
        self._open()

    def disconnected(self, reason: str) -> None:
        """Forget the channel: the broker hands out again what was out on it."""
        self._connection = None
        if self._channel is not None:
            self._channel.abandon(reason)

    def stop(self) -> None:
        """Take no more wake-ups, and finish what is under way."""
        self._stopping = True
        if self._work is None or self._work.waits:
            self._leave()

    def _open(self) -> None:
        if self._connection is None or self._stopping or self._channel is not None:
            return
        if self._connection.is_open:
            self._channel = ConfirmChannel(
                self._link, self._connection, opened=self._verify, closed=self._closed
            )

    def _verify(self, channel: ConfirmChannel) -> None:
        book, wake = names.schedule(self._way.queue), names.wake(self._way.queue)
        # One at a time: all that is due is done with the first, and the others are out of date then.
        channel.verify(
            (Queue(book), Exchange(book), Queue(wake)),
            lambda: channel.prefetch(1, lambda: self._look(channel)),
        )

    def _look(self, channel: ConfirmChannel) -> None:
        """Send a wake-up anew for what comes soon: the one that walks may be held, or lost."""

        def looked(delivery: Delivery | None) -> None:
            if delivery is not None and not messages.is_book(delivery.message):
                self._bury(delivery, names.schedule(self._way.queue))
                self._look(channel)
                return
            # Whoever has the book at the moment does the same.
            if delivery is not None:
                self._send_anew(delivery)
                channel.requeue(delivery.tag)
            self._consume(channel)

        if channel.is_open:
            channel.get(names.schedule(self._way.queue), looked)

    def _send_anew(self, delivery: Delivery) -> None:
        now = self._clock()
        try:
            at = messages.read_book(delivery.message).wake
        except UnreadableBook as error:
            tell_unreadable(self._way.queue, error)
            return
        if at is not None and (self._forgetful or at - now < _SOON):
            publish = messages.wake_publish(Wake(at), self._way, now)
            self._link.outbox.publish(delivery.channel, publish, lambda *_: None)

    def _consume(self, channel: ConfirmChannel) -> None:
        def begun() -> None:
            self._reopening.consuming(self._link.monotonic())
            log.info("heeding the schedules of %s", self._way.queue)

        if channel.is_open and not self._stopping:
            channel.consume(names.wake(self._way.queue), self._woken, begun)

    def _woken(self, delivery: Delivery) -> None:
        if self._stopping:
            return
        wake = messages.read_wake(delivery.message)
        if wake is None:
            self._bury(delivery, names.wake(self._way.queue))
            return
        own = self._clock()
        now = present(own, broker_time(delivery.message.headers), wake.asked)
        self._work = WakeUp(
            delivery,
            wake,
            way=self._way,
            link=self._link,
            now=own if now is None else now,
            metrics=self._metrics,
            over=self._ended,
        )
        if now is None:
            self._work.ask()
        else:
            self._compare(own, now)
            self._work.start()

    def _bury(self, delivery: Delivery, place: str) -> None:
        bury(delivery, place, self._way, self._link, self._clock())

    def _compare(self, own: float, now: float) -> None:
        if own != now and not self._wrong_clock:
            log.error(
                "the clocks of this machine and of the broker are %.0f s apart: schedules go by that of the "
                "broker; set them (NTP)",
                abs(own - now),
            )
        self._wrong_clock = own != now

    def _ended(self) -> None:
        self._work = None
        if self._stopping:
            self._leave()
            self._owner.progressed()

    def _leave(self) -> None:
        if self._channel is not None:
            self._channel.close("stopping")

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
        if channel is not self._channel:
            return
        self._channel = None
        self._work = None
        if self._stopping:
            self._owner.progressed()
        elif self._connection is not None and self._connection.is_open:
            queue = self._way.queue
            log.warning("the channel for schedules of %s was closed (%s %s)", queue, code or "", reason)
            if absent(code, reason) and not self._reopening.ever_consumed:
                self._owner.missing(queue, reason)
            self._link.later(self._reopening.delay(self._link.monotonic()), self._open)
