"""The channel on which everything is published that follows from deliveries: retries, dead tasks, roll_backs.

AMQP closes a channel over one refused publish, to an exchange that is gone or that the user may not write to.
On a consuming channel that would requeue every unacked delivery, and tasks that are done would run again.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import pika
from pika.exceptions import AMQPError

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.outcome import Outcome
from taskqueue.broker.renewal import Renewal
from taskqueue.broker.replies import ACCESS_REFUSED, NOT_FOUND, REFUSALS
from taskqueue.broker.trial import Trial
from taskqueue.task.message import Publish

if TYPE_CHECKING:
    from taskqueue.broker.link import Link

log = logging.getLogger(__name__)

Ended = Callable[[Outcome, int, str], None]
"""Gets the outcome; of what was refused LOST, with the broker's code and words."""
_ADVICE = {
    ACCESS_REFUSED: "give the user write permission on it",
    NOT_FOUND: "it is not declared, run 'taskqueue declare'",
}


@dataclass(slots=True, eq=False)
class _Sending:
    """One publish until its outcome, and the channel of the delivery that it settles."""

    settles: ConfirmChannel
    publish: Publish
    alone: bool
    ended: Ended


class Outbox:
    """Publishes for all consuming channels of a connection; used on the I/O thread only.

    What goes to an exchange that has not taken anything yet, or has not confirmed in time, goes out by a
    trial: it can hold up and cost nothing but what goes to the same exchange.
    """

    def __init__(self, link: Link) -> None:
        self._link = link
        self._connection: pika.SelectConnection | None = None
        self._channel: ConfirmChannel | None = None
        self._waiting: deque[_Sending] = deque()
        self._renewal = Renewal()
        self._out: dict[_Sending, ConfirmChannel] = {}
        self._takes: set[str] = set()
        self._refuses: set[str] = set()
        self._trials: dict[str, Trial] = {}
        self._behind: dict[str, deque[_Sending]] = {}

    def connected(self, connection: pika.SelectConnection) -> None:
        """Open the channel; before all others, so that a broker with too few says so before any task runs."""
        self._connection = connection
        self._open()

    def disconnected(self, reason: str) -> None:
        """Forget all channels: the connection is gone, and the deliveries that were to be settled with it."""
        self._connection = None
        self._takes.clear()
        for trial in tuple(self._trials.values()):
            trial.abandon(reason)
        self._renewal.abandon(reason)
        if self._channel is not None:
            self._channel.abandon(reason)
        self._send_waiting()

    def publish(
        self, settles: ConfirmChannel, publish: Publish, ended: Ended, *, alone: bool = False
    ) -> None:
        """Publish what follows from a delivery of the channel `settles`; `alone` where it was refused before.

        `ended` gets LOST when that channel is closed: the delivery comes again. It gets LOST also while that
        channel is open: the message may have arrived or not, so it is to be published again.
        """
        self._send(_Sending(settles, publish, alone, ended))

    def _open(self) -> None:
        if self._connection is not None and self._connection.is_open and self._channel is None:
            self._channel = ConfirmChannel(
                self._link, self._connection, opened=lambda _: self._send_waiting(), closed=self._closed
            )

    def _send_waiting(self) -> None:
        for _ in range(len(self._waiting)):
            self._send(self._waiting.popleft())

    def _send(self, sending: _Sending) -> None:
        exchange = sending.publish.exchange
        if not sending.settles.is_open:
            sending.ended(Outcome.LOST, 0, "")
        elif self._channel is None or not self._channel.is_open:
            self._waiting.append(sending)
        elif exchange in self._takes and not sending.alone:
            self._out[sending] = self._channel
            self._channel.publish(sending.publish, partial(self._ended, sending))
        elif exchange in self._trials:
            self._behind.setdefault(exchange, deque()).append(sending)
        else:
            self._try(sending, self._channel.connection)

    def _ended(self, sending: _Sending, outcome: Outcome) -> None:
        # Where it is lost, the channel ends, and tells why right behind.
        if outcome is Outcome.LOST:
            return
        channel = self._out.pop(sending)
        nacked = outcome is Outcome.NACKED and channel is self._channel
        if nacked and self._renewal.retire(channel, self._link.monotonic()):
            self._channel = None
            self._open()
        sending.ended(outcome, 0, "")

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
        self._renewal.closed(channel)
        if channel is self._channel:
            self._channel = None
        out = [sending for sending, its in self._out.items() if its is channel]
        for sending in out:
            del self._out[sending]
        self._takes.difference_update(sending.publish.exchange for sending in out)
        self._open()
        if code in REFUSALS and len(out) == 1:
            self._refused(out[0], code, reason)
            return
        for sending in out:
            if code in REFUSALS:
                # One of them; a trial tells which.
                self._send(sending)
            else:
                sending.ended(Outcome.LOST, 0, reason)

    def _try(self, sending: _Sending, connection: pika.SelectConnection) -> None:
        exchange = sending.publish.exchange

        def ended(outcome: Outcome, code: int, reason: str) -> None:
            del self._trials[exchange]
            if code:
                self._refused(sending, code, reason)
            else:
                if outcome in {Outcome.CONFIRMED, Outcome.NACKED}:
                    self._taken(exchange)
                sending.ended(outcome, 0, reason)
            for each in self._behind.pop(exchange, ()):
                if code in _ADVICE:
                    # It is the exchange, and not the message.
                    self._refused(each, code, reason)
                else:
                    self._send(each)

        try:
            self._trials[exchange] = Trial(self._link, connection, sending.publish, ended)
        except AMQPError as error:
            # No channel is free, or the connection is about to end.
            sending.ended(Outcome.LOST, 0, repr(error))

    def _taken(self, exchange: str) -> None:
        self._takes.add(exchange)
        if exchange in self._refuses:
            self._refuses.discard(exchange)
            log.info("exchange %s takes what is to go there again", exchange)

    def _refused(self, sending: _Sending, code: int, reason: str) -> None:
        exchange = sending.publish.exchange
        if exchange not in self._refuses:
            self._refuses.add(exchange)
            log.error(
                "the broker refuses what is to go to exchange %s (%s): %s; nothing is lost: what follows "
                "from tasks that have run is held, and they run again only where this consumer ends before "
                "it is taken, or holds them for 20 minutes beside other consumers",
                exchange,
                reason,
                _ADVICE.get(code, "see the broker's log"),
            )
        sending.ended(Outcome.LOST, code, reason)
