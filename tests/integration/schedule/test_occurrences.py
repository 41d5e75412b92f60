"""Schedules on a real broker: each occurrence once, however many consumers, and what was missed."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest

from sandbox.receiver import Receiver
from taskqueue.consume.timekeeper import Timekeeper
from taskqueue.declare.apply import declare
from taskqueue.schedule.book import Book, Entry
from taskqueue.settings.schedules import Definition
from tests.support.command import run
from tests.support.stage import PATIENCE, Stage, eventually
from tests.support.timetable import (
    NAME,
    book,
    configure,
    gapless,
    lateness,
    occurrences,
    rewrite,
    write,
)

LATE = 15.0
"""Seconds by which an occurrence may be late here: far more than the one that is promised, as CI is busy."""
STRANGE = (b"", b"[]", b"\xff\x00", b'{"wake": "x", "asked": null}', b'{"format": "x"}')


@pytest.fixture
def timed(stage: Stage) -> Stage:
    """Give a declared queue whose ini has a schedule that is due each hour."""
    configure(stage)
    declare(stage.settings)
    return stage


def test_each_occurrence_is_enqueued_once_under_its_id_by_several_consumers(
    timed: Stage, receiver: Receiver
) -> None:
    """Every second, none early."""
    write(timed, fast="* * * * * *")
    for _ in range(3):
        timed.consume()
    requests = receiver.wait_for(6, timeout=PATIENCE)
    eventually(lambda: gapless(list(receiver.requests), len(requests)), "each second has come, once")
    assert min(lateness(requests)) >= 0
    assert max(lateness(requests)[1:]) < LATE
    assert requests[0].path == "/fast"


def test_several_schedules_share_a_queue_and_do_not_touch_each_other(
    timed: Stage, receiver: Receiver
) -> None:
    """Two that are due at the same second, and one that is paused by its cron for years."""
    write(timed, one="*/2 * * * * *", two="*/2 * * * * *", never="0 0 0 29 2 *")
    timed.consume()
    requests = receiver.wait_for(6, timeout=PATIENCE)
    one, two = occurrences(requests, "one"), occurrences(requests, "two")
    assert sorted(one)[:2] == sorted(two)[:2]
    assert not occurrences(requests, "never")
    assert {request.path for request in requests} == {"/one", "/two"}


@pytest.mark.parametrize("missed", ["once", "skip"])
def test_what_nothing_ran_for_runs_once_or_is_skipped(timed: Stage, receiver: Receiver, missed: str) -> None:
    """After an outage over three hours, and the task of the ini with all of its fields."""
    now = math.floor(time.time())
    first = now - now % 3600 - 2 * 3600
    definition = Definition(
        "0 * * * *", "/fast", payload='{"n": 1.10}', max_retries=2, metadata={"headers": {"X-Team": "a"}},
        missed=missed,
    )  # fmt: skip
    if now - first - 2 * 3600 <= 60:
        pytest.skip("a full hour was a moment ago, and counts as in time")
    rewrite(timed, Book({NAME: Entry(definition, first)}))
    consumer = timed.run()
    if missed == "once":
        (request,) = receiver.wait_for(1, timeout=PATIENCE)
        assert occurrences([request]) == [first + 2 * 3600]
        assert request.headers["Taskqueue-Missed"] == "3"
        assert request.headers["X-Team"] == "a"
        assert request.body == b'{"n": 1.10}'
    else:
        consumer.wait_for("3 missed and skipped")
        assert not receiver.requests
    eventually(lambda: book(timed).wake == first + 3 * 3600, "the next hour")


def test_a_consumer_with_another_ini_goes_by_the_broker(timed: Stage, receiver: Receiver) -> None:
    """As one ini takes the place of another: changed, removed and new at once, never both, never none."""
    write(timed, fast="*/2 * * * * *", old="*/2 * * * * *")
    # It has one of them in its ini, with another cron.
    timed.consume()
    receiver.wait_for(4, timeout=PATIENCE)
    began = time.time()
    write(timed, fast="1-59/2 * * * * *", new="1-59/2 * * * * *")
    switched = time.time()
    eventually(lambda: len(occurrences(list(receiver.requests), "new")) >= 2, "the new one")
    requests = list(receiver.requests)
    old, new = occurrences(requests, "old"), occurrences(requests, "new")
    assert max(old) <= switched
    assert min(new) >= began - 1
    fast = sorted(set(occurrences(requests)))
    assert [instant % 2 for instant in fast] == sorted(instant % 2 for instant in fast)
    steps = {later - earlier for earlier, later in pairwise(fast)}
    assert max(steps) <= 3


def test_a_removed_section_ends_a_schedule_and_the_ini_alone_does_not(
    timed: Stage, receiver: Receiver
) -> None:
    """Also that of the last one: an ini without any says that there is none."""
    write(timed, fast="* * * * * *")
    timed.consume()
    receiver.wait_for(2, timeout=PATIENCE)
    configure(timed, {})
    declare(timed.settings)
    assert book(timed).entries == {}
    timed.stop()
    assert timed.depth() == 0
    seen = len(receiver.requests)
    configure(timed, {"other": {"cron": "@hourly", "url": "/other"}})
    write(timed, other="* * * * * *")
    timed.consume()
    receiver.wait_for(seen + 2, timeout=PATIENCE)
    assert len(occurrences(list(receiver.requests))) == seen


def test_what_is_no_wake_up_and_a_copy_of_the_book_do_no_harm(timed: Stage, receiver: Receiver) -> None:
    """Somebody has published to the queues of schedules, and nothing of that is lost; an older copy."""
    write(timed, fast="* * * * * *")
    with timed.connection() as connection:
        channel = connection.channel()
        _, properties, body = channel.basic_get(f"{timed.name}.schedule", auto_ack=False)
        assert body is not None
        channel.basic_publish(f"{timed.name}.schedule", "", body, properties, mandatory=True)
        for place in ("schedule", "schedule.due"):
            for text in STRANGE:
                channel.basic_publish("", f"{timed.name}.{place}", text, mandatory=True)
        channel.basic_publish("", f"{timed.name}.schedule.due", b'{"wake": 5, "asked": null}', mandatory=True)
    timed.consume()
    requests = receiver.wait_for(4, timeout=PATIENCE)
    eventually(lambda: gapless(list(receiver.requests), len(requests)), "each second has come, once")
    eventually(lambda: timed.depth(f"{timed.name}.schedule") <= 1, "one book")
    dead = timed.dead(2 * len(STRANGE))
    assert {headers["taskqueue-reason"] for headers, _, _ in dead} == {"invalid"}
    found = sorted((headers["taskqueue-error"].rpartition(" ")[2], body) for headers, body, _ in dead)
    assert found == sorted(
        (f"{timed.name}.{place}", text) for place in ("schedule", "schedule.due") for text in STRANGE
    )


def test_a_book_of_a_later_version_is_left_as_it_is(timed: Stage) -> None:
    """It belongs to a newer taskqueue, which this one must not undo; and it says so."""
    with timed.connection() as connection:
        channel = connection.channel()
        channel.queue_purge(f"{timed.name}.schedule")
        channel.basic_publish(f"{timed.name}.schedule", "", b'{"format": 2}', mandatory=True)
    process = timed.run()
    process.wait_for("this version can't heed")
    assert timed.depth(f"{timed.name}.schedule") == 1


@pytest.mark.parametrize("off", [3600, -3600])
def test_a_clock_that_is_wrong_enqueues_nothing_early_and_holds_up_nothing(
    timed: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, off: int
) -> None:
    """An hour ahead or behind in a consumer: occurrences come by the clock of the broker."""
    write(timed, fast="* * * * * *")

    def wrong(*given: Any, **named: Any) -> Timekeeper:
        return Timekeeper(*given, **{**named, "clock": lambda: time.time() + off})

    monkeypatch.setattr("taskqueue.consume.consumer.Timekeeper", wrong)
    timed.consume()
    requests = receiver.wait_for(4, timeout=PATIENCE)
    eventually(lambda: gapless(list(receiver.requests), len(requests)), "each second has come, once")
    assert min(lateness(requests)) >= 0
    assert max(lateness(requests)[1:]) < LATE


def test_a_queue_whose_schedules_are_not_declared_is_not_run(stage: Stage) -> None:
    """The consumer ends and says what to run."""
    configure(stage)
    done = run(stage.path, "run")
    assert done.returncode == 1
    assert b"taskqueue declare" in done.stderr.splitlines()[-1]


def test_the_same_ini_declared_again_keeps_what_is_next(timed: Stage) -> None:
    """And what an operator has changed."""
    before = book(timed)
    declare(timed.settings)
    assert replace(book(timed), version=0) == replace(before, version=0)
