"""From what becomes of the tasks of one queue to the events that tell of it."""

from __future__ import annotations

from collections.abc import Callable

from taskqueue import events
from taskqueue.broker.channel import Delivery
from taskqueue.events import Event, Events
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import INVALID, Again, Dead, Done, Move
from taskqueue.task.decode import Task
from taskqueue.task.fields import joined
from taskqueue.task.result import Result
from taskqueue.task.settle import roll_back_id

PER_HOST, SHORTAGE, RATE, MAX_CONCURRENCY = "per_host", "shortage", "rate", "max_concurrency"
"""Why a task is postponed: its host has enough requests, this machine is short of something, or a rate."""
_VOID = "its channel was closed meanwhile: the broker hands it out again"


class Telling:
    """Makes the events of one queue; `clock` gives the seconds since the epoch."""

    def __init__(self, queue: QueueSettings, to: Events, *, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._events = to
        self._clock = clock

    def settled(
        self,
        delivery: Delivery,
        task: Task | None,
        decision: Done | Again | Dead | Move,
        result: Result | None,
    ) -> None:
        """Tell what becomes of a delivery; `task` is None where it is none, `result` where none was run."""
        match decision:
            case Done(following) if task is not None and self._events.hears(events.DONE):
                self._tell(events.DONE, task, task.runs + 1, result)
                for each in following:
                    self._events.tell(Event(events.SENT, self._queue.name, each.id))
            case Again() if task is not None:
                self._again(task, decision, result)
            case Move(target) if task is not None:
                self._tell(events.MOVED, task, task.runs, to=target)
            case Dead():
                self._dead(delivery, task, decision, result)

    def void(self, task: Task, result: Result) -> None:
        """Tell of an attempt whose delivery can't be settled any more."""
        if result.busy is None:
            self._tell(events.VOID, task, task.runs + 1, result, error=_VOID)

    def _again(self, task: Task, decision: Again, result: Result | None) -> None:
        due = decision.due / 1000
        if result is not None and result.busy is None:
            self._tell(events.RETRIED, task, decision.runs, result, next=due, error=decision.error)
        elif result is not None:
            reason = PER_HOST if result.error is None else SHORTAGE
            self._tell(events.POSTPONED, task, task.runs, next=due, reason=reason, error=result.error)
        elif decision.early:
            self._tell(events.WAITING, task, task.runs, next=due)
        elif decision.has_slot and not task.has_slot:
            self._tell(events.POSTPONED, task, task.runs, next=due, reason=RATE)
        elif decision.unpermitted:
            self._tell(events.POSTPONED, task, task.runs, next=due, reason=MAX_CONCURRENCY)

    def _dead(self, delivery: Delivery, task: Task | None, decision: Dead, result: Result | None) -> None:
        reason, error = decision.reason, decision.error
        if task is None:
            name = delivery.message.properties.get("message_id")
            known = None if name is None else str(name)
            self._events.tell(
                Event(events.DEAD, self._queue.name, known, decision.runs, reason=reason, error=error)
            )
            return
        self._tell(events.DEAD, task, decision.runs, result, reason=reason, error=error)
        if task.roll_back is not None and (decision.rolls_back or reason != INVALID):
            url = joined(self._queue.base_url, task.roll_back)
            self._events.tell(
                Event(events.ROLLED_BACK, self._queue.name, roll_back_id(task.id), url=url, reason=reason)
            )

    def _tell(
        self,
        event: str,
        task: Task,
        attempt: int,
        result: Result | None = None,
        *,
        next: float | None = None,  # noqa: A002 the name of the key
        to: str | None = None,
        reason: str | None = None,
        error: str | None = None,
    ) -> None:
        made = result is not None and result.busy is None and not result.invalid
        seconds = result.seconds if result is not None and made else None
        self._events.tell(
            Event(
                event,
                self._queue.name,
                task.id,
                attempt,
                joined(self._queue.base_url, task.url),
                None if result is None else result.status,
                seconds,
                # When it began follows from when it ended: it may have waited for a thread before.
                None if seconds is None else max(0.0, self._clock() - seconds - task.due / 1000),
                next,
                to,
                reason,
                error,
                task.traceparent,
            )
        )
