"""Deliveries that can't be settled for now: others are handed out in their place, up to a bound."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume import acks
from taskqueue.consume.deliveries import Deliveries
from taskqueue.consume.window import Window
from tests.support.broker_model import Broker, Entry

WINDOW = 8


class Stage:
    """The deliveries of one queue that never runs empty, on a model of a broker."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.received: list[Delivery] = []
        self.consumers = 0
        self.timers: list[Callable[[], None]] = []
        self.deliveries = Deliveries(
            "q", Window(WINDOW), cast("Link", self), ladder="q", refused=pytest.fail,
            received=self.received.append, lost=lambda: None, left=lambda: None, missing=pytest.fail,
            hoarding=pytest.fail,
        )  # fmt: skip
        self.deliveries.connected(cast("TolerantConnection", self.broker))
        self.broker.pump()
        (self.channel,) = self.broker.channels
        self._seen = self.channel.receive

    def hand_out(self, count: int) -> list[Delivery]:
        """Hand out so many."""
        for _ in range(count):
            self.broker.places["q"].append(Entry(b"{}", {}, {"message_id": "x"}))
            self.channel.deliver(0)
        return self.received[-count:]

    def hold(self, count: int) -> list[Delivery]:
        """Hand out so many, none of which can be settled."""
        held = self.hand_out(count)
        for delivery in held:
            self.deliveries.set_aside(delivery)
        return held

    def consumes_anew(self) -> bool:
        """Tell whether there is another consumer than when this was asked last."""
        former, self._seen = self._seen, self.channel.receive
        return former is not self._seen

    def second(self) -> None:
        """Let the time pass after which it looks."""
        timers, self.timers = self.timers, []
        for timer in timers:
            timer()

    def call(self, function: Callable[[], None]) -> None:
        """Be the link."""
        self.broker.calls.append(function)

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Be the link, and put off what is the deliveries' own."""
        if seconds == 1.0:
            self.timers.append(function)

    def monotonic(self) -> float:
        """Be the link's clock."""
        return self.broker.now


def test_half_a_window_that_is_held_is_replaced_when_all_of_it_is_out() -> None:
    """Not before: what is on its way to a consumer that ends would be counted as handed out."""
    stage = Stage()
    stage.hold(WINDOW // 2)
    assert not stage.consumes_anew()
    stage.hand_out(WINDOW // 2 - 1)
    assert not stage.consumes_anew()
    stage.hand_out(1)
    assert stage.consumes_anew()
    stage.hand_out(WINDOW)
    assert not stage.consumes_anew()


def test_the_place_of_a_single_one_is_replaced_too() -> None:
    """After a second, and then no more."""
    stage = Stage()
    stage.hand_out(WINDOW - 1)
    stage.hold(1)
    assert not stage.consumes_anew()
    stage.second()
    assert stage.consumes_anew()
    stage.hand_out(WINDOW)
    stage.second()
    assert not stage.consumes_anew()


def test_many_that_are_held_take_few_consumers() -> None:
    """The next ones get room in the window beforehand, as far as tasks are worked off that fast."""
    stage = Stage()
    consumers = 0
    for _ in range(500):
        stage.hold(1)
        consumers += stage.consumes_anew()
    assert consumers < 40


def test_as_many_as_may_be_are_the_last(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It says so once, and goes on when half of them are settled."""
    monkeypatch.setattr(acks, "MOST_ASIDE", 20)
    stage = Stage()
    held = stage.hold(20)
    stage.consumes_anew()
    held += stage.hold(2 * WINDOW)
    stage.second()
    assert not stage.consumes_anew()
    (line,) = [record.getMessage() for record in caplog.records if "as many as may be" in record.getMessage()]
    assert line.startswith("q: 20 tasks are held")
    for delivery in held[:26]:
        stage.deliveries.ack(delivery)
    stage.broker.pump()
    assert stage.consumes_anew()
    assert "it goes on" in caplog.text
