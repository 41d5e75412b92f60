"""Publishes the successors of one delivery: the step between a decision and its ack."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.outcome import Outcome
from taskqueue.broker.replies import ACCESS_REFUSED, NOT_FOUND
from taskqueue.broker.wire import lighter
from taskqueue.consume.held import Address, Held
from taskqueue.events import Event
from taskqueue.task.decide import INVALID, UNKNOWN_QUEUE, Again, Dead, Done, Home, Move
from taskqueue.task.decode import Task
from taskqueue.task.message import Publish
from taskqueue.task.result import Result
from taskqueue.task.settle import slimmer

_OF_ALL = frozenset({ACCESS_REFUSED, NOT_FOUND})
"""Codes by which an exchange is refused, and not a message."""
_NOT_TAKEN = frozenset({Outcome.LOST, Outcome.NACKED})
_LONGEST = 20 * 60.0
"""Seconds for which a delivery is held: less than consumer_timeout, which would cost what runs beside it."""
_ADVICE = {
    Outcome.RETURNED: "run 'taskqueue declare' to create what is missing",
    Outcome.UNFIT: "look for what is odd in its name or its queue's",
    Outcome.TOO_LARGE: "raise frame_max at the broker",
    Outcome.NACKED: "look for a policy that bounds the queue, and for nodes that are down",
}


class Settler(Protocol):
    """Who is told how a settlement ended: by exactly one of `settled`, `lost`, `unmoved`, `instead`, once."""

    def confirmed(self, event: Event) -> None:
        """A successor is confirmed: this has happened."""

    def settled(self, settlement: Settlement) -> None:
        """Every successor is confirmed: the delivery may be acked."""

    def refused(self, settlement: Settlement) -> None:
        """It is held, as the broker refuses its next successor; this may be called many times."""

    def lost(self, settlement: Settlement) -> None:
        """The channel is gone, so the delivery can't be acked any more."""

    def unmoved(self, settlement: Settlement, why: str) -> None:
        """The queue that its task is to be moved to does not take it for now."""

    def instead(self, settlement: Settlement, delivery: Delivery, task: Task | None, decision: Dead) -> None:
        """The delivery can't be settled as decided; this is the decision to settle instead."""


class Settlement:
    """Publishes the successors of one delivery, which is acked when the last of them is confirmed.

    `events` are what is told once each of them is; None tells nothing.
    """

    def __init__(
        self,
        settler: Settler,
        held: Held[Settlement],
        *,
        link: Link,
        delivery: Delivery,
        task: Task | None,
        decision: Done | Again | Dead | Move | Home,
        publishes: tuple[Publish, ...],
        events: Sequence[Event | None] = (),
        result: Result | None = None,
    ) -> None:
        self.delivery = delivery
        self.task = task
        self.decision = decision
        self.result = result
        """That of the attempt that was decided on, None where none was made."""
        self._settler = settler
        self._held = held
        self._link = link
        self._waiting = list(publishes)
        self._events = list(events)
        self._alone = False
        self._since = link.monotonic()

    @property
    def address(self) -> Address:
        """Where its next successor is to go."""
        publish = self._waiting[0]
        return publish.exchange, publish.routing_keys[0]

    @property
    def has_run(self) -> bool:
        """A request was made, and is made again where this is not settled."""
        return self.result is not None and self.result.made

    @property
    def overdue(self) -> bool:
        """Its delivery must not stay unacked any longer."""
        return self._link.monotonic() - self._since > _LONGEST

    @property
    def orphaned(self) -> bool:
        """Its delivery can't be acked any more."""
        return self.delivery.lost

    def start(self) -> None:
        """Publish the first successor, or wait behind those that are refused; the others follow it."""
        if self._held.joins(self):
            self._settler.refused(self)
        else:
            self.publish()

    def publish(self) -> None:
        """Publish the first successor, whoever waits."""
        self._link.outbox.publish(self.delivery.channel, self._waiting[0], self._published, alone=self._alone)

    def resume(self, delivery: Delivery) -> None:
        """Go on where it has ended as lost, for the same message, which the broker has handed out again."""
        self.delivery = delivery
        self._since = self._link.monotonic()
        if self._waiting:
            self.start()
        else:
            self._settler.settled(self)

    def _published(self, outcome: Outcome, code: int, reason: str) -> None:
        if code == NOT_FOUND and isinstance(self.decision, Move):
            error = f"queue: {self.decision.queue!a} is in taskqueue.ini, and not declared: {reason}"
            self._instead(self.delivery, Dead(UNKNOWN_QUEUE, error, self.task.runs if self.task else 0))
        elif isinstance(self.decision, Move) and not self.orphaned and outcome in _NOT_TAKEN:
            self._held.ended(self)
            self._settler.unmoved(self, reason or outcome.value)
        elif outcome is Outcome.LOST and not self.orphaned:
            # The outbox has told why. The task has run, so it is held until the broker takes what follows.
            self._alone = code != 0 and code not in _OF_ALL
            self._hold("")
        else:
            self._ended(outcome)

    def _hold(self, why: str) -> None:
        self._settler.refused(self)
        self._held.add(self, why)

    def _ended(self, outcome: Outcome) -> None:
        match outcome:
            case Outcome.CONFIRMED:
                address = self.address
                del self._waiting[0]
                if self._events and (event := self._events.pop(0)) is not None:
                    self._settler.confirmed(event)
                self._held.taken(address)
                if self._waiting:
                    self.start()
                else:
                    self._settler.settled(self)
            case Outcome.LOST:
                self._held.ended(self)
                self._settler.lost(self)
            case Outcome.RETURNED if isinstance(self.decision, Move):
                error = f"queue: {self.decision.queue!a} is in taskqueue.ini and not declared"
                self._instead(self.delivery, Dead(UNKNOWN_QUEUE, error, self.task.runs if self.task else 0))
            case Outcome.RETURNED if isinstance(self.decision, Home):
                error = (
                    f"it is for {self.decision.wake!a}, and no way leads there; where there are schedules, "
                    "run 'taskqueue declare': it makes the way, and sends another wake-up"
                )
                self._instead(self.delivery, Dead(INVALID, error, 0))
            case Outcome.TOO_LARGE | Outcome.UNFIT:
                self._lighten(outcome)
            case _:
                self._refused(outcome)

    def _refused(self, outcome: Outcome) -> None:
        to, advice = self.address[0] or self.address[1], _ADVICE[outcome]
        self._hold(f"a task could not be published to {to} ({outcome.value}): {advice}")

    def _lighten(self, outcome: Outcome) -> None:
        """Publish with less in its headers; a task that could run with them only is dead."""
        publish, received = self._waiting[0], self.delivery.message
        # A task that is to run again, or elsewhere, would not be the same one without its headers.
        theirs = isinstance(self.decision, Again | Move)
        frame_max = self.delivery.channel.connection.params.frame_max
        room = frame_max // 4 if outcome is Outcome.TOO_LARGE else frame_max // 2
        slim = slimmer(publish, keeps_theirs=theirs) if outcome is Outcome.TOO_LARGE else None
        if slim is None and not theirs:
            slim = replace(publish, message=lighter(publish.message, room))
        if slim is None:
            again = self.decision if isinstance(self.decision, Again) else None
            runs = again.runs if again else self.task.runs if self.task else 0
            # What was for another queue has its roll_back there, perhaps at another URL.
            dead = Dead(INVALID, f"headers: {outcome.value}", runs, rolls_back=again is not None)
            self._instead(replace(self.delivery, message=lighter(received, room)), dead)
        elif slim != publish:
            self._waiting[0] = slim
            self.publish()
        else:
            self._refused(outcome)

    def _instead(self, delivery: Delivery, decision: Dead) -> None:
        self._held.ended(self)
        self._settler.instead(self, delivery, self.task, decision)
