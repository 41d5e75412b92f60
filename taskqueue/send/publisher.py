"""The publisher of a Client: each publish waits for a channel, and ends in a confirm or an error."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence

from pika.connection import Parameters

from taskqueue.broker.channel import REFUSALS, ConfirmChannel, Outcome
from taskqueue.broker.link import Link
from taskqueue.broker.trial import Trial
from taskqueue.broker.wire import TolerantConnection
from taskqueue.errors import BrokerRefused, BrokerUnreachable, NotDeclared, PublishFailed, TaskqueueError
from taskqueue.task.message import Publish
from taskqueue.topology import names

WINDOW = 1000
"""Most publishes of one call that wait for a confirm at the same time."""
_NOT_FOUND, _REFUSED = 404, 403
_GOODBYE = 5.0
_REOPEN = 1.0
_LOOK = 1.0
_MOST_REFUSALS = 3
"""How often a channel may close over a publish, or over one beside it, before that publish is given up."""


class _Sending:
    """One publish of a batch, until its outcome."""

    __slots__ = ("batch", "publish", "refusals")

    def __init__(self, batch: _Batch, publish: Publish) -> None:
        self.batch = batch
        self.publish = publish
        self.refusals = 0


class _Batch:
    """The publishes of one call of `send`, and the thread that waits for them."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
        self.error: TaskqueueError | None = None
        self._outstanding = 0
        self._confirmed = 0
        self._changed = threading.Condition()

    def began(self) -> None:
        with self._changed:
            self._outstanding += 1

    def confirmed(self) -> None:
        with self._changed:
            self._outstanding -= 1
            self._confirmed += 1
            self._changed.notify_all()

    def failed(self, error: TaskqueueError) -> None:
        with self._changed:
            if self.error is None:
                self.error = error
            self._changed.notify_all()

    def wait_below(self, limit: int, waits_for: Link) -> None:
        """Wait until fewer than `limit` are outstanding; raises what went wrong, or PublishFailed."""
        with self._changed:
            while self._outstanding >= limit and self.error is None:
                left = self.deadline - time.monotonic()
                if left <= 0:
                    why = (
                        "it has raised an alarm and takes no publishes" if waits_for.blocked else "no answer"
                    )
                    self.error = PublishFailed(
                        f"the broker did not confirm in time ({why}): {self._confirmed} confirmed, "
                        f"{self._outstanding} not; send those again with the same id"
                    )
                    break
                self._changed.wait(min(left, threading.TIMEOUT_MAX))
            if self.error is not None:
                raise self.error


class Sender:
    """A link that only publishes. What was lost with a connection is sent again on the next one.

    The first publish to an exchange goes out on a channel of its own. A queue may be undeclared, or the user
    may not write to it. That is the mistake of one caller, and must not cost the others their channel.
    """

    def __init__(self, hosts: Sequence[Parameters]) -> None:
        self._link = Link(hosts, self, name="taskqueue-client")
        self._hosts = len(hosts)
        self._channel: ConfirmChannel | None = None
        self._connection: TolerantConnection | None = None
        self._waiting: deque[_Sending] = deque()
        self._proven: set[str] = set()
        self._trials: dict[str, Trial] = {}
        self._behind: dict[str, deque[_Sending]] = {}
        self._looking = False
        self._unreachable = 0
        self._ever_connected = False
        self._link.start()

    @property
    def alive(self) -> bool:
        """Tell whether its thread runs."""
        return self._link.alive

    def send(self, publishes: Iterable[Publish], timeout: float) -> None:
        """Publish all and wait for every confirm; no wait is longer than `timeout` seconds."""
        batch = _Batch(time.monotonic() + timeout)
        try:
            for publish in publishes:
                batch.began()
                sending = _Sending(batch, publish)
                self._link.call(lambda sending=sending: self._publish(sending))  # type: ignore[misc]
                batch.wait_below(WINDOW, self._link)
                batch.deadline = time.monotonic() + timeout
            batch.wait_below(1, self._link)
        except BaseException as error:
            # A publish that waits for a channel must not go out after its caller was told that it failed.
            batch.failed(error if isinstance(error, TaskqueueError) else PublishFailed("given up"))
            raise

    def close(self) -> None:
        """Close the connection and end the thread."""
        self._link.close(_GOODBYE)

    def connected(self, connection: TolerantConnection) -> None:
        """Open the channel."""
        self._ever_connected = True
        self._connection = connection
        self._open()

    def disconnected(self, reason: str) -> None:
        """Forget the channel. What was on it waits for the next one."""
        self._connection = None
        self._proven.clear()
        for trial in tuple(self._trials.values()):
            trial.abandon(reason)
        if self._channel is not None:
            self._channel.abandon(reason)

    def unreachable(self, reason: str) -> None:
        """Fail what waits when every host was tried in vain, unless there was a connection before."""
        self._unreachable += 1
        if self._unreachable >= self._hosts and not self._ever_connected:
            error = BrokerUnreachable(f"no broker: {reason}")
            self._fail(lambda _: error)

    def _open(self) -> None:
        if self._connection is not None and self._connection.is_open and self._channel is None:
            self._channel = ConfirmChannel(
                self._link, self._connection, opened=lambda _: self._publish_waiting(), closed=self._closed
            )

    def _publish(self, sending: _Sending) -> None:
        if sending.batch.error is not None:
            return
        # A broker that takes no publishes does not read either, so they would pile up on the way to it.
        if self._channel is None or not self._channel.is_open or self._link.blocked:
            self._hold(sending)
            return
        exchange = sending.publish.exchange
        if exchange in self._proven:
            self._channel.publish(sending.publish, lambda outcome: self._ended(sending, outcome))
        elif exchange in self._trials:
            self._behind.setdefault(exchange, deque()).append(sending)
        else:
            self._try(sending)

    def _try(self, sending: _Sending) -> None:
        """Publish the first message to an exchange; those behind it wait for its outcome."""
        exchange, connection = sending.publish.exchange, self._connection
        if connection is None or not connection.is_open:
            self._hold(sending)
            return

        def ended(outcome: Outcome, code: int, reason: str) -> None:
            del self._trials[exchange]
            if code:
                sending.batch.failed(_refusal(sending, code, reason))
            else:
                if outcome in {Outcome.CONFIRMED, Outcome.NACKED}:
                    self._proven.add(exchange)
                self._ended(sending, outcome)
            for each in self._behind.pop(exchange, ()):
                self._publish(each)

        self._trials[exchange] = Trial(self._link, connection, sending.publish, ended)

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
                sending.batch.confirmed()
            case Outcome.LOST:
                self._hold(sending)
            case Outcome.RETURNED:
                sending.batch.failed(_not_declared(publish, outcome.value))
            case _:
                sending.batch.failed(PublishFailed(f"the task was not taken, {outcome.value}"))

    def _closed(self, channel: ConfirmChannel, code: int, reason: str) -> None:
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
                sending.batch.failed(error)
            else:
                self._waiting.append(sending)
        return len(waiting) - len(self._waiting)


def _refusal(sending: _Sending, code: int, reason: str) -> TaskqueueError:
    """Say why the broker closed the channel of the only publish on it."""
    if code == _NOT_FOUND:
        return _not_declared(sending.publish, reason)
    if code == _REFUSED:
        return BrokerRefused(f"{reason}: the user needs write permission, ^queue(\\..*)?$")
    return PublishFailed(f"the broker refused: {reason}")


def _closed_over(sending: _Sending, reason: str) -> TaskqueueError | None:
    """Give up after a few times: the broker does not say which publish it has closed the channel over."""
    sending.refusals += 1
    return PublishFailed(f"the broker refused: {reason}") if sending.refusals >= _MOST_REFUSALS else None


def _not_declared(publish: Publish, reason: str) -> NotDeclared:
    queue = names.destination(publish.routing_keys[-1]) or publish.routing_keys[0]
    return NotDeclared(f"queue {queue!r} is not declared ({reason}): run 'taskqueue declare'")
