"""From what becomes of the tasks of one queue to the events that tell of it."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from taskqueue import events
from taskqueue.broker.delivery import Delivery
from taskqueue.events import Event, Events
from taskqueue.redact import without_login
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Again, Dead, Done, Home, Move
from taskqueue.task.decode import Task
from taskqueue.task.fields import joined
from taskqueue.task.message import Publish
from taskqueue.task.result import Result
from taskqueue.task.settle import roll_back_id

PER_HOST, SHORTAGE, REFUSED = "per_host", "shortage", "refused"
MAX_CONCURRENCY = "max_concurrency"
"""Why a task is postponed: its host has enough requests, this machine is short of something, the
queue that it names does not take it, or as many run at once as may."""
_VOID = "its channel was closed meanwhile: the broker hands it out again"


class Telling:
    """Makes the events of one queue; `clock` gives the seconds since the epoch."""

    def __init__(self, queue: QueueSettings, to: Events, *, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._events = to
        self._clock = clock

    def done(self, task: Task | None, result: Result | None) -> None:
        """Tell of a success."""
        if task is not None and self._events.hears(events.DONE):
            self.tell(self._event(events.DONE, task, task.runs + 1, result))

    def void(self, task: Task, result: Result) -> None:
        """Tell of an attempt whose delivery can't be settled any more."""
        if result.busy is None:
            self.tell(self._event(events.VOID, task, task.runs + 1, result, error=_VOID))

    def tell(self, event: Event) -> None:
        """Tell it, as it has happened."""
        self._events.tell(event)

    def following(
        self,
        delivery: Delivery,
        task: Task | None,
        decision: Done | Again | Dead | Move | Home,
        result: Result | None,
        publishes: Sequence[Publish],
    ) -> list[Event | None]:
        """Give what is to be told once each of the successors is confirmed, and not before.

        `task` is None where the message is none, `result` where none was run.
        """
        match decision:
            case Done(following):
                return [Event(events.SENT, self._queue.name, each.id) for each in following]
            case Again() if task is not None:
                return [self._again(task, decision, result)]
            case Move(target) if task is not None:
                return [self._event(events.MOVED, task, task.runs, to=target)]
            case Dead():
                dead = self._dead(delivery, task, decision, result)
                if task is None or len(publishes) == 1:
                    return [dead]
                return [dead, self._rolled_back(task, decision)]
        return []

    def _again(self, task: Task, decision: Again, result: Result | None) -> Event | None:
        due = decision.due / 1000
        if result is not None and result.busy is None:
            return self._event(events.RETRIED, task, decision.runs, result, next=due, error=decision.error)
        if result is not None:
            reason = PER_HOST if result.error is None else SHORTAGE
            return self._event(events.POSTPONED, task, task.runs, next=due, reason=reason, error=result.error)
        if decision.early:
            return self._event(events.WAITING, task, task.runs, next=due)
        if decision.refusals:
            to = task.queue or task.meant_for
            return self._event(events.POSTPONED, task, task.runs, next=due, to=to, reason=REFUSED)
        if decision.unpermitted:
            return self._event(events.POSTPONED, task, task.runs, next=due, reason=MAX_CONCURRENCY)
        return None

    def _dead(self, delivery: Delivery, task: Task | None, decision: Dead, result: Result | None) -> Event:
        reason, error = decision.reason, decision.error
        if task is not None:
            return self._event(events.DEAD, task, decision.runs, result, reason=reason, error=error)
        name = delivery.message.properties.get("message_id")
        known = None if name is None else str(name)
        return Event(events.DEAD, self._queue.name, known, decision.runs, reason=reason, error=error)

    def _rolled_back(self, task: Task, decision: Dead) -> Event:
        url = self._url(task.roll_back or "")
        name = roll_back_id(task.id)
        return Event(events.ROLLED_BACK, self._queue.name, name, url=url, reason=decision.reason)

    def _url(self, url: str) -> str | None:
        # Joined, what begins like a login is in the midst of a path.
        return joined(self._queue.base_url, without_login(url))

    def _event(
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
    ) -> Event:
        seconds = result.seconds if result is not None and result.made else None
        return Event(
            event,
            self._queue.name,
            task.id,
            attempt,
            self._url(task.url),
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
