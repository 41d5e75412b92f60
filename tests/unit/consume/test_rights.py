"""A user who may not settle the tasks of a queue, or not see it paused: none is taken, at once or later."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import pytest

from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.deliveries import Deliveries
from taskqueue.consume.window import Window
from tests.support.broker_model import Broker


class Stage:
    """The deliveries of one queue on a model of a broker; `later` holds what they put off."""

    blocked = False

    def __init__(self, *denied: str) -> None:
        self.broker = Broker(denied=set(denied))
        self.refused: list[str] = []
        self.put_off: list[Callable[[], None]] = []
        deliveries = Deliveries(
            "q", Window(10), cast("Link", self), ladder="shared", refused=self.refused.append,
            received=lambda _: None, lost=lambda: None, left=lambda: None, missing=pytest.fail,
            hoarding=pytest.fail,
        )  # fmt: skip
        deliveries.connected(cast("TolerantConnection", self.broker))
        self.broker.pump()

    def consumes(self) -> bool:
        """Tell whether messages can come on the channel that was opened last."""
        return self.broker.channels[-1].receive is not None

    def call(self, function: Callable[[], None]) -> None:
        """Be the link."""
        self.broker.calls.append(function)

    def later(self, _seconds: float, function: Callable[[], None]) -> None:
        """Be the link's clock."""
        self.put_off.append(function)

    def monotonic(self) -> float:
        """Be every clock."""
        return self.broker.now

    def lose(self) -> None:
        """Have the broker close the channel, and all that was put off come."""
        self.broker.channels[-1].lose(406, "PRECONDITION_FAILED")
        self.go_on()

    def go_on(self) -> None:
        """Have all that was put off come."""
        self.broker.pump()
        put_off, self.put_off = self.put_off, []
        for each in put_off:
            each()
        self.broker.pump()


@pytest.mark.parametrize(
    "exchange", ["q.dead", "q.wait.due", "shared.wait", "q.wait.control", "shared.wait.control"]
)
def test_who_may_not_settle_or_not_be_paused_consumes_nothing(exchange: str) -> None:
    """It is told in one line that names what it takes, and nothing is asked for again by itself."""
    stage = Stage(exchange)
    (told,) = stage.refused
    assert f"exchange '{exchange}'" in told
    assert "read permission on q and write permission on q.wait.due, shared.wait, q.dead" in told
    assert not stage.consumes()


def test_who_may_settle_consumes() -> None:
    """Whatever else the user may not write to."""
    stage = Stage("other.dead", "q.wait")
    assert stage.consumes()
    assert stage.refused == []


def test_who_may_not_settle_any_more_waits_for_the_right() -> None:
    """It was a consumer once, so it stays one: it is no error at the start."""
    stage = Stage()
    stage.broker.denied.add("q.dead")
    stage.lose()
    assert not stage.consumes()
    stage.broker.denied.clear()
    stage.go_on()
    assert stage.consumes()
    assert stage.refused == []
