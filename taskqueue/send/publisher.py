"""The publisher of a Client: each publish waits for a channel, and ends in a confirm or an error."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress

from pika.connection import Parameters
from pika.exceptions import AMQPError

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.connect import where
from taskqueue.broker.link import Link
from taskqueue.broker.outcome import Outcome
from taskqueue.broker.renewal import Renewal
from taskqueue.broker.replies import REFUSALS
from taskqueue.broker.trial import Trial
from taskqueue.broker.wire import TolerantConnection, too_large
from taskqueue.errors import BrokerUnreachable, PublishFailed, TaskqueueError
from taskqueue.send.batch import Batch, WaitingThread
from taskqueue.send.failures import closed, not_declared, refusal, too_few_channels
from taskqueue.task.message import Publish

WINDOW = 1000
"""Publishes of one call that may be without a confirm at once."""
_GOODBYE = 5.0
_REOPEN = 1.0
_LOOK = 1.0
_CHANNELS = 2
"""Channels that a send takes: one for what was sent there before, and one to try an exchange."""
_MOST_REFUSALS = 3
"""How often a channel may close over a publish, or over one beside it, before that publish is given up."""


class _Sending:
    """One publish of a batch, until its outcome."""

    __slots__ = ("batch", "publish", "refusals")

    def __init__(self, batch: Batch, publish: Publish) -> None:
        self.batch = batch
        self.publish = publish
        self.refusals = 0


class Sender:
    """A link that only publishes. What was lost with a connection is sent again on the next one.

    The first publish to an exchange goes out on a channel of its own. A queue may be undeclared, or the user
    may not write to it. That is the mistake of one caller, and must not cost the others their channel.
    """

    def __init__(self, hosts: Sequence[Parameters]) -> None:
        self._link = Link(hosts, self, name="taskqueue-client")
        self._hosts = hosts
        self._channel: ConfirmChannel | None = None
        self._connection: TolerantConnection | None = None
        self._renewal = Renewal()
        self._waiting: deque[_Sending] = deque()
        self._proven: set[str] = set()
        self._trials: dict[str, Trial] = {}
        self._behind: dict[str, deque[_Sending]] = {}
        self._looking = False
        self._unreachable = 0
        self._trouble: str | None = None
        self._lost: str | None = None
        self._ever_connected = False
        self._unfinished: set[_Sending] = set()
        self._is_closed = False
        self._link.start()

    @property
    def alive(self) -> bool:
        """Tell whether its thread runs."""
        return self._link.alive

    @property
    def blocked(self) -> bool:
        """Tell whether the broker has raised an alarm and takes no publishes."""
        return self._link.blocked

    @property
    def alarm(self) -> str:
        """Give the broker's words for the alarm that it has raised, if it has."""
        return self._link.alarm if self._link.blocked else ""

    @property
    def unreached(self) -> str | None:
        """Say why there never was a connection, None where there was one."""
        if self._ever_connected:
            return None
        return self._trouble or f"{', '.join(map(where, self._hosts))}: no answer in time"

    @property
    def lost(self) -> str | None:
        """Say why the last connection was lost, None where the broker has confirmed something since."""
        return None if self._lost is None else f"lost the connection: {self._lost}"

    def send(self, publishes: Iterable[Publish], timeout: float, *, through_alarms: bool = True) -> None:
        """Publish all and wait for every confirm; no wait is longer than `timeout` seconds.

        Without `through_alarms` a broker that takes no publishes ends it at once.
        """
        batch = WaitingThread(time.monotonic() + timeout, through_alarms=through_alarms)
        try:
            for publish in publishes:
                batch.began(publish)
                self.begin(publish, batch)
                batch.wait_below(WINDOW, self)
                batch.deadline = time.monotonic() + timeout
            batch.wait_below(1, self)
        except BaseException as error:
            # A publish that waits for a channel must not go out after its caller was told that it failed.
            batch.failed(error if isinstance(error, TaskqueueError) else PublishFailed("given up"))
            raise

    def begin(self, publish: Publish, batch: Batch) -> None:
        """Publish one and tell its batch how that ended, on the I/O thread; from any thread."""
        sending = _Sending(batch, publish)
        self._unfinished.add(sending)
        # In this order: whatever is not seen here is seen by `close`.
        if self._is_closed:
            self._end(sending, closed())
        elif too_large(publish.message.headers):
            self._ended(sending, Outcome.TOO_LARGE)
        else:
            self._link.call(lambda: self._publish(sending))

    def close(self) -> None:
        """Close the connection and end the thread; what is not confirmed by now has failed."""
        self._is_closed = True
        while self._unfinished:
            with suppress(KeyError):
                self._unfinished.pop().batch.failed(closed())
        # A broker with an alarm reads no goodbye, and what is on its way was told to have failed.
        self._link.close(0.0 if self._link.blocked else _GOODBYE)

    def connected(self, connection: TolerantConnection) -> None:
        """Open the channel."""
        self._ever_connected = True
        self._connection = connection
        self._open()

    def disconnected(self, reason: str) -> None:
        """Forget the channel. What was on it waits for the next one."""
        self._connection = None
        self._lost = reason
        self._proven.clear()
        for trial in tuple(self._trials.values()):
            trial.abandon(reason)
        self._renewal.abandon(reason)
        if self._channel is not None:
            self._channel.abandon(reason)

    def unreachable(self, reason: str) -> None:
        """Fail what waits when every host was tried in vain, unless there was a connection before."""
        self._trouble = reason
        self._unreachable += 1
        if self._unreachable >= len(self._hosts) and not self._ever_connected:
            error = BrokerUnreachable(f"no broker: {reason}")
            self._fail(lambda _: error)

    def alarmed(self, *, now: bool) -> None:
        """Do nothing: what is on its way waits for as long as its send does."""

    def _open(self) -> None:
        if self._connection is not None and self._connection.is_open and self._channel is None:
            self._channel = ConfirmChannel(
                self._link, self._connection, opened=lambda _: self._publish_waiting(), closed=self._closed
            )

    def _publish(self, sending: _Sending) -> None:
        if sending.batch.error is not None:
            self._unfinished.discard(sending)
            return
        # A broker that takes no publishes does not read either, so they would pile up on the way to it.
        if self._channel is None or not self._channel.is_open or self._link.blocked:
            self._hold(sending)
            return
        exchange = sending.publish.exchange
        if exchange in self._proven:
            self._publish_on(self._channel, sending)
        elif exchange in self._trials:
            self._behind.setdefault(exchange, deque()).append(sending)
        else:
            self._try(sending)

    def _publish_on(self, channel: ConfirmChannel, sending: _Sending) -> None:
        def ended(outcome: Outcome) -> None:
            nacked = outcome is Outcome.NACKED and channel is self._channel
            if nacked and self._renewal.retire(channel, self._link.monotonic()):
                self._channel = None
                self._open()
            self._ended(sending, outcome)

        channel.publish(sending.publish, ended)

    def _try(self, sending: _Sending) -> None:
        """Publish the first message to an exchange; those behind it wait for its outcome."""
        exchange, connection = sending.publish.exchange, self._connection
        if connection is None or not connection.is_open:
            self._hold(sending)
            return

        def ended(outcome: Outcome, code: int, reason: str) -> None:
            del self._trials[exchange]
            if code:
                self._end(sending, refusal(sending.publish, code, reason))
            else:
                if outcome in {Outcome.CONFIRMED, Outcome.NACKED}:
                    self._proven.add(exchange)
                self._ended(sending, outcome)
            for each in self._behind.pop(exchange, ()):
                self._publish(each)

        try:
            self._trials[exchange] = Trial(self._link, connection, sending.publish, ended)
        except AMQPError:
            # No channel is free, or the connection is about to end.
            if connection.params.channel_max < _CHANNELS:
                self._end(sending, too_few_channels(connection.params.channel_max, _CHANNELS))
            else:
                self._hold(sending)

    def _hold(self, sending: _Sending) -> None:
        self._waiting.append(sending)
        if not self._looking:
            self._looking = True
            self._link.later(_LOOK, self._look)

    def _look(self) -> None:
        """Publish what can go out now, and forget publishes that have already failed for their caller."""
        self._looking = False
        self._publish_waiting()

    def _publish_waiting(self) -> None:
        for _ in range(len(self._waiting)):
            self._publish(self._waiting.popleft())

    def _ended(self, sending: _Sending, outcome: Outcome) -> None:
        publish = sending.publish
        match outcome:
            case Outcome.CONFIRMED:
                self._lost = None
                self._end(sending)
            case Outcome.LOST:
                self._hold(sending)
            case Outcome.RETURNED:
                self._end(sending, not_declared(publish, outcome.value))
            case _:
                self._end(sending, PublishFailed(f"the task was not taken, {outcome.value}"))

    def _end(self, sending: _Sending, error: TaskqueueError | None = None) -> None:
        self._unfinished.discard(sending)
        if error is None:
            sending.batch.confirmed(sending.publish)
        else:
            sending.batch.failed(error)

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
        self._renewal.closed(channel)
        if channel is not self._channel:
            return
        self._channel = None
        if code not in REFUSALS:
            self._open()
            return
        # An exchange has gone, or the broker refused one message: try each exchange again.
        self._proven.clear()
        failed = self._fail(lambda sending: _closed_over(sending, reason))
        # What the broker has refused may be refused again: wait, so that this is not a busy loop.
        self._link.later(0.0 if failed else _REOPEN, self._open)

    def _fail(self, judge: Callable[[_Sending], TaskqueueError | None]) -> int:
        """Fail each waiting publish for which `judge` gives an error; give how many those were."""
        waiting, self._waiting = self._waiting, deque()
        for sending in waiting:
            if error := judge(sending):
                self._end(sending, error)
            else:
                self._waiting.append(sending)
        return len(waiting) - len(self._waiting)


def _closed_over(sending: _Sending, reason: str) -> TaskqueueError | None:
    """Give up after a few times: the broker does not say which publish it has closed the channel over."""
    sending.refusals += 1
    return PublishFailed(f"the broker refused: {reason}") if sending.refusals >= _MOST_REFUSALS else None
