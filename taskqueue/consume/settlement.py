"""Publishes the successors of one delivery: the step between a decision and its ack."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Protocol

from taskqueue.broker.channel import Delivery, Outcome
from taskqueue.broker.link import Link
from taskqueue.broker.replies import NOT_FOUND
from taskqueue.broker.wire import lighter
from taskqueue.task.decide import INVALID, UNKNOWN_QUEUE, Again, Dead, Done, Move
from taskqueue.task.decode import Task
from taskqueue.task.message import Publish
from taskqueue.task.settle import slimmer
from taskqueue.tries import Backoff

log = logging.getLogger(__name__)

_RETRY = 1.0
_LONGEST_RETRY = 30.0
_ADVICE = {
    Outcome.RETURNED: "run 'taskqueue declare' to create what is missing",
    Outcome.UNFIT: "look for what is odd in its name or its queue's",
    Outcome.TOO_LARGE: "raise frame_max at the broker",
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
        self._refused = False
        self._backoff = Backoff(_RETRY, _LONGEST_RETRY)

    def start(self) -> None:
        """Publish the first successor; the others follow as each is confirmed."""
        self._link.outbox.publish(
            self._delivery.channel, self._waiting[0], self._published, alone=self._refused
        )

    def _published(self, outcome: Outcome, code: int, reason: str) -> None:
        if code == NOT_FOUND and isinstance(self._decision, Move):
            error = f"queue: {self._decision.queue!a} is in taskqueue.ini, and not declared: {reason}"
            self._instead(self._delivery, Dead(UNKNOWN_QUEUE, error, self._task.runs if self._task else 0))
        elif outcome is Outcome.LOST and self._delivery.channel.is_open:
            # The outbox has told why. The task has run, so it is held until the broker takes what follows.
            self._refused = code != 0
            self._link.later(self._backoff.next(), self.start)
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
            case Outcome.TOO_LARGE | Outcome.UNFIT:
                self._lighten(outcome)
            case _:
                self._again(outcome)

    def _lighten(self, outcome: Outcome) -> None:
        """Publish with less in its headers; a task that could run with them only is dead."""
        publish, received = self._waiting[0], self._delivery.message
        # A task that is to run again, or elsewhere, would not be the same one without its headers.
        theirs = isinstance(self._decision, Again | Move)
        frame_max = self._delivery.channel.connection.params.frame_max
        room = frame_max // 4 if outcome is Outcome.TOO_LARGE else frame_max // 2
        slim = slimmer(publish, keeps_theirs=theirs) if outcome is Outcome.TOO_LARGE else None
        if slim is None and not theirs:
            slim = replace(publish, message=lighter(publish.message, room))
        if slim is None:
            again = self._decision if isinstance(self._decision, Again) else None
            runs = again.runs if again else self._task.runs if self._task else 0
            # What was for another queue has its roll_back there, perhaps at another URL.
            dead = Dead(INVALID, f"headers: {outcome.value}", runs, rolls_back=again is not None)
            self._instead(replace(self._delivery, message=lighter(received, room)), dead)
        elif slim != publish:
            self._waiting[0] = slim
            self.start()
        else:
            self._again(outcome)

    def _instead(self, delivery: Delivery, decision: Dead) -> None:
        self._settler.instead(delivery, self._task, decision)

    def _again(self, outcome: Outcome) -> None:
        delay = self._backoff.next()
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
