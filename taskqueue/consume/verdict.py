"""From a result to a decision, and what is counted and said about it."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from taskqueue.consume.metrics import Metrics
from taskqueue.consume.notices import Notices
from taskqueue.durations import duration
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Again, Dead, Decision, Done, on_result
from taskqueue.task.decode import Task
from taskqueue.task.result import Result

log = logging.getLogger(__name__)

_ANY_SUCCESS = range(200, 300)


class Verdict:
    """Decides what follows from the results of one queue; `clock` gives the seconds since the epoch."""

    def __init__(
        self, queue: QueueSettings, *, notices: Notices, metrics: Metrics, clock: Callable[[], float]
    ) -> None:
        self._queue = queue
        self._notices = notices
        self._metrics = metrics
        self._clock = clock

    def on(self, task: Task, result: Result) -> Decision:
        """Decide, and count the request."""
        decision = on_result(task, result, self._queue, now=self._clock(), spread=random.uniform(-1, 1))
        outcome = _outcome(decision) if result.busy is None else "postponed"
        self._metrics.finished(self._queue.name, outcome, result.seconds)
        if result.status in _ANY_SUCCESS and result.error is None and not isinstance(decision, Done):
            self._notices.give(
                f"status {result.status} of {result.host} counts as a failure: see success_status of "
                f"[{self._queue.name}]",
                once_for=f"success_status {result.host}",
            )
        return decision

    def tell(self, task: Task, decision: Decision, result: Result) -> None:
        """Log what follows from a result; that a task is dead is said where it is settled."""
        queue = self._queue.name
        if isinstance(decision, Done):
            milliseconds = result.seconds * 1000
            log.debug("%s %s: done in %.0f ms, attempt %d", queue, task.id, milliseconds, task.runs + 1)
        elif result.busy is not None:
            away = duration(result.busy)
            log.debug("%s %s: its host is busy (per_host), again in %s", queue, task.id, away)
        elif isinstance(decision, Again):
            wait = duration(decision.due / 1000 - self._clock())
            log.info(
                "%s %s: attempt %d failed (%s), again in %s",
                queue,
                task.id,
                task.runs + 1,
                decision.error,
                wait,
            )


def _outcome(decision: Decision) -> str:
    match decision:
        case Done():
            return "done"
        case Again():
            return "retried"
        case Dead(reason):
            return f"dead_{reason}"
