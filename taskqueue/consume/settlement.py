"""Publishes the successors of one delivery: the step between a decision and its ack."""

from __future__ import annotations

import logging
import uuid
from dataclasses import replace
from typing import Protocol

from taskqueue.broker.channel import Outcome
from taskqueue.broker.link import Link
from taskqueue.broker.trial import Trial
from taskqueue.consume.workers import Delivery
from taskqueue.task.decide import INVALID, UNKNOWN_QUEUE, Again, Dead, Done, Move
from taskqueue.task.decode import Task
from taskqueue.task.message import Message, Publish

log = logging.getLogger(__name__)

_RETRY = 1.0
_LONGEST_RETRY = 30.0
_ADVICE = {
    Outcome.RETURNED: "run 'taskqueue declare' to create what is missing",
    Outcome.NACKED: "look for a policy that bounds the queue, and for nodes that are down",
}


class Settler(Protocol):
    """Who is told how a settlement ended: exactly one of the three methods is called, exactly once."""

    def settled(self, delivery: Delivery) -> None:
        """Every successor is confirmed: the delivery may be acked."""

    def lost(self) -> None:
        """The channel is gone, so the delivery can't be acked any more."""

    def instead(self, delivery: Delivery, task: Task | None, decision: Dead) -> None:
        """The delivery can't be settled as decided; this is the decision to settle instead."""


class Settlement:
    """Publishes the successors of one delivery, which is acked when the last of them is confirmed."""

    def __init__(
        self,
        settler: Settler,
        *,
        name: str,
        link: Link,
        delivery: Delivery,
        task: Task | None,
        decision: Done | Again | Dead | Move,
        publishes: tuple[Publish, ...],
    ) -> None:
        self._settler = settler
        self._name = name
        self._link = link
        self._delivery = delivery
        self._task = task
        self._decision = decision
        self._waiting = list(publishes)
        self._failures = 0

    def start(self) -> None:
        """Publish the first successor; the others follow as each is confirmed."""
        publish = self._waiting[0]
        channel = self._delivery.channel
        if isinstance(self._decision, Move) and channel.is_open:
            # Another queue's exchange may be missing or forbidden. That must not cost this queue its channel.
            Trial(self._link, channel.connection, publish, self._moved)
        else:
            channel.publish(publish, self._ended)

    def _moved(self, outcome: Outcome, code: int, reason: str) -> None:
        if code and isinstance(self._decision, Move):
            error = f"queue: {self._decision.queue!a} is in taskqueue.ini, and refused: {reason}"
            self._instead(self._delivery, Dead(UNKNOWN_QUEUE, error, self._task.runs if self._task else 0))
        elif outcome is Outcome.LOST and self._delivery.channel.is_open:
            self._link.later(_RETRY, self.start)
        else:
            self._ended(outcome)

    def _ended(self, outcome: Outcome) -> None:
        match outcome:
            case Outcome.CONFIRMED:
                del self._waiting[0]
                if self._waiting:
                    self.start()
                else:
                    self._settler.settled(self._delivery)
            case Outcome.LOST:
                self._settler.lost()
            case Outcome.RETURNED if isinstance(self._decision, Move):
                error = f"queue: {self._decision.queue!a} is in taskqueue.ini and not declared"
                self._instead(
                    self._delivery, Dead(UNKNOWN_QUEUE, error, self._task.runs if self._task else 0)
                )
            case Outcome.UNFIT:
                bare = Message(self._delivery.message.body, {}, {"message_id": uuid.uuid4().hex})
                delivery = replace(self._delivery, message=bare)
                self._instead(delivery, Dead(INVALID, "headers: can't be encoded", 0))
            case _:
                self._again(outcome)

    def _instead(self, delivery: Delivery, decision: Dead) -> None:
        task = None if decision.reason == INVALID else self._task
        self._settler.instead(delivery, task, decision)

    def _again(self, outcome: Outcome) -> None:
        delay = min(_LONGEST_RETRY, _RETRY * 2 ** min(self._failures, 8))
        self._failures += 1
        publish = self._waiting[0]
        log.error(
            "%s: a task could not be published to %s (%s): %s; nothing is lost, next try in %.0f s",
            self._name,
            publish.exchange or publish.routing_keys[0],
            outcome.value,
            _ADVICE[outcome],
            delay,
        )
        self._link.later(delay, self.start)
