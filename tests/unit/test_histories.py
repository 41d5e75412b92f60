"""Histories: whatever happens in whatever order, an ack comes last and no task is lost.

Decisions, successors, settlements and acks are the real ones; the broker is a model of what it promises.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar, cast

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from taskqueue.acks import Acks
from taskqueue.decide import Again, Dead, Done, Move, Run, on_receipt, on_result
from taskqueue.errors import InvalidTask
from taskqueue.execute import Result
from taskqueue.handlers.chain import Following
from taskqueue.link import ConfirmChannel, Link, Outcome
from taskqueue.message import Message, Publish
from taskqueue.settings import QueueSettings
from taskqueue.settle import successors
from taskqueue.settlement import Settlement
from taskqueue.task import Task, decode
from taskqueue.topology.ladder import Ladder
from taskqueue.workers import Delivery

LADDER = Ladder()
POLICY = QueueSettings("q", base_url="http://base", delivery_limit=3, jitter=0)
KNOWN = ("q", "other")
PICK = st.integers(0, 99)
T = TypeVar("T")


@dataclass(eq=False)
class Channel:
    """One channel as the I/O thread sees it: what is published on it, and what was delivered."""

    open: bool = True
    pending: list[tuple[Publish, Callable[[Outcome], None]]] = field(default_factory=list)
    out: dict[int, Message] = field(default_factory=dict)
    acks: Acks = field(default_factory=Acks)
    unconfirmed: dict[int, list[Publish]] = field(default_factory=dict)
    """What stands between each decided delivery and its ack."""
    follows: dict[int, set[str]] = field(default_factory=dict)

    def publish(self, publish: Publish, done: Callable[[Outcome], None]) -> None:
        """Publish, or say at once that it can't be."""
        if self.open:
            self.pending.append((publish, done))
        else:
            done(Outcome.LOST)


class Histories(RuleBasedStateMachine):
    """A broker, a consumer, a receiver, and all that may go wrong between them."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1_700_000_000.0
        self.places: dict[str, list[Message]] = {"q": [], "other": [], "q.wait": [], "q.dead": []}
        self.succeeded: set[str] = set()
        self.promised: set[str] = set()
        self.timers: list[Callable[[], None]] = []
        self.channel = Channel()
        self.attempts: list[tuple[Channel, int, Task]] = []
        self.tags = 0

    @initialize(count=st.integers(2, 5))
    def begin(self, count: int) -> None:
        """Some plain tasks."""
        for _ in range(count):
            self.send(0, None, roll_back=True)

    # --- what the world does

    @rule(
        countdown=st.sampled_from((0, 0, 25.3)),
        queue=st.sampled_from((None, None, "q", "other", "nowhere")),
        roll_back=st.booleans(),
    )
    def send(self, countdown: float, queue: str | None, *, roll_back: bool) -> None:
        """A confirmed task of any program."""
        name = f"task-{len(self.promised)}"
        body: dict[str, Any] = {"url": "/x", "countdown": countdown, "max_retries": 2}
        if queue is not None:
            body["queue"] = queue
        if roll_back:
            body["roll_back"] = "/undo"
        self.places["q"].append(Message(json.dumps(body).encode(), {}, {"message_id": name}))
        self.promised.add(name)

    @rule()
    def send_rubbish(self) -> None:
        """A message that is no task."""
        name = f"rubbish-{len(self.promised)}"
        self.places["q"].append(Message(b"{", {}, {"message_id": name}))
        self.promised.add(name)

    @precondition(lambda self: self.places["q.wait"])
    @rule(pick=PICK, seconds=st.sampled_from((0.0, 5.0, 4000.0)))
    def walk(self, pick: int, seconds: float) -> None:
        """A waiting task arrives, perhaps early."""
        self.now += seconds
        self.places["q"].append(_take(self.places["q.wait"], pick))

    @precondition(lambda self: self.places["q"])
    @rule(picks=st.lists(PICK, min_size=1, max_size=4))
    def deliver(self, picks: list[int]) -> None:
        """The broker hands some messages out."""
        for pick in picks[: len(self.places["q"])]:
            self._deliver(pick)

    def _deliver(self, pick: int) -> None:
        message = _take(self.places["q"], pick)
        self.tags += 1
        self.channel.out[self.tags] = message
        self.channel.acks.delivered(self.tags)
        delivery = Delivery(cast("ConfirmChannel", self.channel), self.tags, message)
        try:
            task = decode(message, now=self.now)
        except InvalidTask as error:
            self._settle(delivery, None, Dead("invalid", str(error), 0))
            return
        count = message.headers.get("x-delivery-count", 0)
        decision = on_receipt(task, POLICY, KNOWN, deliveries=count, now=self.now)
        if isinstance(decision, Run):
            self.attempts.append((self.channel, self.tags, task))
        else:
            self._settle(delivery, task, decision)

    @precondition(lambda self: self.attempts)
    @rule(pick=PICK, status=st.sampled_from((200, 200, 500, None)), follow=st.booleans(), flush=st.booleans())
    def answer(self, pick: int, status: int | None, *, follow: bool, flush: bool) -> None:
        """A receiver answers, or the attempt fails otherwise."""
        channel, tag, task = _take(self.attempts, pick)
        following = (Following(f"{task.id}.next", b'{"url": "/next"}'),) if follow and status == 200 else ()
        result = Result(status, None if status else "cut", None, 0.1, following=following)
        if status == 200:
            self.succeeded.add(task.id)
        if not channel.open:
            return
        decision = on_result(task, result, POLICY, now=self.now, spread=0)
        delivery = Delivery(cast("ConfirmChannel", channel), tag, channel.out[tag])
        self._settle(delivery, task, decision)
        if flush:
            self.flush()

    @precondition(lambda self: self.channel.pending)
    @rule(pick=PICK)
    def confirm(self, pick: int) -> None:
        """The broker has a successor, and says so."""
        publish, done = _take(self.channel.pending, pick)
        self._store(publish)
        for waiting in self.channel.unconfirmed.values():
            waiting[:] = [each for each in waiting if each is not publish]
        done(Outcome.CONFIRMED)

    @precondition(lambda self: self.channel.pending)
    @rule(pick=PICK, outcome=st.sampled_from((Outcome.NACKED, Outcome.RETURNED)))
    def refuse(self, pick: int, outcome: Outcome) -> None:
        """The broker has it not, and says so."""
        _, done = _take(self.channel.pending, pick)
        done(outcome)

    @precondition(lambda self: self.timers)
    @rule(pick=PICK)
    def try_again(self, pick: int) -> None:
        """What was refused is published again."""
        _take(self.timers, pick)()

    @rule()
    def flush(self) -> None:
        """Acks go out, and the broker forgets what they name."""
        channel = self.channel
        for ack in channel.acks.flush():
            tags = [tag for tag in channel.out if tag == ack.tag or (ack.multiple and tag < ack.tag)]
            assert tags, "an ack of what is not out closes the channel"
            for tag in tags:
                assert tag in channel.unconfirmed, "acked before it was decided"
                assert channel.unconfirmed[tag] == [], "acked before its successors were confirmed"
                self.promised |= channel.follows[tag]
                del channel.out[tag]

    @precondition(lambda self: self.channel.out)
    @rule(taken=st.integers(0, 99))
    def lose_the_channel(self, taken: int) -> None:
        """Some publishes had reached the broker and their confirms had not come; the consumer lives."""
        channel = self.channel
        pending = self._cut(taken)
        for _, done in pending:
            done(Outcome.LOST)
        assert not channel.pending

    @precondition(lambda self: self.channel.out)
    @rule(taken=st.integers(0, 99))
    def crash(self, taken: int) -> None:
        """The consumer dies, and another one starts."""
        self._cut(taken)
        self.timers.clear()
        self.attempts.clear()

    # --- what holds

    @invariant()
    def nothing_is_lost(self) -> None:
        """Each task that anybody may count on is somewhere, or has run with success."""
        there = [*self.channel.out.values(), *(each for place in self.places.values() for each in place)]
        assert self.promised <= self.succeeded | {str(each.properties["message_id"]) for each in there}

    # --- as the consumer does

    def settled(self, delivery: Delivery) -> None:
        """Take an ack for due."""
        self.channel.acks.settle(delivery.tag)

    def lost(self) -> None:
        """Do nothing: the broker hands it out again."""

    def instead(self, delivery: Delivery, task: Task | None, decision: Dead) -> None:
        """Settle otherwise."""
        self._settle(delivery, task, decision)

    def later(self, _seconds: float, function: Callable[[], None]) -> None:
        """Be the link's clock."""
        self.timers.append(function)

    def _settle(self, delivery: Delivery, task: Task | None, decision: Done | Again | Dead | Move) -> None:
        publishes = successors(delivery.message, task, decision, queue="q", ladder=LADDER, now=self.now)
        channel = cast("Channel", delivery.channel)
        channel.unconfirmed[delivery.tag] = list(publishes)
        channel.follows[delivery.tag] = {str(each.message.properties["message_id"]) for each in publishes}
        if not publishes:
            self.settled(delivery)
            return
        Settlement(
            self, name="q", link=cast("Link", self), delivery=delivery, task=task, decision=decision,
            publishes=publishes,
        ).start()  # fmt: skip

    # --- as the broker does

    def _store(self, publish: Publish) -> None:
        self.places[publish.exchange or publish.routing_keys[0]].append(publish.message)

    def _cut(self, taken: int) -> list[tuple[Publish, Callable[[Outcome], None]]]:
        channel, self.channel = self.channel, Channel()
        channel.open = False
        pending, channel.pending = channel.pending, []
        for publish, _ in pending[: taken % (len(pending) + 1)]:
            self._store(publish)
        for message in channel.out.values():
            count = message.headers.get("x-delivery-count", 0) + 1
            headers = {**message.headers, "x-delivery-count": count}
            self.places["q"].append(Message(message.body, headers, message.properties))
        return pending


def _take(things: list[T], pick: int) -> T:
    return things.pop(pick % len(things))


TestHistories = Histories.TestCase
TestHistories.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
