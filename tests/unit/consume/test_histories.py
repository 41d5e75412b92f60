"""Histories: whatever happens in whatever order, an ack comes last and no task is lost.

The consumer of one queue is the real one, down to the channel: receipt, isolation, decisions, successors,
confirms, settlements and acks. Only its threads are not started; the broker is a model of what it promises.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any, cast

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskqueue.broker.channel import CONFIRM_DEADLINE, ConfirmChannel
from taskqueue.broker.link import Link
from taskqueue.broker.outbox import Outbox
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.isolation import Isolation
from taskqueue.consume.outcomes import KEPT
from taskqueue.consume.results import LINGER
from taskqueue.consume.subscription import Subscription
from taskqueue.consume.workers import Attempt, Pool, Workers
from taskqueue.events import Events
from taskqueue.request.execute import Executor
from taskqueue.settings import QueueSettings
from taskqueue.task.result import Following, Result
from taskqueue.topology.ladder import Way
from tests.support.broker_model import FORMER, OF, PRESENT, TRUE, Broker, Channel, Entry, take

LIMIT = 2
POLICY = QueueSettings("q", base_url="http://base", delivery_limit=LIMIT, jitter=0, concurrency=2)
KNOWN = ("q", "other", "gone")
"""What the configuration names; the last of them is not declared."""
PICK = st.integers(0, 99)


class NoThreads(Pool):
    """The threads of a process: a test is all of them."""

    def run(self, job: Callable[[], None]) -> None:
        """Do nothing: a test takes what is in the line."""


class Hasty(Isolation):
    """Notes when an attempt may have begun although something else was still held."""

    hastened = False

    def hasten(self, turn: int) -> None:
        """Wait no longer."""
        self.hastened |= not self.is_open
        super().hasten(turn)


class Process:
    """One consumer process: the real subscription, and in place of its link's loop what a test asks for."""

    blocked = False

    def __init__(self, broker: Broker) -> None:
        self.alive = True
        self.broker = broker
        self.timers: list[tuple[float, int, Callable[[], None]]] = []
        self.running: list[Attempt] = []
        self.sweeps: dict[object, Callable[[], None]] = {}
        """The look of each channel for confirms that are overdue."""
        self._made = 0
        self.isolation = Hasty()
        self.outbox = Outbox(cast("Link", self))
        self.subscription = Subscription(
            POLICY, way=Way("q", "q"), known=KNOWN, link=cast("Link", self), owner=self,
            events=Events(), isolation=self.isolation, pace=None, make_line=self.make_line,
            clock=self.monotonic,
        )  # fmt: skip
        self.connected()

    def connected(self) -> None:
        """Be the consumer, with a fresh connection."""
        self.outbox.connected(cast("TolerantConnection", self.broker))
        self.subscription.connected(cast("TolerantConnection", self.broker))
        self.broker.pump()

    def disconnected(self, reason: str) -> None:
        """Be the link, whose connection is gone."""
        self.subscription.disconnected(reason)
        self.outbox.disconnected(reason)

    def make_line(self, queue: QueueSettings, finished: Callable[[Attempt, Result], None]) -> Workers:
        """Be the consumer: a line, and no thread that takes anything from it."""
        self.finished = finished
        self.workers = Workers(Executor(queue), queue.name, queue.concurrency, finished, NoThreads())
        return self.workers

    @property
    def channel(self) -> Channel:
        """The one on which it consumes, or did last."""
        return [channel for channel in self.broker.channels if channel.consumes][-1]

    def has(self, attempt: Attempt) -> bool:
        """Tell whether an attempt's message is out."""
        return attempt.delivery.tag in self.channel.out

    def call(self, function: Callable[[], None]) -> None:
        """Be the link."""
        self.broker.calls.append(lambda: function() if self.alive else None)

    def monotonic(self) -> float:
        """Be every clock."""
        return self.broker.now

    def later(self, seconds: float, function: Callable[[], None]) -> None:
        """Be the link's clock."""
        if seconds <= LINGER:
            self.call(function)
        elif isinstance(of := getattr(function, "__self__", None), ConfirmChannel):
            self.sweeps[of] = function
        else:
            self._made += 1
            self.timers.append((self.broker.now + seconds, self._made, function))

    def fire(self) -> None:
        """Run what is due first."""
        timer = min(self.timers, key=lambda each: each[:2])
        self.timers.remove(timer)
        self.broker.now = max(self.broker.now, timer[0])
        timer[2]()

    def begin(self) -> Attempt | None:
        """Have a worker take the next attempt."""
        attempt = self.workers.take()
        if attempt is not None:
            self.running.append(attempt)
        return attempt

    def missing(self, queue: str, reason: str) -> None:
        """Everything is declared."""
        raise AssertionError(queue, reason)

    def refused(self, reason: str) -> None:
        """Look again later, as a consumer does that is there already."""

    def progressed(self) -> None:
        """Be the consumer."""


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

    @rule(exchange=st.sampled_from(("q.wait", "q.wait.due", "q.dead")), allowed=st.booleans())
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
            out = self.process.channel.out
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
        assert not (consumer.idle and not self.process.timers and self.process.channel.out), "forgotten"
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

    @rule(taken=PICK)
    def lose_the_channel(self, taken: int) -> None:
        """Some publishes had reached the broker and their confirms had not come; the consumer lives."""
        self._count_deaths()
        if self.process.channel.is_open:
            self.process.channel.lose(541, "lost", taken=taken)
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

    def _count_deaths(self) -> None:
        for attempt in self.process.running:
            if self.process.has(attempt):
                entry = self.process.channel.out[attempt.delivery.tag]
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
