"""Limits over all consumers while a queue is paused: nothing of them is kept from others, or spent."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import cast

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.consume.permits import KEPT, Permits
from taskqueue.consume.workers import Attempt
from taskqueue.limit import Book, Permit, book_publish, permit_publishes
from taskqueue.task.message import Publish
from tests.support.broker_model import Broker, Entry
from tests.support.consumer_model import Process


class Clock:
    """A link whose time is a test's."""

    def __init__(self) -> None:
        self.now = 1000.0

    def monotonic(self) -> float:
        """Give the time."""
        return self.now

    def later(self, _seconds: float, _function: Callable[[], None]) -> None:
        """Leave it to the test to look again."""


class Limits:
    """The channel of the limits, at a broker with one permit."""

    is_open = True

    def __init__(self) -> None:
        self.requeued: list[int] = []
        self.received: Callable[[Delivery], None] | None = None
        self._numbers = count()
        self._books = [book_publish("q", Book(1, 1, 1, ("e",))), None]

    def get(self, _queue: str, got: Callable[[Delivery | None], None]) -> None:
        """Hand out the book."""
        book = self._books.pop(0)
        got(self._delivery(1, book) if book is not None else None)

    def consume(self, _queue: str, received: Callable[[Delivery], None], _then: object) -> str:
        """Hand out permits from now on."""
        self.received = received
        return f"consumer-{next(self._numbers)}"

    def prefetch(self, _window: int, _then: object) -> None:
        """Do nothing."""

    def count(self, _queue: str, _then: object) -> None:
        """Do not answer."""

    def cancel(self, _tag: str, then: Callable[[], None]) -> None:
        """Hand out no more."""
        self.received = None
        then()

    def requeue(self, tag: int) -> None:
        """Note what goes back."""
        self.requeued.append(tag)

    def hand_out(self, tag: int) -> None:
        """Hand out the permit."""
        assert self.received is not None
        (permit,) = permit_publishes("q", [Permit("e", 0)])
        self.received(self._delivery(tag, permit))

    def _delivery(self, tag: int, publish: Publish) -> Delivery:
        return Delivery(cast("ConfirmChannel", self), tag, publish.message, redelivered=False)


class Site:
    """Permits of one consumer, and the channel that they come on."""

    def __init__(self) -> None:
        self.running = 0
        self.clock, self.channel = Clock(), Limits()
        self.permits = Permits(
            "q",
            link=cast("Link", self.clock),
            concurrency=4,
            running=lambda: self.running,
            take_back=lambda: None,
            room=lambda _: None,
            stray=lambda *_: None,
        )
        self.permits.opened(cast("ConfirmChannel", self.channel))

    def begin(self) -> None:
        """Be an attempt that begins."""
        self.running += 1


def attempt(name: str) -> Attempt:
    """Give one that nothing is looked up of."""
    return cast("Attempt", SimpleNamespace(name=name))


def test_a_permit_goes_back_once_what_runs_with_it_has_ended() -> None:
    """Nobody here waits for another, so that the broker hands it to whoever runs."""
    # Given one task that runs, and one that waits for its permit
    site = Site()
    first, second = attempt("first"), attempt("second")
    site.permits.ask(first, site.begin, lambda: None)
    site.channel.hand_out(7)
    assert site.running == 1
    site.permits.ask(second, site.begin, lambda: None)
    # When the queue is paused
    assert site.permits.withdraw() == [second]
    # Then what runs keeps its permit, no other is asked for, and that one goes back at the end
    site.clock.now += KEPT
    site.permits.look()
    assert site.channel.requeued == [1]
    assert site.channel.received is None
    site.running = 0
    site.permits.look()
    assert site.channel.requeued == [1, 7]
    assert site.running == 0


def test_a_pause_gives_back_what_waits_for_a_permit() -> None:
    """It has not begun, so it goes back to the queue for whoever runs it after the pause."""
    broker = Broker()
    process = Process(broker)
    site = Site()
    broker.places["q"].append(Entry(b'{"url": "/x"}', {}, {"message_id": "t"}))
    process.channel.deliver(0)
    waits = process.begin()
    assert waits is not None
    process.subscription._limits.permits = site.permits
    site.permits.ask(waits, site.begin, lambda: None)
    process.subscription.pause()
    broker.pump()
    while not broker.publishing:
        process.fire()
        broker.pump()
    # Published again, as one hand-out more would make it suspect.
    broker.publishing[0].confirm(0, multiple=False)
    broker.pump()
    assert [entry.id for entry in broker.places["q"]] == ["t"]
    assert not process.has(waits)
    assert (site.permits.idle, site.running) == (True, 0)
