"""While the broker takes no publishes: what waits to be settled is told, and no stop waits for it."""

from __future__ import annotations

import json
import logging

import pytest

from taskqueue.task.result import Result
from tests.support.broker_model import Broker, Entry
from tests.support.consumer_model import POLICY, Process

FAILED = Result(500, None, None, 0.1)


def failing(count: int) -> Process:
    """Give a consumer with an alarm at its broker, and so many tasks that have failed."""
    broker = Broker()
    process = Process(broker)
    process.blocked = True
    for number in range(count):
        broker.places["q"].append(Entry(json.dumps({"url": "/x"}).encode(), {}, {"message_id": f"{number}"}))
        process.channel.deliver(0)
        broker.pump()
        attempt = process.begin()
        assert attempt is not None
        process.finished(attempt, FAILED)
        broker.pump()
    return process


def idle(process: Process) -> bool:
    """Tell whether a stop would end it now."""
    return process.subscription.idle


def lines(caplog: pytest.LogCaptureFixture, text: str) -> list[str]:
    """Give the log's lines with a text."""
    return [record.getMessage() for record in caplog.records if text in record.getMessage()]


def test_a_queue_that_stands_still_says_so_once_in_an_alarm(caplog: pytest.LogCaptureFixture) -> None:
    """With how many tasks wait, as soon as no other is handed out; and anew in the next alarm."""
    process = failing(POLICY.concurrency - 1)
    assert lines(caplog, "stands still") == []
    assert process.subscription.report().settling == POLICY.concurrency - 1
    process = failing(POLICY.concurrency)
    process.subscription.alarmed(now=True)
    (line,) = lines(caplog, "stands still")
    assert f"q: stands still, as {POLICY.concurrency} tasks wait to be settled" in line
    process.subscription.alarmed(now=False)
    process.subscription.alarmed(now=True)
    assert len(lines(caplog, "stands still")) == 2


def test_a_queue_that_stands_still_before_it_knows_of_the_alarm_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The broker tells of it only once something is published."""
    process = failing(0)
    process.blocked = False
    process.broker.places["q"] += [Entry(b'{"url": "/x"}', {}, {"message_id": f"{n}"}) for n in range(2)]
    for _ in range(2):
        process.channel.deliver(0)
        process.broker.pump()
        attempt = process.begin()
        assert attempt is not None
        process.finished(attempt, FAILED)
        process.broker.pump()
    assert lines(caplog, "stands still") == []
    process.blocked = True
    process.subscription.alarmed(now=True)
    assert len(lines(caplog, "stands still")) == 1


def test_a_stop_in_an_alarm_waits_for_nothing_and_tells_how_many_run_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """What has not run is told apart: it does not run again."""
    caplog.set_level(logging.INFO)
    process = failing(1)
    body = json.dumps({"url": "/x", "queue": "other"}).encode()
    process.broker.places["q"].append(Entry(body, {}, {"message_id": "moves"}))
    process.channel.deliver(0)
    process.broker.pump()
    assert not idle(process)
    process.subscription.stop()
    assert idle(process)
    process.subscription.tell()
    assert len(lines(caplog, "q: 1 tasks have run and go back to the queue, where they run again")) == 1
    assert len(lines(caplog, "q: 1 tasks that have not run go back to the queue")) == 1


def test_a_stop_without_an_alarm_waits_for_the_confirm() -> None:
    """It comes in a moment."""
    process = failing(1)
    process.blocked = False
    process.subscription.stop()
    assert not idle(process)
    process.broker.publishing[0].confirm(0, multiple=False)
    process.broker.pump()
    while process.timers and not idle(process):
        process.fire()
        process.broker.pump()
    assert idle(process)
