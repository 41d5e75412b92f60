"""From a result to a decision."""

from __future__ import annotations

import random
from collections.abc import Callable

from taskqueue.consume.notices import Notices
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Decision, Done, on_result
from taskqueue.task.decode import Task
from taskqueue.task.result import Result

_ANY_SUCCESS = range(200, 300)


class Verdict:
    """Decides what follows from the results of one queue; `clock` gives the seconds since the epoch."""

    def __init__(self, queue: QueueSettings, *, notices: Notices, clock: Callable[[], float]) -> None:
        self._queue = queue
        self._notices = notices
        self._clock = clock

    def on(self, task: Task, result: Result) -> Decision:
        """Decide, and say which key to change where a success counts as none."""
        decision = on_result(task, result, self._queue, now=self._clock(), spread=random.uniform(-1, 1))
        if result.status in _ANY_SUCCESS and result.error is None and not isinstance(decision, Done):
            self._notices.give(
                f"status {result.status} of {result.host} counts as a failure: see success_status of "
                f"[{self._queue.name}]",
                once_for=f"success_status {result.host}",
            )
        return decision
