"""The one I/O thread: what goes wrong on it, and what happens while a channel is being closed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.receiver import Answer, Receiver
from taskqueue.broker.connect import parameters
from taskqueue.consume import consumer
from taskqueue.consume.metrics import NullMetrics
from taskqueue.consume.window import Window
from tests.support.stage import PATIENCE, Stage, eventually

SOON = 30.0
"""Seconds; a broker that has to miss heartbeats first takes more than 60."""


def fail() -> None:
    """Raise what nobody expects."""
    msg = "a fault of ours"
    raise RuntimeError(msg)


def test_a_fault_gives_every_task_back_at_once(
    stage: Stage, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    """The old connection is really closed, so the broker does not wait for its heartbeats."""
    release = threading.Event()
    receiver.answer("/x", [Answer(hold=release), 200])
    consumer = stage.consume()
    stage.publish({"url": "/x"})
    receiver.wait_for(1)
    consumer._link.call(fail)
    receiver.wait_for(2, timeout=SOON)
    release.set()
    stage.settle()
    # No other one comes of ending what was on the loop that is gone.
    assert caplog.text.count("unexpected error on the I/O thread") == 1


def test_a_consumer_that_ended_has_no_connection_open(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """However late the broker says goodbye to the one by which it sees pauses."""
    pauses = stage.consume()._pauses
    eventually(lambda: pauses._beside is not None and pauses._beside.is_open, "the second connection")
    beside: Any = pauses._beside
    monkeypatch.setattr(beside, "close", lambda: None)
    socket = beside._transport._sock
    stage.stop()
    assert socket.fileno() == -1


def test_what_waits_for_a_time_outlives_a_fault(stage: Stage) -> None:
    """A settlement that is to be tried again would else be counted as under way for ever."""
    link = stage.consume()._link
    came = threading.Event()
    link.call(lambda: link.later(0.3, came.set))
    link.call(fail)
    assert came.wait(SOON)


def test_a_settlement_that_is_tried_again_outlives_a_fault(stage: Stage, receiver: Receiver) -> None:
    """Else a consumer that stops would wait for it as long as its grace is."""
    # Given a retry that the broker can't route
    receiver.answer("/x", 500)
    consumer = stage.consume()
    stage.publish({"url": "/ready"})
    receiver.wait_for(1)
    stage.cut_off("0.1s", "0.2s", "0.3s")
    stage.publish({"url": "/x"})
    receiver.wait_for(1, path="/x")
    subscription = consumer._subscriptions[0]
    eventually(lambda: subscription.settling.under_way > 0, "a settlement under way")
    # When the I/O thread breaks down, and the queue is gone when it is back
    with stage.connection() as connection:
        connection.channel().queue_delete(stage.name)
    consumer._link.call(fail)
    # Then the settlement ends, and the consumer goes on
    eventually(lambda: subscription.idle, "nothing under way")
    stage.declare()
    stage.publish({"url": "/after"})
    receiver.wait_for(1, timeout=PATIENCE, path="/after")


def test_results_that_come_while_the_connection_is_closed_do_no_harm(
    stage: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """They can't be acked any more; the stop is as quick and clean as any."""
    # Given a consumer at full speed
    monkeypatch.setattr(consumer, "_GOODBYE", 4 * PATIENCE)
    with stage.client() as client:
        client.send_many({"url": "/x", "queue": stage.name} for _ in range(1000))
    settings = stage.configure(concurrency=20)
    hurried = consumer.Consumer(settings, parameters(settings), NullMetrics())
    running = threading.Thread(target=hurried.run, kwargs={"grace": 0.0})
    running.start()
    stage._consumers.append((hurried, running))
    receiver.wait_for(200)
    # When it has to stop without finishing anything
    hurried.stop()
    # Then it does, and not by the time limit for a broker that does not answer
    running.join(PATIENCE)
    assert not running.is_alive()
    assert not [record for record in caplog.records if record.exc_info]


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the consumers of this process take more than they run, as after quick requests."""
    own = Window.__init__

    def begin(window: Window, at_once: int) -> None:
        own(window, at_once)
        window.size = 26

    monkeypatch.setattr(Window, "__init__", begin)
    for look in ("settled", "hoards"):
        monkeypatch.setattr(Window, look, lambda *_, **__: False)


@pytest.mark.usefixtures("wide")
def test_what_has_not_begun_is_given_back_when_the_stop_begins(stage: Stage, receiver: Receiver) -> None:
    """Another consumer can run it while this one finishes a long request."""
    release = threading.Event()
    receiver.answer("/slow", Answer(hold=release))
    stage.configure(concurrency=1)
    consumer = stage.consume()
    stage.publish({"url": "/slow"})
    receiver.wait_for(1, path="/slow")
    for _ in range(5):
        stage.publish({"url": "/next"})
    eventually(lambda: stage.depth() == 0, "all of them with the consumer")
    consumer.stop()
    eventually(lambda: stage.depth() == 5, "what has not begun back in the queue")
    release.set()
    stage.stop()
    assert len(receiver.requests) == 1
    assert stage.depth() == 5


@pytest.mark.usefixtures("wide")
def test_what_waits_for_its_token_is_given_back_too(stage: Stage, receiver: Receiver) -> None:
    """A rate limit holds tasks for up to a second; a stop does not wait for them."""
    release = threading.Event()
    receiver.answer("/x", Answer(hold=release))
    stage.configure(concurrency=1, rate="2/s")
    stage.declare()
    consumer = stage.consume()
    for _ in range(3):
        stage.publish({"url": "/x"})
    receiver.wait_for(1)
    eventually(lambda: stage.depth() == 0, "all of them with the consumer")
    consumer.stop()
    eventually(lambda: stage.depth() + stage.waiting() == 2, "both back with the broker")
    release.set()
    stage.stop()
    assert len(receiver.requests) == 1


def test_a_delivery_count_of_another_queue_does_not_count(stage: Stage, receiver: Receiver) -> None:
    """As a message has that was moved here, by a shovel or by hand."""
    stage.consume()
    stage.publish({"url": "/x"}, headers={"x-delivery-count": 99})
    receiver.wait_for(1)
    stage.settle()


def test_a_task_that_ends_its_consumer_each_time_is_dead_and_rolled_back(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """The one that is handed it for the last time settles it instead of running it."""
    stage = staged(delivery_limit=1)
    release = threading.Event()
    receiver.answer("/x", Answer(hold=release))
    process = stage.run()
    stage.publish({"url": "/x", "roll_back": "/undo"})
    receiver.wait_for(1, path="/x")
    process.kill()
    release.set()
    stage.run()
    (request,) = receiver.wait_for(1, path="/undo")
    assert request.headers["Taskqueue-Failure"].startswith("delivery_limit: handed out 2 times")
    ((headers, _, _),) = stage.dead()
    assert headers["taskqueue-reason"] == "delivery_limit"
    assert len(receiver.to("/x")) == 1
