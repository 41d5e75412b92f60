"""From decisions to events: what a line says of each thing that may become of a task."""

from __future__ import annotations

from typing import Any, cast

import pytest

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.consume.telling import Telling
from taskqueue.events import Event, Events
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Again, Dead, Done, Move
from taskqueue.task.decode import Task, decode
from taskqueue.task.message import Message
from taskqueue.task.result import Following, Result
from taskqueue.task.settle import successors
from taskqueue.topology.ladder import Way

NOW = 1_000.0
MESSAGE = Message(
    b'{"url": "/x", "roll_back": "https://other.example.com/undo?key=s3cret"}',
    {"taskqueue-due": 990_000, "taskqueue-runs": 2},
    {"message_id": "m"},
)
TASK = decode(MESSAGE, now=NOW)
FAILED = Result(503, None, None, 2.0)


def told(
    decision: Done | Again | Dead | Move, result: Result | None = None, task: Task | None = TASK
) -> list[dict[str, Any]]:
    """Tell of one decision, and give the values of each event that are there."""
    found: list[Event] = []
    queue = QueueSettings("mail", base_url="https://app.example.com/base/")
    delivery = Delivery(cast("ConfirmChannel", None), 1, MESSAGE)
    telling = Telling(queue, Events(found.append), clock=lambda: NOW)
    if isinstance(decision, Done):
        telling.done(task, result)
    publishes = successors(MESSAGE, task, decision, way=Way("mail", "mail"), now=NOW)
    following = telling.following(delivery, task, decision, result, publishes)
    assert len(following) == len(publishes)
    found += [each for each in following if each is not None]
    names = (
        "event",
        "id",
        "attempt",
        "url",
        "status",
        "seconds",
        "lateness",
        "next",
        "to",
        "reason",
        "error",
    )
    return [
        {name: value for name in names if (value := getattr(each, name)) is not None} for each in found
    ]  # fmt: skip


RUN = {"id": "m", "attempt": 3, "url": "https://app.example.com/base/x"}
UNRUN = {**RUN, "attempt": 2}
TIMES = {"seconds": 2.0, "lateness": 8.0}
ROLLED_BACK = {
    "event": "rolled_back",
    "id": "m.roll_back",
    "url": "https://other.example.com/undo?key=s3cret",
}


@pytest.mark.parametrize(
    ("decision", "result", "events"),
    [
        (Done(), Result(200, None, None, 2.0), [{"event": "done", **RUN, "status": 200, **TIMES}]),
        (
            Done((Following("m.next", b"{}"),)),
            Result(200, None, None, 2.0),
            [{"event": "done", **RUN, "status": 200, **TIMES}, {"event": "sent", "id": "m.next"}],
        ),
        (
            Again(1_010_000, 3, "status 503"),
            FAILED,
            [{"event": "retried", **RUN, "status": 503, **TIMES, "next": 1010.0, "error": "status 503"}],
        ),
        (
            Dead("failed", "status 503", 3),
            FAILED,
            [
                {"event": "dead", **RUN, "status": 503, **TIMES, "reason": "failed", "error": "status 503"},
                {**ROLLED_BACK, "reason": "failed"},
            ],
        ),
        (
            Dead("expired", "expired 3 s ago", 2),
            None,
            [
                {"event": "dead", **UNRUN, "reason": "expired", "error": "expired 3 s ago"},
                {**ROLLED_BACK, "reason": "expired"},
            ],
        ),
        (
            Dead("invalid", "url refused", 2),
            Result(None, "url refused", None, 0.1, invalid=True),
            [{"event": "dead", **UNRUN, "reason": "invalid", "error": "url refused"}],
        ),
        (Move("other"), None, [{"event": "moved", **UNRUN, "to": "other"}]),
        (Again(1_010_000, 2, None, early=True), None, [{"event": "waiting", **UNRUN, "next": 1010.0}]),
        (
            Again(1_010_000, 2, None, unpermitted=True),
            None,
            [{"event": "postponed", **UNRUN, "next": 1010.0, "reason": "max_concurrency"}],
        ),
        (
            Again(1_010_000, 2, None),
            Result(None, None, None, 0.0, busy=10.0),
            [{"event": "postponed", **UNRUN, "next": 1010.0, "reason": "per_host"}],
        ),
        (
            Again(1_010_000, 2, None),
            Result(None, "too many open files", None, 0.0, busy=10.0),
            [
                {
                    "event": "postponed", **UNRUN, "next": 1010.0, "reason": "shortage",
                    "error": "too many open files",
                }
            ],
        ),
        (
            Again(1_010_000, 2, None, refusals=1),
            None,
            [{"event": "postponed", **UNRUN, "next": 1010.0, "reason": "refused"}],
        ),
        # Put back unrun, for another consumer: nothing has happened to it.
        (Again(990_000, 2, None, crashes=1), None, []),
    ],
)  # fmt: skip
def test_each_decision_has_its_event(
    decision: Done | Again | Dead | Move, result: Result | None, events: list[dict[str, Any]]
) -> None:
    """With what is known of it; length and lateness only where a request was made."""
    assert told(decision, result) == events


def test_a_message_that_is_no_task_is_told_by_its_id() -> None:
    """Nothing else of it can be read, and no roll_back is called."""
    assert told(Dead("invalid", "body: is not JSON", 0), task=None) == [
        {"event": "dead", "id": "m", "attempt": 0, "reason": "invalid", "error": "body: is not JSON"}
    ]


def test_an_attempt_whose_channel_is_gone_is_void() -> None:
    """It was made, and says nothing about the task; one that was only postponed was none."""
    found: list[Event] = []
    telling = Telling(QueueSettings("mail"), Events(found.append), clock=lambda: NOW)
    telling.void(TASK, FAILED)
    telling.void(TASK, Result(None, None, None, 0.0, busy=1.0))
    (void,) = found
    assert (void.event, void.attempt, void.status, void.seconds) == ("void", 3, 503, 2.0)
