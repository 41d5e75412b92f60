"""A consumer that takes no more for a moment: it is not cancelled while what it has keeps others away."""

from __future__ import annotations

import pytest

from taskqueue.task.result import Result
from tests.support.broker_model import Broker, Entry
from tests.support.consumer_model import Process


@pytest.fixture
def process() -> Process:
    """Give a consumer with a full window of two, one more in the queue, and that is to take no more."""
    broker = Broker()
    process = Process(broker)
    for name in ("one", "two", "three"):
        broker.places["q"].append(Entry(b'{"url": "/x"}', {}, {"message_id": name}))
    process.channel.deliver(0)
    process.channel.deliver(0)
    process.subscription._deliveries.pause(full=True)
    broker.pump()
    assert process.channel.cancelled is None
    return process


def test_it_is_cancelled_before_an_ack_makes_room(process: Process) -> None:
    """What comes then would wait here, where the next token is far away."""
    attempt = process.begin()
    assert attempt is not None
    process.finished(attempt, Result(200, None, None, 0.1))
    while len(process.channel.out) == 2:
        assert process.channel.cancelled is None
        process.broker.pump()
    assert process.channel.cancelled is not None


def test_it_is_cancelled_before_anything_goes_back(process: Process) -> None:
    """Or that would come again at once, and be counted each time."""
    attempt = process.begin()
    assert attempt is not None
    process.subscription._give_up(attempt)
    process.broker.pump()
    assert process.channel.cancelled is not None
    # Published again, as one hand-out more would make it suspect.
    process.broker.publishing[0].confirm(0, multiple=False)
    process.broker.pump()
    assert not process.has(attempt)


def test_who_takes_more_before_that_has_a_window_of_its_own(process: Process) -> None:
    """The next token came while requests still run."""
    former = process.channel.tag
    process.subscription._deliveries.resume(quietly=True)
    process.broker.pump()
    assert process.channel.tag != former
    process.channel.deliver(0)
    assert len(process.channel.out) == 3
