"""What is out for longer than the broker allows, where it ends the consumer for that, as 4.3 does."""

from __future__ import annotations

import json
import logging

import pytest

from taskqueue.consume.acks import Acks
from taskqueue.consume.workers import Attempt
from taskqueue.task.result import Result
from tests.support.broker_model import Broker, Entry
from tests.support.consumer_model import LIMIT, Process

TIMEOUT = 1800.0
"""Seconds that the broker lets a delivery stay unacked."""


class Stage:
    """A consumer, and tasks that its workers have taken up at once."""

    def __init__(self) -> None:
        self.broker = Broker()
        self.process = Process(self.broker)

    def begin(self, name: str) -> Attempt:
        """Hand out a task, and begin it."""
        body = json.dumps({"url": "/x"}).encode()
        self.broker.places["q"].append(Entry(body, {}, {"message_id": name}))
        self.process.channel.deliver(-1)
        self.broker.pump()
        attempt = self.process.begin()
        assert attempt is not None
        return attempt

    def outlast(self) -> None:
        """Have the eldest be out for too long."""
        self.broker.now += TIMEOUT / 2
        self.process.channel.time_out()
        self.broker.pump()

    def answer(self, attempt: Attempt, status: int) -> None:
        """End a request."""
        self.process.finished(attempt, Result(status, None, None, 0.1))
        self.broker.pump()


@pytest.fixture
def stage() -> Stage:
    """Give a consumer without tasks."""
    return Stage()


def test_only_the_task_that_took_too_long_is_given_up(stage: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """What it answers later is neither published nor acked; what ran beside it is settled where it was."""
    caplog.set_level(logging.WARNING)
    slow = stage.begin("slow")
    stage.broker.now += TIMEOUT / 2
    beside = stage.begin("beside")
    channel = stage.process.channel
    stage.outlast()
    # Then another channel consumes, and the broker keeps what runs beside
    assert stage.process.channel is not channel
    assert stage.process.channel.receive is not None
    assert channel.is_open
    assert list(channel.out) == [beside.delivery.tag]
    assert not channel.overdue, "the broker was not told that it is given up"
    assert [entry.id for entry in stage.broker.places["q"]] == ["slow"]
    stage.answer(slow, 500)
    stage.answer(beside, 200)
    assert not stage.broker.publishing
    assert not channel.out
    assert [entry.id for entry in stage.broker.everywhere()] == ["slow"]
    assert stage.process.subscription.idle
    assert "lower 'timeout' of this queue, or raise consumer_timeout" in caplog.text
    assert "it runs again" in caplog.text


def test_what_was_not_begun_goes_on_waiting_for_a_worker(stage: Stage) -> None:
    """Both workers are taken: the third task stays in the line, and is not handed to others."""
    slow = stage.begin("slow")
    stage.broker.now += TIMEOUT / 2
    stage.begin("beside")
    stage.broker.places["q"].append(Entry(b'{"url": "/x"}', {}, {"message_id": "third"}))
    stage.process.channel.deliver(-1)
    stage.outlast()
    attempt = stage.process.begin()
    assert attempt is not None
    assert attempt.task.id == "third"
    assert stage.process.has(attempt)
    stage.answer(slow, 200)
    stage.answer(attempt, 200)
    assert not stage.process.has(attempt)


def test_the_channel_of_what_ran_beside_it_is_closed_after_the_last_ack(stage: Stage) -> None:
    """Not at once: the broker would forget acks that it has not got to."""
    stage.begin("slow")
    stage.broker.now += TIMEOUT / 2
    beside = stage.begin("beside")
    channel = stage.process.channel
    stage.outlast()
    seen = []
    for _ in range(2):
        calm(stage, 5.0)
        seen.append((channel.is_open, len(channel.out)))
        stage.answer(beside, 200) if channel.out else None
        seen.append((channel.is_open, len(channel.out)))
    assert seen == [(True, 1), (True, 0), (False, 0), (False, 0)]
    assert stage.process.channel.receive is not None


def test_a_stop_waits_for_the_acks_of_what_ran_beside_it(stage: Stage) -> None:
    """The broker may not have got to them: what is done would run again."""
    stage.begin("slow")
    stage.broker.now += TIMEOUT / 2
    beside = stage.begin("beside")
    stage.outlast()
    calm(stage, 5.0)
    assert not stage.process.subscription.just_acked
    stage.answer(beside, 200)
    assert stage.process.subscription.just_acked


def test_what_comes_later_stays_where_what_ran_beside_it_takes_too_long_too(stage: Stage) -> None:
    """The broker closes the channel whose consumer it had ended, and that alone."""
    stage.begin("slow")
    stage.broker.now += TIMEOUT / 2
    stage.begin("beside")
    former = stage.process.channel
    stage.outlast()
    stage.broker.places["q"].append(Entry(b'{"url": "/x"}', {}, {"message_id": "later"}))
    stage.process.channel.deliver(-1)
    stage.broker.pump()
    stage.broker.now += TIMEOUT / 2
    former.time_out()
    stage.broker.pump()
    assert not former.is_open
    assert [entry.id for entry in stage.process.channel.out.values()] == ["later"]
    assert [entry.id for entry in stage.broker.places["q"]] == ["slow", "beside"]


def test_a_task_that_takes_too_long_each_time_is_dead(stage: Stage) -> None:
    """By the hand-outs that the broker counts, though it counts no failure; the reason names the timeout."""
    stage.begin("slow")
    for _ in range(10):
        if stage.broker.places["q"] and stage.process.channel.receive:
            stage.process.channel.deliver(0)
            stage.broker.pump()
        if stage.broker.publishing:
            break
        if stage.process.channel.out:
            stage.outlast()
        elif stage.process.timers:
            stage.process.fire()
            stage.broker.pump()
    stage.broker.publishing[0].confirm(0, multiple=False)
    stage.broker.pump()
    (dead,) = stage.broker.places["q.dead"]
    assert dead.headers["taskqueue-reason"] == "delivery_limit"
    assert "consumer_timeout" in dead.headers["taskqueue-error"]
    assert [entry.id for entry in stage.broker.everywhere()] == ["slow"]


def test_what_came_with_the_eldest_counts_as_too_old_too() -> None:
    """The broker does not tell which it has taken back: so is what came a little later."""
    acks = Acks()
    for tag, came in ((1, 0.0), (2, 0.4), (3, 170.0), (4, 190.0), (5, 0.0)):
        acks.delivered(tag, came)
    acks.settle(5)
    assert acks.eldest(1800.0) == [1, 2, 3]
    assert acks.eldest(5.0) == [1, 2]
    acks.settle(1)
    acks.flush()
    assert acks.eldest(5.0) == [2]
    assert Acks().eldest(5.0) == []


def test_what_is_young_is_kept_where_what_was_too_old_is_settled_just_now() -> None:
    """Its ack is on the way, or waits for the consumer to be cancelled: nothing else was taken back."""
    acks = Acks()
    acks.delivered(1, 0.0)
    acks.delivered(2, 1790.0)
    acks.settle(1)
    assert acks.eldest(1800.0) == []


@pytest.mark.parametrize("ends", [False, True])
def test_what_ran_beside_it_settles_its_next_delivery_where_the_channel_is_closed(
    stage: Stage, *, ends: bool
) -> None:
    """It comes again while its request runs: that is not made twice. What took too long is."""
    slow = stage.begin("slow")
    stage.broker.now += TIMEOUT / 2
    beside = stage.begin("beside")
    stage.broker.now += TIMEOUT / 2
    reason = "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out" if ends else "lost"
    stage.process.channel.lose(406 if ends else 541, reason)
    stage.broker.pump()
    while not stage.process.channel.receive:
        stage.process.fire()
        stage.broker.pump()
    # The one that is to run alone comes last: nothing is taken after it.
    assert [entry.id for entry in stage.broker.places["q"]] == ["slow", "beside"]
    for pick in (1, 0):
        stage.process.channel.deliver(pick)
        stage.broker.pump()
    again = {entry.id for entry in stage.process.channel.out.values()}
    assert again == {"slow", "beside"}
    stage.answer(beside, 200)
    assert {entry.id for entry in stage.process.channel.out.values()} == {"slow"}
    stage.answer(slow, 200)
    left = {"slow"} if ends else set()
    assert {entry.id for entry in stage.process.channel.out.values()} == left


def calm(stage: Stage, seconds: float) -> None:
    """Let the broker answer, and some seconds pass."""
    until = stage.broker.now + seconds
    process = stage.process
    while True:
        channel = process.channel
        if channel.cancelled:
            cancelled, channel.cancelled, channel.receive = channel.cancelled, None, None
            cancelled()
        elif any(at <= until for at, _, _ in process.timers):
            process.fire()
        else:
            return
        stage.broker.pump()


def test_a_suspect_waits_for_no_request_that_outlasts_the_broker(stage: Stage) -> None:
    """That may go on for hours, and nothing is counted for it any more."""
    stage.begin("slow")
    stage.outlast()
    stage.process.channel.deliver(0)
    stage.broker.pump()
    calm(stage, 2.0)
    again = stage.process.begin()
    assert again is not None
    assert again.task.id == "slow"


def test_a_suspect_that_finds_no_worker_goes_away_for_a_moment(stage: Stage) -> None:
    """Behind requests that outlast the broker it would be out for too long too, and counted."""
    stage.begin("slow")
    stage.begin("slow too")
    stage.outlast()
    assert [entry.id for entry in stage.broker.places["q"]] == ["slow", "slow too"]
    stage.process.channel.deliver(1)
    stage.broker.pump()
    calm(stage, 2.0)
    assert stage.process.begin() is None
    stage.broker.publishing[0].confirm(0, multiple=False)
    stage.broker.pump()
    assert [entry.id for entry in stage.broker.places["q.wait"]] == ["slow too"]
    assert not stage.process.channel.out


def test_a_suspect_that_finds_no_worker_stops_nobody(stage: Stage) -> None:
    """It comes again each second: were all queues emptied for it each time, they would stand still."""
    stage.begin("slow")
    stage.begin("slow too")
    stage.outlast()
    stage.process.channel.deliver(1)
    stage.broker.pump()
    assert stage.process.isolation.is_open
    assert [sent.entry.id for sent in stage.broker.publishing[0].sent.values()] == ["slow too"]


def test_what_waits_to_be_put_back_is_not_there_twice_if_it_is_overdue_by_then(stage: Stage) -> None:
    """While the consumer is about to be cancelled, nothing goes back that the broker may have by then."""
    stage.broker.places["q"].append(Entry(b'{"url": "/x"}', {}, {"message_id": "waits"}))
    stage.process.channel.deliver(-1)
    stage.broker.pump()
    stage.process.subscription.suspend()
    assert stage.process.channel.receive is not None, "nothing is cancelled yet"
    stage.outlast()
    calm(stage, 2.0)
    assert not stage.broker.publishing
    assert [entry.id for entry in stage.broker.everywhere()] == ["waits"]


def test_a_request_that_goes_on_is_no_crash_however_often_its_delivery_is_lost(stage: Stage) -> None:
    """Each loss counts as a hand-out, and beyond the limit the task would be dead while it runs."""
    attempt = stage.begin("long")
    for _ in range(LIMIT + 1):
        stage.process.channel.lose(541, "lost")
        stage.broker.pump()
        while not stage.process.channel.receive:
            stage.process.fire()
            stage.broker.pump()
        stage.process.channel.deliver(0)
        stage.broker.pump()
    stage.answer(attempt, 200)
    assert not stage.broker.publishing
    assert not stage.broker.everywhere()


def test_a_consumer_that_is_ended_by_an_older_broker_ends_its_channel(stage: Stage) -> None:
    """Its queue is gone: what is out must not be acked in one that is declared in its place."""
    stage.broker.server_properties = {"version": "4.2.3"}
    older = Process(stage.broker)
    older.channel.end_consumer()
    stage.broker.pump()
    assert not older.channel.is_open


def test_nothing_is_consumed_over_a_connection_that_has_just_ended(stage: Stage) -> None:
    """Each channel learns of that in its turn, and what one of them does then must not be an error."""
    stage.process.subscription.suspend()
    calm(stage, 5.0)
    stage.broker.is_open = False
    stage.process.subscription.resume()
