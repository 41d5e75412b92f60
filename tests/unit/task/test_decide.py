"""Decisions: a table of what becomes of a task, and properties that hold for any."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Again, Dead, Done, Move, Run, on_receipt, on_result, unmoved
from taskqueue.task.decode import Task
from taskqueue.task.result import Result

NOW = 1_700_000_000.0
NOW_MS = 1_700_000_000_000
POLICY = QueueSettings("here", base_url="http://base", min_backoff_seconds=10, jitter=0)


def task(**changes: Any) -> Task:
    """Make a task that is due now."""
    base = Task(
        id="id", url="/x", content=b"{}", due=NOW_MS, runs=0, max_retries=None, expires=None,
        roll_back=None, queue=None, metadata={}, first_seen=NOW_MS, error=None, failed=None,
        unknown=(),
    )  # fmt: skip
    return dataclasses.replace(base, **changes)


def receipt(deliveries: int = 0, policy: QueueSettings = POLICY, **changes: Any) -> Any:
    """Decide on a task that has just come."""
    return on_receipt(task(**changes), policy, {"here", "there"}, deliveries=deliveries, now=NOW)


def after(
    status: int | None, error: str | None = None, policy: QueueSettings = POLICY, **changes: Any
) -> Any:
    """Decide on a task that has just run."""
    return on_result(task(**changes), Result(status, error, None, 0.1), policy, now=NOW, spread=0)


def test_a_due_task_runs() -> None:
    """Due means at this very millisecond or before."""
    assert receipt() == Run()


def test_a_task_for_another_queue_is_moved_before_anything_else() -> None:
    """Even where it is not due or has expired: that is for the other queue to say."""
    assert receipt(queue="there", due=NOW_MS + 5, expires=1.0) == Move("there")
    assert receipt(queue="here") == Run()


def test_a_move_that_is_refused_is_tried_again_with_the_backoff_of_the_queue_it_came_to() -> None:
    """It costs no run, and what it was remains: when it is due, and why its last run has failed."""
    policy = dataclasses.replace(POLICY, min_backoff_seconds=10, max_backoff_seconds=300, max_doublings=3)

    def after_refusals(count: int, **changes: Any) -> Again:
        return unmoved(task(queue="there", refusals=count, **changes), policy, now=NOW, spread=0)

    assert [(after_refusals(count).due - NOW_MS) // 1000 for count in range(5)] == [10, 20, 40, 80, 160]
    kept = after_refusals(3, runs=2, error="e", crashes=1, expires=1.0)
    assert kept == Again(NOW_MS + 80_000, 2, "e", crashes=1, refusals=4)
    assert after_refusals(0, due=NOW_MS + 10**6).due == NOW_MS + 10**6


def test_no_move_is_tried_without_a_pause() -> None:
    """However short the backoff of the queue is."""
    policy = dataclasses.replace(POLICY, min_backoff_seconds=0.001, max_backoff_seconds=0.001)
    assert unmoved(task(queue="there"), policy, now=NOW, spread=0).due == NOW_MS + 1000


def test_a_task_for_a_queue_nobody_knows_is_dead() -> None:
    """The reason is a word of its own, as an operator mends it in the ini."""
    decision = receipt(queue="nowhere")
    assert (decision.reason, "nowhere" in decision.error) == ("unknown_queue", True)


def test_a_task_that_is_not_due_goes_on_the_ladder_with_its_own_due_time() -> None:
    """One millisecond early is early."""
    assert receipt(due=NOW_MS + 1, runs=2, error="e") == Again(NOW_MS + 1, 2, "e", early=True)


def test_only_what_came_before_its_time_is_early() -> None:
    """A retry is put on the ladder too, and never tells of a ladder that does not fit."""
    assert receipt(due=NOW_MS + 1).early
    assert receipt(due=NOW_MS + 10**12) == Again(NOW_MS + 10**12, 0, None, early=True)
    assert not after(500).early
    busy = Result(None, None, None, 0.1, busy=0.5)
    assert on_result(task(), busy, POLICY, now=NOW, spread=0) == Again(NOW_MS + 500, 0, None, early=False)


@pytest.mark.parametrize("due", [NOW_MS, NOW_MS + 5])
def test_a_task_that_finds_no_way_on_a_shared_ladder_is_moved_to_the_queue_it_was_for(due: int) -> None:
    """It came to the queue that the ladder is named after; only the message says for whom it is."""
    assert receipt(meant_for="there", due=due) == Move("there")
    assert receipt(meant_for="here") == Run()
    assert receipt(meant_for=None) == Run()


def test_a_task_that_went_astray_to_a_queue_nobody_knows_is_dead() -> None:
    """As if its body had named the queue: it must not run with the settings of another one."""
    assert receipt(meant_for="nowhere").reason == "unknown_queue"


def test_the_queue_that_the_body_names_goes_before_the_way_that_it_came() -> None:
    """The way leads to where it was first published; its sender wants it there."""
    assert receipt(queue="here", meant_for="there") == Run()
    assert receipt(queue="there", meant_for="here") == Move("there")
    assert receipt(queue="nowhere", meant_for="there").reason == "unknown_queue"


@pytest.mark.parametrize(
    ("expires", "error"),
    [
        (NOW - 0.25, "expired 0.2 s ago"),
        (NOW - 15_150, "expired 4 h 12 min ago"),
        (NOW - 300 * 86_400, "expired 300 d ago"),
        (NOW - 400 * 86_400, "expired 2022-10-10T22:13:20Z, 1 year ago"),
        (3600.0, "expired 1970-01-01T01:00:00Z, 53 years ago: expires is a time, POSIX seconds"),
        (0.0, "expired 1970-01-01T00:00:00Z, 53 years ago: expires is a time, POSIX seconds"),
    ],
)
def test_how_long_ago_a_task_expired_is_told_as_people_tell_it(expires: float, error: str) -> None:
    """And what was most likely meant, where it is a length of time."""
    decision = receipt(expires=expires)
    assert isinstance(decision, Dead)
    assert decision.error == error


def test_an_expired_task_is_dead_and_one_that_expires_now_runs() -> None:
    """`expires` is the last moment at which it may run."""
    assert receipt(expires=NOW - 0.001).reason == "expired"
    assert receipt(expires=NOW) == Run()


def test_a_path_without_a_base_url_is_invalid() -> None:
    """It could never be called."""
    bare = QueueSettings("here")
    assert receipt(policy=bare).reason == "invalid"
    assert "roll_back" in receipt(policy=bare, url="http://full", roll_back="/r").error
    assert receipt(policy=bare, url="http://full") == Run()


def test_a_task_handed_out_for_the_last_time_is_dead_instead_of_run() -> None:
    """The broker would dead-letter it the next time, without its roll_back."""
    assert receipt(deliveries=9) == Run()
    assert receipt(deliveries=10) == receipt(deliveries=19) == Run(alone=True)
    assert receipt(deliveries=20).reason == "delivery_limit"


def test_a_200_is_success_and_no_other_status_by_default() -> None:
    """Exactly 200."""
    assert after(200) == Done()
    for status in (100, 201, 204, 301, 302, 400, 404, 500, 503):
        assert isinstance(after(status), Again), status


def test_an_error_is_a_failure_even_with_a_200() -> None:
    """The answer never completed, or a handler has judged it."""
    assert after(200, "timed out") == Again(NOW_MS + 10_000, 1, "timed out")


@pytest.mark.parametrize(("max_retries", "requests"), [(0, 1), (1, 1), (2, 2), (3, 3), (7, 7)])
def test_max_retries_is_the_number_of_runs(max_retries: int, requests: int) -> None:
    """3 runs the task once, then two more times before failing; 0 and 1 mean a single run."""
    runs = 0
    while isinstance(decision := after(500, runs=runs, max_retries=max_retries), Again):
        runs = decision.runs
    assert decision == Dead("failed", "status 500", requests)


def test_the_queues_retry_limit_holds_where_the_task_has_none() -> None:
    """The task's own number goes first, and neither means for ever."""
    limited = dataclasses.replace(POLICY, retry_limit=2)
    assert isinstance(after(500, policy=limited, runs=1), Dead)
    assert isinstance(after(500, policy=limited, runs=1, max_retries=5), Again)
    assert isinstance(after(500, runs=10**6), Again)


def test_a_permanent_status_is_dead_at_once() -> None:
    """No retry would help."""
    permanent = dataclasses.replace(POLICY, permanent_status=frozenset({410}))
    assert after(410, policy=permanent) == Dead("failed", "status 410", 1)


def test_a_handlers_word_goes_before_the_status() -> None:
    """It may accept any answer, or say that no other attempt makes sense."""
    accepted = Result(500, None, None, 0.1, accepted=True)
    assert on_result(task(), accepted, POLICY, now=NOW, spread=0) == Done()
    hopeless = Result(200, "no such user", None, 0.1, permanent=True)
    assert on_result(task(), hopeless, POLICY, now=NOW, spread=0) == Dead("failed", "no such user", 1)


@pytest.mark.parametrize(("status", "wait"), [(429, 60), (503, 60), (500, 10), (200, 10)])
def test_retry_after_delays_the_retry_of_429_and_503_only(status: int, wait: int) -> None:
    """The longer of it and the backoff."""
    result = Result(status, "judged" if status == 200 else None, "60", 0.1)
    decision = on_result(task(), result, POLICY, now=NOW, spread=0)
    assert isinstance(decision, Again)
    assert decision.due == NOW_MS + wait * 1000


@given(
    st.integers(0, 50), st.one_of(st.none(), st.integers(0, 50)), st.integers(100, 599) | st.none(),
    st.floats(-1, 1),
)  # fmt: skip
def test_no_failure_is_forgotten_and_no_retry_is_early(
    runs: int, limit: int | None, status: int | None, spread: float
) -> None:
    """A run counts once, and a retry lies in the future."""
    error = None if status else "connection refused"
    subject = task(runs=runs, max_retries=limit)
    decision = on_result(subject, Result(status, error, None, 0.0), POLICY, now=NOW, spread=spread)
    if status == 200:
        assert decision == Done()
        return
    assert decision.runs == runs + 1  # type: ignore[union-attr]
    if isinstance(decision, Again):
        assert decision.due >= NOW_MS + 10_000
        assert limit is None or runs + 1 < limit


def test_what_was_handed_out_in_vain_often_runs_alone() -> None:
    """Half of the limit is left for that: who ends the consumer then is the only one that is counted."""
    for limit, first in ((2, 1), (3, 1), (4, 2), (20, 10)):
        policy = dataclasses.replace(POLICY, delivery_limit=limit)
        assert receipt(deliveries=first - 1, policy=policy) == Run()
        assert receipt(deliveries=first, policy=policy) == Run(alone=True)
