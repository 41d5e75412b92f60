"""A consumer that is asked to leave its queue: for a while, for good, or again while it is leaving."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.deliveries import Deliveries
from taskqueue.consume.window import Window
from tests.support.broker_model import Broker, Channel, Entry


class Stage:
    """The deliveries of one queue on a model of a broker; what they put off comes when it is asked for."""

    blocked = False

    def __init__(self) -> None:
        self.broker = Broker()
        self.received: list[Delivery] = []
        self.put_off: list[Callable[[], None]] = []
        self.left = 0
        self.deliveries = Deliveries(
            "q", Window(10), cast("Link", self),
            ladder="q", refused=pytest.fail,
            received=self.received.append, lost=lambda: None, left=self._left, missing=pytest.fail,
            hoarding=pytest.fail,
        )  # fmt: skip
        self.deliveries.connected(cast("TolerantConnection", self.broker))

    @property
    def channel(self) -> Channel:
        """The one that was opened last."""
        return self.broker.channels[-1]

    def opened(self) -> Stage:
        """Have it consume."""
        self.broker.pump()
        assert self.channel.receive is not None
        return self

    def paused(self) -> bool:
        """Tell whether nothing more can come."""
        return self.deliveries.paused

    def hand_out(self) -> None:
        """Have the broker hand a message out."""
        self.broker.places["q"].append(Entry(b"{}", {}, {"message_id": "x"}))
        self.channel.deliver(0)

    def pass_time(self) -> None:
        """Let what was put off come, so often that it sees that nothing has happened."""
        for _ in range(3):
            put_off, self.put_off = self.put_off, []
            for function in put_off:
                function()
        self.broker.pump()

    def gone(self) -> None:
        """Have the broker say that the consumer is gone."""
        cancelled, self.channel.cancelled, self.channel.receive = self.channel.cancelled, None, None
        assert cancelled is not None
        cancelled()

    def _left(self) -> None:
        self.left += 1

    def call(self, function: Callable[[], None]) -> None:
        """Be the link."""
        self.broker.calls.append(function)

    def later(self, _seconds: float, function: Callable[[], None]) -> None:
        """Be the link."""
        self.put_off.append(function)

    def monotonic(self) -> float:
        """Be the link's clock."""
        return self.broker.now


def test_it_is_paused_only_when_the_broker_says_so() -> None:
    """What is on its way still comes, and can be acked."""
    stage = Stage().opened()
    stage.deliveries.pause()
    stage.pass_time()
    assert not stage.paused()
    stage.hand_out()
    stage.gone()
    assert stage.paused()
    assert stage.left
    stage.deliveries.ack(stage.received[0])
    stage.broker.pump()
    assert not stage.channel.out


def test_it_takes_deliveries_again_once_it_is_asked_to() -> None:
    """On the same channel, as what is out belongs to it."""
    stage = Stage().opened()
    stage.deliveries.pause()
    stage.pass_time()
    stage.gone()
    stage.deliveries.resume()
    stage.hand_out()
    assert len(stage.received) == 1
    assert not stage.paused()
    assert len(stage.broker.channels) == 1


def test_the_answer_to_an_earlier_pause_does_not_count() -> None:
    """Another consumer is there by then: what ran alone beside its deliveries would not be alone."""
    stage = Stage().opened()
    stage.deliveries.pause()
    stage.pass_time()
    first = stage.channel.cancelled
    assert first is not None
    stage.deliveries.resume()
    stage.deliveries.pause()
    stage.pass_time()
    assert stage.channel.cancelled is not first
    first()
    assert not stage.paused()
    stage.gone()
    assert stage.paused()


def test_nothing_is_acked_or_put_back_before_the_consumer_is_cancelled() -> None:
    """Else the broker hands out more in the window, and counts what is on its way then."""
    stage = Stage().opened()
    stage.hand_out()
    stage.hand_out()
    stage.deliveries.pause()
    stage.deliveries.ack(stage.received[0])
    stage.deliveries.give_back(stage.received[1])
    stage.broker.pump()
    assert len(stage.channel.out) == 2
    assert stage.channel.cancelled is None
    stage.pass_time()
    assert not stage.channel.out


def test_a_window_that_fills_up_is_not_waited_for() -> None:
    """Nothing can be on its way then."""
    stage = Stage().opened()
    stage.deliveries.pause()
    for _ in range(9):
        stage.hand_out()
    stage.hand_out()
    stage.gone()
    assert len(stage.received) == 10


def test_it_does_not_wait_for_ever_where_messages_trickle_in() -> None:
    """A window of hundreds fills up slowly at times."""
    stage = Stage().opened()
    stage.deliveries.pause()
    for _ in range(9):
        stage.hand_out()
        stage.broker.now += 0.5
        stage.pass_time()
    stage.gone()
    assert len(stage.received) < 10


def test_it_goes_on_where_it_is_asked_to_before_it_is_cancelled() -> None:
    """One consumer after the other, on the same channel."""
    stage = Stage().opened()
    stage.deliveries.pause()
    stage.deliveries.resume()
    stage.pass_time()
    stage.hand_out()
    assert len(stage.received) == 1
    assert not stage.paused()


def test_a_pause_before_the_channel_is_open_holds_once_it_is() -> None:
    """Nothing was consumed, so it is paused at once."""
    stage = Stage()
    stage.deliveries.pause()
    assert stage.paused()
    stage.broker.pump()
    assert stage.channel.receive is None
    stage.deliveries.resume()
    assert stage.channel.receive is not None


def test_a_lost_channel_ends_a_pause_that_had_no_answer() -> None:
    """Nothing comes on it any more, and the answer neither."""
    stage = Stage().opened()
    stage.deliveries.pause()
    stage.channel.lose(541, "lost")
    stage.broker.pump()
    assert stage.paused()


@pytest.mark.parametrize("paused", [False, True])
def test_what_was_stopped_never_consumes_again(*, paused: bool) -> None:
    """Neither when another part lets it go on, nor over a fresh connection."""
    stage = Stage().opened()
    if paused:
        stage.deliveries.pause()
    stage.deliveries.stop()
    stage.pass_time()
    stage.gone()
    stage.deliveries.resume()
    assert stage.channel.receive is None
    stage.deliveries.disconnected("gone")
    stage.deliveries.connected(cast("TolerantConnection", stage.broker))
    stage.broker.pump()
    assert len(stage.broker.channels) == 1
