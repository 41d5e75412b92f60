"""A consumer of one queue on the model of the broker: the real one but for its threads."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.link import Link
from taskqueue.broker.outbox import Outbox
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.isolation import Isolation
from taskqueue.consume.results import LINGER
from taskqueue.consume.subscription import Subscription
from taskqueue.consume.workers import Attempt, Pool, Workers
from taskqueue.events import Event, Events
from taskqueue.request.execute import Executor
from taskqueue.settings import QueueSettings
from taskqueue.task.result import Result
from taskqueue.topology.ladder import Way
from tests.support.broker_model import Broker, Channel, Entry

LIMIT = 2
POLICY = QueueSettings("q", base_url="http://base", delivery_limit=LIMIT, jitter=0, concurrency=2)
KNOWN = ("q", "other", "gone")
"""What the configuration names; the last of them is not declared."""


class NoThreads(Pool):
    """The threads of a process: a test is all of them."""

    def run(self, job: Callable[[], None]) -> None:
        """Do nothing: a test takes what is in the line."""


class Hasty(Isolation):
    """Notes when an attempt may have begun although something else was still held."""

    hastened = False

    def hasten(self, turn: int) -> None:
        """Wait no longer."""
        self.hastened |= not self.is_open
        super().hasten(turn)


class Process:
    """One consumer process: the real subscription, and in place of its link's loop what a test asks for."""

    blocked = False
    """The broker has an alarm raised; an answer of it is for a test to withhold."""

    def __init__(self, broker: Broker, *listeners: Callable[[Event], None]) -> None:
        self.alive = True
        self.broker = broker
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.running: list[Attempt] = []
        self.sweeps: dict[object, Callable[[], None]] = {}
        """The look of each channel for confirms that are overdue."""
        self._made = 0
        self.isolation = Hasty()
        self.outbox = Outbox(cast("Link", self))
        self.subscription = Subscription(
            POLICY, way=Way("q", "q"), known=KNOWN, link=cast("Link", self), owner=self,
            events=Events(*listeners), isolation=self.isolation, pace=None, make_line=self.make_line,
            clock=self.monotonic,
        )  # fmt: skip
        self.connected()

    def connected(self) -> None:
        """Be the consumer, with a fresh connection."""
        self.outbox.connected(cast("TolerantConnection", self.broker))
        self.subscription.connected(cast("TolerantConnection", self.broker))
        self.broker.pump()

    def disconnected(self, reason: str) -> None:
        """Be the link, whose connection is gone."""
        self.subscription.disconnected(reason)
        self.outbox.disconnected(reason)

    def make_line(self, queue: QueueSettings, finished: Callable[[Attempt, Result], None]) -> Workers:
        """Be the consumer: a line, and no thread that takes anything from it."""
        self.finished = finished
        self.workers = Workers(Executor(queue), queue.name, queue.concurrency, finished, NoThreads())
        return self.workers

    @property
    def channel(self) -> Channel:
        """The one on which it consumes, or did last."""
        return [channel for channel in self.broker.channels if channel.consumes][-1]

    @property
    def out(self) -> dict[int, Entry]:
        """What is out, on all channels."""
        return {tag: entry for channel in self.broker.channels for tag, entry in channel.out.items()}

    def has(self, attempt: Attempt) -> bool:
        """Tell whether an attempt's message is out."""
        return attempt.delivery.tag in self.out

    def call(self, function: Callable[[], None]) -> None:
        """Be the link."""
        self.broker.calls.append(lambda: function() if self.alive else None)

    def monotonic(self) -> float:
        """Be every clock."""
        return self.broker.now

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Be the link's clock."""
        if seconds <= LINGER:
            self.call(function)
        elif isinstance(of := getattr(function, "__self__", None), ConfirmChannel):
            self.sweeps[of] = function
        else:
            self._made += 1
            self.timers.append((self.broker.now + seconds, self._made, function))

    def fire(self) -> None:
        """Run what is due first."""
        timer = min(self.timers, key=lambda each: each[:2])
        self.timers.remove(timer)
        self.broker.now = max(self.broker.now, timer[0])
        timer[2]()

    def begin(self) -> Attempt | None:
        """Have a worker take the next attempt."""
        attempt = self.workers.take()
        if attempt is not None:
            self.running.append(attempt)
        return attempt

    def missing(self, queue: str, reason: str) -> None:
        """Everything is declared."""
        raise AssertionError(queue, reason)

    def refused(self, reason: str) -> None:
        """Look again later, as a consumer does that is there already."""

    def progressed(self) -> None:
        """Be the consumer."""
