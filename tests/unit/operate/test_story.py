"""Where one task is, and why it does not run, in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from taskqueue.operate.dead import dead_task
from taskqueue.operate.finding import Found
from taskqueue.operate.pause import Pause
from taskqueue.operate.story import nowhere, told
from taskqueue.operate.waiting import WaitingTask
from taskqueue.task.message import Message
from tests.support.views import rates, view

NOW = 1_800_000_000.0
TASK = WaitingTask("a", "/x", NOW + 90, 0, None, "80s")
PAUSE = Pause("ann", None, 0.0, None)


@pytest.mark.parametrize(
    ("task", "changes", "words"),
    [
        (TASK, {}, ["it waits in mail, on the rung 80s: it is due in 1 min 30 s"]),
        (replace(TASK, due=NOW - 2), {}, ["was due 2.0 s ago"]),
        (replace(TASK, due=None), {}, ["when it is due its message does not say"]),
        (replace(TASK, runs=2, error="status 500"), {}, ["due in", "ran 2 times; the last try failed: stat"]),
        (TASK, {"consumers": 0}, ["due in", "no consumer of mail is there"]),
        (TASK, {"pause": PAUSE}, ["due in", "mail is paused: it runs after `taskqueue resume mail`"]),
        (TASK, {"missing": ("queue mail",)}, ["due in", "queue mail missing"]),
    ],
)  # fmt: skip
def test_a_task_that_waits_is_told_with_what_would_hold_it_up(
    task: WaitingTask, changes: dict[str, Any], words: list[str]
) -> None:
    """A line each."""
    lines = list(told(Found("mail", "waiting", task), view(**changes), NOW))
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))


def test_a_task_in_a_paused_queue_is_ready() -> None:
    """And that is why it does not run."""
    first, *_ = told(Found("mail", "ready", replace(TASK, rung="")), view(pause=PAUSE), NOW)
    assert first == "it is ready in mail, and does not run as that is paused"


def test_a_dead_task_says_why_and_how_it_runs_again() -> None:
    """Whatever its message says."""
    headers = {"taskqueue-reason": "failed", "taskqueue-runs": 3, "taskqueue-error": "status 500"}
    message = Message(b"{}", headers | {"taskqueue-died": int(NOW - 60) * 1000}, {"message_id": "a"})
    lines = list(told(Found("mail", "dead", dead_task(message, "mail")), view(), NOW))
    assert lines[0] == "it is dead in mail for 1 min: failed, after 3 attempts"
    assert lines[1] == "its last error: status 500"
    assert "taskqueue dead replay mail --id a" in lines[2]


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({}, ["not dead, in mail", "nothing is ready or runs there: it is done"]),
        (
            {"ready": 2, "unacked": 1},
            ["not dead", "it may be in mail: 2 ready, 1 running", "else it is done"],
        ),
        ({"unacked": None}, ["not dead", "0 ready, how many run is not known", "else"]),
        ({"unacked": None, "consumers": 0}, ["not dead", "nothing is ready or runs there"]),
        ({"ready": None}, ["not dead", "an unknown number ready", "else"]),
        ({"unacked": 3, "flow": rates(3)}, ["not dead", "3 running", "none is settled", "else"]),
        ({"missing": ("queue mail",), "ready": None}, ["not dead", "nothing is ready or runs there"]),
        (
            {"missing": ("queue mail",), "ready": None, "ladder_held": None},
            [
                "not dead",
                "it may have come due: the broker holds that, as queue mail is missing",
                "it may wait on a rung that the ini no longer names",
                "else",
            ],
        ),
        (
            {"missing": ("queue mail",), "ready": None, "ladder_held": 3},
            [
                "not dead",
                "holds that (it holds 3), as queue mail is missing",
                "else",
            ],
        ),
        (
            {"ladder_held": 3},
            ["not dead", "the broker may hold it, though its wait is over (it", "else"],
        ),
    ],
)
def test_a_task_that_is_found_nowhere_may_run_or_be_done(changes: dict[str, Any], words: list[str]) -> None:
    """Only counts tell, and where they do not that is said."""
    lines = list(nowhere((view(**changes),)))
    assert len(lines) == len(words)
    assert all(word in line for word, line in zip(words, lines, strict=True))


def test_of_many_queues_some_are_named() -> None:
    """And the others are counted."""
    lines = list(nowhere(tuple(view(name=f"q{number}", ready=1) for number in range(40))))
    assert len(lines) <= 10
    assert "or in one of 35 more queues in which tasks are ready or run" in lines
