"""A task that names another queue, where that takes nothing for now: it waits, and holds up no other."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from taskqueue.broker.channel import CONFIRM_DEADLINE
from taskqueue.consume.moves import Moves
from taskqueue.events import Event
from tests.support.broker_model import Broker, Channel, Entry
from tests.support.consumer_model import Process

TARGET = "other.wait.due"
MANY = 30
"""More than the window of the consumer."""


class Scene:
    """A consumer of q that has tasks for another queue, and what it tells."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.broker = Broker()
        self.process = Process(self.broker, self.events.append)

    def receive(self, *queues: str | None) -> None:
        """Have tasks handed out, each for one of the queues."""
        for number, queue in enumerate(queues):
            body = {"url": "/x", "queue": queue} if queue else {"url": "/x"}
            entry = Entry(json.dumps(body).encode(), {}, {"message_id": f"{queue}-{number}"})
            self.broker.places["q"].append(entry)
            assert self.process.channel.receive, "it takes no tasks any more"
            self.process.channel.deliver(0)
            self.broker.pump()

    def arrive(self) -> None:
        """Have all that waits come to the work queue, when it is due, and be handed out."""
        self.broker.now += 4000
        while self.broker.places["q.wait"]:
            self.broker.walk(0)
            self.process.channel.deliver(0)
            self.broker.pump()

    def answer(self, refuse: Callable[[Scene, Channel], None] | None = None) -> None:
        """Confirm all that is published, but what is for the other queue where it is to be refused."""
        while publishing := self.broker.publishing:
            channel = publishing[0]
            sent = next(iter(channel.sent.values()))
            if refuse is not None and sent.exchange == TARGET:
                refuse(self, channel)
            else:
                channel.confirm(0, multiple=False)
            self.broker.pump()

    def never_answer(self, _channel: Channel) -> None:
        """Let the deadline of confirms pass."""
        self.broker.now += CONFIRM_DEADLINE + 1
        sweeps, self.process.sweeps = self.process.sweeps, {}
        for sweep in sweeps.values():
            sweep()

    def told(self) -> list[tuple[str, str | None]]:
        """Take what was told since the last look."""
        told, self.events[:] = [(each.event, each.reason) for each in self.events], []
        return told


def full(_: Scene, channel: Channel) -> None:
    """Refuse by a nack."""
    channel.refuse(0)


REFUSALS: dict[str, Callable[[Scene, Channel], None] | None] = {
    "the user may not": None,
    "it is full": full,
    "it has no leader": Scene.never_answer,
}


@pytest.mark.parametrize("why", REFUSALS)
def test_what_can_not_be_moved_waits_on_the_ladder_and_holds_up_no_other(why: str) -> None:
    """Untouched, unrun, and for as long as it takes; that it is moved is told once it is."""
    scene = Scene()
    refuse = REFUSALS[why]
    scene.broker.denied = {TARGET} if refuse is None else set()
    for _ in range(MANY):
        scene.receive("other")
        scene.answer(refuse)
        assert not scene.process.channel.out
    assert set(scene.told()) == {("postponed", "refused")}
    waiting = scene.broker.places["q.wait"]
    assert len(waiting) == MANY
    assert {(each.body, each.headers["taskqueue-runs"]) for each in waiting} == {
        (b'{"url": "/x", "queue": "other"}', 0)
    }
    scene.receive(None)
    assert scene.process.begin() is not None
    scene.broker.denied = set()
    scene.arrive()
    assert scene.told() == []
    while scene.broker.places["q.wait"] or scene.broker.publishing:
        scene.answer()
        scene.arrive()
    moved = scene.broker.places["other"]
    assert len(moved) == MANY
    assert [told for told in scene.told() if told[0] == "moved"] == [("moved", None)] * MANY
    assert not any("taskqueue-refusals" in each.headers for each in moved)
    assert scene.broker.places["q.dead"] == []


def test_one_move_at_a_time_is_tried_at_a_queue_that_refuses() -> None:
    """The others go to the ladder at once; the waits of each task grow with its own refusals."""
    scene = Scene()
    tried = 0

    def refuse(_: Scene, channel: Channel) -> None:
        nonlocal tried
        tried += 1
        channel.refuse(0)

    for _ in range(MANY):
        scene.receive("other")
        scene.answer(refuse)
    assert tried == 1
    scene.arrive()
    scene.answer(refuse)
    assert tried == 2
    assert [each.headers["taskqueue-refusals"] for each in scene.broker.places["q.wait"]] == [2] * MANY
    first = scene.broker.places["q.wait"][0].headers["taskqueue-due"] - scene.broker.now * 1000
    assert first == pytest.approx(2000, abs=100)


def test_a_move_to_a_queue_that_is_not_declared_is_dead() -> None:
    """Nobody would mend that by waiting."""
    scene = Scene()
    scene.receive("gone")
    scene.answer()
    assert [each.headers["taskqueue-reason"] for each in scene.broker.places["q.dead"]] == ["unknown_queue"]
    assert scene.told() == [("dead", "unknown_queue")]


def test_a_queue_that_refuses_is_told_once_until_it_takes_tasks_again(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """And tried 1, 2, 4 … 30 s apart."""
    now = 0.0
    moves = Moves("q", lambda: now)
    assert moves.may_try("other")
    moves.refused("other", "it is full")
    tries = []
    for tick in range(1000):
        now = tick / 10
        if moves.may_try("other"):
            tries.append(now)
            moves.refused("other", "it is full")
    assert [round(each) for each in tries] == [1, 3, 7, 15, 31, 61, 91]
    assert moves.may_try("third")
    moves.taken("other")
    moves.taken("other")
    assert moves.may_try("other")
    first, last = (record.getMessage() for record in caplog.records)
    assert "other can't be moved there (it is full)" in first
    assert "other takes tasks again" in last
