"""What is to follow from a task goes out with less in its headers where all of them can't go."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import pytest

from sandbox.attempt import a_task
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.outcome import Outcome
from taskqueue.broker.wire import HeadersTooLarge, to_properties
from taskqueue.consume.held import Held
from taskqueue.consume.settlement import Settlement
from taskqueue.events import Event
from taskqueue.task.decide import Again, Dead, Done, Move
from taskqueue.task.decode import Task
from taskqueue.task.message import Message, Publish
from taskqueue.task.result import Following
from taskqueue.task.settle import successors
from taskqueue.topology.ladder import Way

FRAME = 4096
BODY = b'{"url": "http://a/", "roll_back": "/undo"}'
TASK = a_task("http://a/", id="mine", roll_back="/undo", runs=2, first_seen=7)
ODD: dict[str, dict[str, Any]] = {
    "can't be encoded": {"kept": "k", "wide": 10**30},
    "too large": {"kept": "k", "wide": "x" * 5000},
    "both": {"kept": "k", "wide": "x" * 5000, "odd": object()},
    "very many": {"kept": "k", **{f"wide-{number}": "x" * 50 for number in range(200)}},
}


class Settles:
    """Writes what is published as a connection of small frames would, and settles it."""

    def __init__(self, headers: dict[str, Any], decision: Any) -> None:
        self.written: list[Publish] = []
        self.settled_by: Message | None = None
        self.decisions = [decision]
        connection = SimpleNamespace(params=SimpleNamespace(frame_max=FRAME))
        channel = SimpleNamespace(is_open=True, released=(), connection=connection)
        message = Message(BODY, headers, {"message_id": "mine", "priority": 3})
        self.settle(Delivery(cast("Any", channel), 1, message), TASK, decision)

    def settle(self, delivery: Delivery, task: Task | None, decision: Any) -> None:
        """Publish what follows."""
        publishes = successors(delivery.message, task, decision, way=Way("q", "q"), now=1_790_000_000.0)
        link: Any = SimpleNamespace(
            outbox=self, monotonic=lambda: 0.0, later=lambda *_: pytest.fail("it is tried again and again")
        )
        held: Held[Settlement] = Held("q", link, overdue=lambda _: pytest.fail("held"), changed=pytest.fail)
        Settlement(
            self, held, link=link, delivery=delivery, task=task, decision=decision, publishes=publishes
        ).start()

    def publish(
        self, _settles: object, publish: Publish, ended: Callable[..., None], **_options: object
    ) -> None:
        """Take the place of the outbox."""
        try:
            for part in to_properties(publish, FRAME).encode():
                assert isinstance(part, bytes)
        except HeadersTooLarge:
            ended(Outcome.TOO_LARGE, 0, "")
        except Exception:  # noqa: BLE001 whatever pika has against it
            ended(Outcome.UNFIT, 0, "")
        else:
            self.written.append(publish)
            ended(Outcome.CONFIRMED, 0, "")

    def settled(self, settlement: Settlement) -> None:
        """Learn that it may be acked."""
        assert self.settled_by is None
        self.settled_by = settlement.delivery.message

    def refused(self, _: Settlement) -> None:
        """Never happens here."""
        raise AssertionError

    def confirmed(self, _: Event) -> None:
        """Never happens here."""
        raise AssertionError

    def unmoved(self, _: Settlement, why: str) -> None:
        """Never happens here."""
        raise AssertionError(why)

    def lost(self, _: Settlement) -> None:
        """Never happens here."""
        raise AssertionError

    def instead(self, _settlement: Settlement, delivery: Delivery, task: Task | None, decision: Dead) -> None:
        """Settle it as decided anew."""
        self.decisions.append(decision)
        self.settle(delivery, task, decision)


@pytest.mark.parametrize(
    ("decision", "reason"),
    [
        (Dead("failed", "status 500", 3), "failed"),
        (Dead("expired", "é" * 500, 3), "expired"),
        (Again(1_790_000_100_000, 3, "status 500"), "invalid"),
    ],
)
@pytest.mark.parametrize("headers", ODD.values(), ids=ODD)
def test_a_dead_task_keeps_its_reason_id_and_roll_back(
    headers: dict[str, Any], decision: Any, reason: str
) -> None:
    """Its body is untouched; a task that could only go on without its headers is dead itself."""
    settles = Settles(headers, decision)
    dead, undo = settles.written
    assert settles.settled_by is not None
    assert (dead.exchange, dead.message.body) == ("q.dead", BODY)
    assert dead.message.properties == {"message_id": "mine", "priority": 3}
    assert (dead.message.headers["taskqueue-reason"], dead.message.headers["taskqueue-runs"]) == (reason, 3)
    assert undo.exchange == "q.wait.due"
    assert (undo.message.body, undo.message.headers["taskqueue-failed-id"]) == (b'{"url":"/undo"}', "mine")
    assert undo.message.properties["message_id"] == "mine.roll_back"
    assert not any(
        "wide" in name and len(str(headers[name])) > 100 for name in dead.message.headers if name in headers
    )


@pytest.mark.parametrize("headers", ODD.values(), ids=ODD)
def test_a_success_is_none_the_less_one(headers: dict[str, Any]) -> None:
    """What follows from it goes out without what can't."""
    settles = Settles(headers, Done((Following("mine.next", b'{"url":"/next"}'),)))
    (following,) = settles.written
    assert (following.message.body, following.message.properties["message_id"]) == (
        b'{"url":"/next"}',
        "mine.next",
    )
    assert len(settles.decisions) == 1


@pytest.mark.parametrize("headers", ODD.values(), ids=ODD)
def test_a_task_for_another_queue_is_dead_and_nothing_else(headers: dict[str, Any]) -> None:
    """Its roll_back is to be called from there, by another base_url perhaps."""
    settles = Settles(headers, Move("other"))
    (dead,) = settles.written
    assert (dead.exchange, dead.message.body) == ("q.dead", BODY)
    assert dead.message.headers["taskqueue-reason"] == "invalid"
    assert dead.message.properties["message_id"] == "mine"
