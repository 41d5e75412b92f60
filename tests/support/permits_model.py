"""The permits of one consumer, without a broker: the test says what that answers, and when."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import cast

from pika import spec

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.consume.permits import Permits
from taskqueue.consume.workers import Attempt
from taskqueue.limit import Book, Permit, book_publish, permit_publishes
from taskqueue.task.message import Publish


class Clock:
    """A link whose time is a test's."""

    def __init__(self) -> None:
        self.now = 1000.0
        self._timers: list[tuple[float, Callable[[], None]]] = []

    def monotonic(self) -> float:
        """Give the time."""
        return self.now

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Note what is due, for `run`."""
        self._timers.append((self.now + seconds, function))

    def run(self, seconds: float) -> None:
        """Let so much time go by, and call what comes due in it."""
        end = self.now + seconds
        while due := [each for each in self._timers if each[0] <= end]:
            first = min(due, key=lambda each: each[0])
            self._timers.remove(first)
            self.now = max(self.now, first[0])
            first[1]()
        self.now = end


class Limits:
    """The channel of the limits, at a broker with so many permits."""

    is_open = True

    def __init__(self, limit: int) -> None:
        self.requeued: list[int] = []
        self.received: dict[str, Callable[[Delivery], None]] = {}
        self.counts: list[Callable[[spec.Queue.DeclareOk], None]] = []
        self.limit = limit
        self._issued = 0
        self._numbers = count()
        self._read = False

    def get(self, _queue: str, got: Callable[[Delivery | None], None]) -> None:
        """Hand out the book, and nothing after it."""
        self._read = not self._read
        self._issued = max(self._issued, self.limit)
        book = book_publish("q", Book(1, self.limit, self._issued, ("e",)))
        got(self._delivery(1, book) if self._read else None)

    def consume(self, _queue: str, received: Callable[[Delivery], None], _then: object) -> str:
        """Hand out permits from now on."""
        tag = f"consumer-{next(self._numbers)}"
        self.received[tag] = received
        return tag

    def prefetch(self, _window: int, _then: object) -> None:
        """Do nothing."""

    def count(self, _queue: str, then: Callable[[spec.Queue.DeclareOk], None]) -> None:
        """Leave it to the test to answer."""
        self.counts.append(then)

    def answer(self, *, ready: int, consumers: int) -> None:
        """Answer the last count."""
        self.counts.pop()(spec.Queue.DeclareOk("q", ready, consumers))

    def cancel(self, tag: str, then: Callable[[], None]) -> None:
        """Hand out no more."""
        self.received.pop(tag, None)
        then()

    def requeue(self, tag: int) -> None:
        """Note what goes back."""
        self.requeued.append(tag)

    def hand_out(self, tag: int, number: int = 0) -> None:
        """Hand out a permit, to the first who has none."""
        consumer = next(iter(self.received))
        received = self.received.pop(consumer)
        (permit,) = permit_publishes("q", [Permit("e", number)])
        received(self._delivery(tag, permit))

    def _delivery(self, tag: int, publish: Publish) -> Delivery:
        return Delivery(cast("ConfirmChannel", self), tag, publish.message, redelivered=False)


class Site:
    """Permits of one consumer with four threads, and the channel that they come on."""

    def __init__(self, limit: int = 1) -> None:
        self.running = 0
        self.taken_back = 0
        self.clock, self.channel = Clock(), Limits(limit)
        self.permits = Permits(
            "q",
            link=cast("Link", self.clock),
            concurrency=4,
            running=lambda: self.running,
            take_back=self._take_back,
            room=lambda _: None,
            stray=lambda *_: None,
        )
        self.permits.opened(cast("ConfirmChannel", self.channel))

    def begin(self) -> None:
        """Be an attempt that begins."""
        self.running += 1

    def ask(self, number: int) -> None:
        """Be so many attempts that ask."""
        for name in range(number):
            self.permits.ask(attempt(str(name)), self.begin, lambda: None)

    def _take_back(self) -> None:
        """Have all ask anew that no thread runs."""
        over = self.running - 4
        self.running = min(self.running, 4)
        self.taken_back += 1
        self.ask(max(0, over))


def attempt(name: str) -> Attempt:
    """Give one that nothing is looked up of."""
    return cast("Attempt", SimpleNamespace(name=name))
