"""Histories: whatever happens in whatever order, an ack comes last and no task is lost.

The consumer of one queue is the real one, down to the channel: receipt, isolation, decisions, successors,
confirms, settlements and acks. Only its threads are not started; the broker is a model of what it promises.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Collection, Iterator
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskqueue.broker.channel import CONFIRM_DEADLINE
from taskqueue.consume.outcomes import KEPT
from taskqueue.task.result import Following, Result
from tests.support.broker_model import FORMER, OF, PRESENT, TRUE, Broker, Channel, Entry, take
from tests.support.consumer_model import LIMIT, Process

PICK = st.integers(0, 99)


class Histories(RuleBasedStateMachine):
    """A broker, a consumer, a receiver, and all that may go wrong between them."""

    def __init__(self) -> None:
        super().__init__()
        # What it says is not looked at here, and it takes most of the time.
        logging.disable(logging.CRITICAL)
        self.broker = Broker()
        self.succeeded: set[str] = set()
        self.followed: set[str] = set()
        self.promised: set[str] = set()
        self.known: dict[tuple[str, int], float] = {}
        """When this consumer got what is to follow from an attempt whose message was out then."""
        self.process = Process(self.broker)

    def teardown(self) -> None:
        """Give the log back."""
        logging.disable(logging.NOTSET)

    @initialize(count=st.integers(2, 5))
    def begin_with(self, count: int) -> None:
        """Some plain tasks."""
        for _ in range(count):
            self.send(0, None, "/x", roll_back=True)

    # --- what the world does

    @rule(
        countdown=st.sampled_from((0, 0, 25.3)),
        queue=st.sampled_from((None, None, "q", "other", "gone", "nowhere")),
        url=st.sampled_from(("/x", "/follow")),
        roll_back=st.booleans(),
    )
    def send(self, countdown: float, queue: str | None, url: str, *, roll_back: bool) -> None:
        """A confirmed task of any program."""
        body: dict[str, Any] = {"url": url, "countdown": countdown, "max_retries": 2}
        if queue is not None:
            body["queue"] = queue
        if roll_back:
            body["roll_back"] = "/undo"
        self._send(f"task-{len(self.promised)}", json.dumps(body).encode())

    @rule()
    def send_rubbish(self) -> None:
        """A message that is no task."""
        self._send(f"rubbish-{len(self.promised)}", b"{")

    def _send(self, name: str, body: bytes) -> None:
        self.broker.places["q"].append(Entry(body, {}, {"message_id": name}))
        self.promised.add(name)

    @precondition(lambda self: self.broker.places["q.wait"])
    @rule(pick=PICK, seconds=st.sampled_from((0.0, 5.0, 4000.0)))
    def walk(self, pick: int, seconds: float) -> None:
        """A waiting task arrives, perhaps early."""
        self.broker.now += seconds
        self.broker.walk(pick)

    @rule(there=st.booleans())
    def declare(self, *, there: bool) -> None:
        """The ladder is another one from now on, or the consumer's own again; what waits goes on waiting."""
        self.broker.routing = PRESENT if there else FORMER

    @rule(
        exchange=st.sampled_from(("q.wait", "q.wait.due", "q.dead", "other.wait.due")), allowed=st.booleans()
    )
    def permit(self, exchange: str, *, allowed: bool) -> None:
        """The consumer may not write to an exchange any more, or may again."""
        (self.broker.denied.discard if allowed else self.broker.denied.add)(exchange)

    @precondition(lambda self: self.broker.places["q"] and self.process.channel.receive)
    @rule(picks=st.lists(PICK, min_size=1, max_size=4), begin=st.booleans())
    def deliver(self, picks: list[int], *, begin: bool) -> None:
        """The broker hands some messages out, and workers may take them up."""
        ours = self.process.channel
        for pick in picks:
            if self.broker.places["q"] and ours.receive:
                ours.deliver(pick)
        self.broker.pump()
        if begin:
            self.begin(2)

    @rule(count=st.integers(1, 2))
    def begin(self, count: int) -> None:
        """Workers take up what is due."""
        for _ in range(count):
            attempt = self.process.begin()
            if attempt is None or not self.process.has(attempt):
                return
            out = self.process.out
            entry = out[attempt.delivery.tag]
            known = self.known.get((attempt.task.id, attempt.task.runs), float("-inf"))
            assert self.broker.now - known > KEPT, "it runs again although what came of it is known"
            assert entry.deaths < LIMIT, "it runs again although it has ended its process too often"
            counted = max(entry.deaths, entry.count + entry.headers.get("taskqueue-crashes", 0))
            assert counted < max(1, LIMIT // 2) or len(out) == 1 or self.process.isolation.hastened, (
                "what may end the process runs beside others"
            )

    @precondition(lambda self: self.process.running)
    @rule(pick=PICK, status=st.sampled_from((200, 200, 500, None)))
    def answer(self, pick: int, status: int | None) -> None:
        """A receiver answers, or the attempt fails otherwise."""
        attempt = take(self.process.running, pick)
        task = attempt.task
        following: tuple[Following, ...] = ()
        if status == 200:
            self.succeeded.add(task.id)
            if task.url == "/follow":
                self.followed.add(task.id)
                following = (Following(f"{task.id}.next", b'{"url": "/next"}'),)
        if (status != 200 or following) and self.process.has(attempt):
            self.known[task.id, task.runs] = self.broker.now
        result = Result(status, None if status else "cut", None, 0.1, following=following)
        self.process.finished(attempt, result)
        self.broker.pump()

    @precondition(lambda self: self.broker.publishing)
    @rule(pick=PICK, multiple=st.booleans())
    def confirm(self, pick: int, *, multiple: bool) -> None:
        """The broker has a successor, and says so."""
        self._publishing(pick).confirm(pick, multiple=multiple)
        self.broker.pump()

    @precondition(lambda self: self.broker.publishing)
    @rule(pick=PICK, returned=st.booleans())
    def refuse(self, pick: int, *, returned: bool) -> None:
        """The broker has it not, and says so."""
        ours = self._publishing(pick)
        (ours.give_back if returned else ours.refuse)(pick)
        self.broker.pump()

    def _publishing(self, pick: int) -> Channel:
        return self.broker.publishing[pick % len(self.broker.publishing)]

    @precondition(lambda self: self.broker.publishing and self.process.sweeps)
    @rule()
    def never_confirm(self) -> None:
        """A confirm does not come in time, and the message is nowhere."""
        if self.process.channel.sent:
            self._count_deaths()
        self.broker.now += CONFIRM_DEADLINE + 1
        sweeps, self.process.sweeps = self.process.sweeps, {}
        for sweep in sweeps.values():
            sweep()
        self.broker.pump()

    @precondition(lambda self: self.process.channel.cancelled)
    @rule()
    def cancel(self) -> None:
        """The broker delivers no more, as it was asked to."""
        ours = self.process.channel
        cancelled, ours.cancelled, ours.receive = ours.cancelled, None, None
        assert cancelled is not None
        cancelled()
        self.broker.pump()

    @precondition(lambda self: self.process.timers)
    @rule()
    def wait(self) -> None:
        """Time passes until the next thing that was put off."""
        self.process.fire()
        self.broker.pump()

    @rule()
    def calm(self) -> None:
        """The broker does all that it is asked for, at once."""
        for _ in range(40):
            ours = self.process.channel
            if ours.cancelled:
                self.cancel()
            elif self.broker.publishing:
                self.confirm(0, multiple=False)
            elif any(at < self.broker.now + 20 for at, _, _ in self.process.timers):
                self.wait()
            else:
                break
        consumer = self.process.subscription
        assert not (consumer.idle and not self.process.isolation.is_open), "it takes no tasks any more"
        assert not (consumer.idle and not self.process.timers and self.process.out), "forgotten"
        soon = any(at < self.broker.now + 20 for at, _, _ in self.process.timers)
        goes_on = consumer.idle and not soon and not consumer.attempts.stopping
        assert not goes_on or self.process.channel.receive, "it consumes no more"

    @precondition(lambda self: self.broker.places["q"] and self.process.channel.receive)
    @rule(taken=PICK)
    def poison(self, taken: int) -> None:
        """What has most often ended its process does it again."""
        queue = self.broker.places["q"]
        self.process.channel.deliver(queue.index(max(queue, key=lambda entry: entry.deaths)))
        self.broker.pump()
        self.calm()
        self.begin(1)
        self.crash(taken)

    @rule(hoards=st.booleans())
    def change_the_window(self, *, hoards: bool) -> None:
        """Receivers are quicker or slower than they were, maybe so slow that what has not begun goes back."""
        self.process.subscription._deliveries._consume_anew()
        if hoards:
            self.process.subscription._hoarding()
        self.broker.pump()

    @rule(taken=PICK, former=st.booleans())
    def lose_the_channel(self, taken: int, *, former: bool) -> None:
        """Some publishes had reached the broker and their confirms had not come; the consumer lives."""
        consuming = [channel for channel in self.broker.channels if channel.consumes and channel.is_open]
        if consuming:
            lost = consuming[0] if former else consuming[-1]
            self._count_deaths(lost.out)
            lost.lose(541, "lost", taken=taken)
        self.broker.pump()

    @precondition(lambda self: self.process.out)
    @rule(seconds=st.sampled_from((0.0, 1800.0)))
    def outlast(self, seconds: float) -> None:
        """What is out for the longest time is out for longer than the broker allows."""
        self.broker.now += seconds
        eldest = min(self.process.out)
        ours = next(channel for channel in self.broker.channels if eldest in channel.out)
        self._count_deaths(ours.out if ours.ends else {eldest})
        ours.time_out()
        self.broker.pump()

    @rule(taken=PICK)
    def lose_the_connection(self, taken: int) -> None:
        """The broker closes it and says why, and the next one is there at once."""
        self._count_deaths()
        self.broker.cut(taken, told=True)
        self.broker.pump()
        self.process.disconnected("CONNECTION_FORCED")
        self.broker.is_open = True
        self.process.connected()

    @rule(taken=PICK)
    def stop(self, taken: int) -> None:
        """The consumer is told to end, and has no time for what runs; another one starts."""
        self.process.subscription.stop()
        self.broker.pump()
        self.calm()
        self.crash(taken)

    @rule(taken=PICK)
    def crash(self, taken: int) -> None:
        """The consumer dies, and another one starts."""
        self._count_deaths()
        self.process.alive = False
        self.broker.cut(taken, told=False)
        self.broker.calls.clear()
        self.broker.is_open = True
        self.known.clear()
        self.process = Process(self.broker)

    def _count_deaths(self, tags: Collection[int] | None = None) -> None:
        out = self.process.out
        for attempt in self.process.running:
            tag = attempt.delivery.tag
            if tag in (out if tags is None else tags):
                entry = out[tag]
                entry.headers |= {TRUE: entry.deaths + 1, OF: entry.id}

    # --- what holds

    @invariant()
    def nothing_is_lost(self) -> None:
        """Each task that anybody may count on is somewhere, or has run with success."""
        there = {entry.id for entry in self.broker.everywhere()} | self.succeeded
        assert self.promised <= there
        still = {entry.id for entry in self.broker.everywhere()}
        assert all(name in still or f"{name}.next" in there for name in self.followed), "not followed"

    @invariant()
    def what_is_dead_is_rolled_back(self) -> None:
        """Once nothing but the dead message is left, its roll_back is there."""
        alive = {entry.id for entry in self._alive()}
        there = {entry.id for entry in self.broker.everywhere()} | self.succeeded
        for entry in self.broker.places["q.dead"]:
            wanted = b'"roll_back"' in entry.body and entry.headers["taskqueue-reason"] != "invalid"
            assert not wanted or entry.id in alive or f"{entry.id}.roll_back" in there, "not rolled back"

    @invariant()
    def what_ends_processes_stays_known(self) -> None:
        """What a task can tell of its past is never less than what it has done."""
        for entry in self._alive():
            told = entry.count + entry.headers.get("taskqueue-crashes", 0)
            assert told >= entry.deaths, "its past was forgotten"

    @invariant()
    def nobody_else_appears(self) -> None:
        """What is somewhere was sent, or follows from what was, by a name of its own."""
        for entry in self.broker.everywhere():
            name = entry.id
            while name.endswith((".next", ".roll_back")):
                name = name.rpartition(".")[0]
            assert name in self.promised, f"{entry.id} was never sent"

    def _alive(self) -> list[Entry]:
        dead = {id(entry) for entry in self.broker.places["q.dead"]}
        return [entry for entry in self.broker.everywhere() if id(entry) not in dead]


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=120, stateful_step_count=40, deadline=None)


def test_a_task_whose_ladder_is_gone_is_sent_round_again_but_not_at_once() -> None:
    """It is kept for a moment each time, and never forgotten."""
    histories = Histories()
    try:
        broker, process = histories.broker, histories.process
        histories.declare(there=False)
        histories.send(25.3, None, "/x", roll_back=False)
        for moment in range(3):
            histories.deliver([0], begin=True)
            assert (len(broker.publishing), len(process.timers)) == ((0, 1) if moment else (1, 0))
            if moment:
                histories.wait()
            histories.confirm(0, multiple=False)
            assert len(broker.places["q"]) == 1
        histories.declare(there=True)
        histories.deliver([0], begin=True)
        histories.wait()
        histories.confirm(0, multiple=False)
        assert broker.places["q.wait"][0].rungs == ("q.wait.20s", "q.wait.2s", "q.wait.0.3s")
    finally:
        histories.teardown()


@pytest.fixture
def histories() -> Iterator[Histories]:
    """Give a history that a test tells by itself, with one task and nothing that follows from others."""
    histories = Histories()
    histories.send(0, None, "/x", roll_back=False)
    yield histories
    histories.teardown()


def test_what_is_under_way_when_the_channel_is_lost_settles_the_next_delivery(histories: Histories) -> None:
    """The task comes again before the confirm of its retry: it neither runs again nor is there twice."""
    broker, process = histories.broker, histories.process
    histories.deliver([0], begin=True)
    histories.answer(0, 500)
    assert broker.publishing
    process.channel.lose(406, "timed out")
    broker.pump()
    histories.wait()
    histories.deliver([0], begin=True)
    histories.confirm(0, multiple=False)
    assert not process.channel.out
    assert len(broker.everywhere()) == 1
    assert process.subscription.idle


@pytest.mark.parametrize("confirmed", [False, True])
def test_what_was_settled_or_held_when_the_channel_was_lost_does_not_run_again(
    histories: Histories, *, confirmed: bool
) -> None:
    """Its retry goes out once, whether the broker takes it before the task comes again, or after."""
    broker, process = histories.broker, histories.process
    if not confirmed:
        histories.permit("q.wait", allowed=False)
    histories.deliver([0], begin=True)
    histories.answer(0, 500)
    process.channel.lose(406, "timed out")
    if confirmed:
        histories.confirm(0, multiple=False)
    broker.pump()
    # Without the right nothing is handed out.
    histories.permit("q.wait", allowed=True)
    histories.wait()
    while not process.channel.receive:
        histories.wait()
    histories.deliver([0], begin=True)
    histories.calm()
    assert not process.channel.out
    assert len(broker.everywhere()) == 1
    assert process.subscription.idle
