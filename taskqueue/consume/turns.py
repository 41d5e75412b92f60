"""When a due task begins: at the rate of its queue, and alone where it may end the process it runs in."""

from __future__ import annotations

import logging

from taskqueue.broker.link import Link
from taskqueue.consume.attempts import Attempts
from taskqueue.consume.isolation import Isolation
from taskqueue.consume.rate import Pace
from taskqueue.consume.settling import Settling
from taskqueue.consume.workers import Attempt
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Again

log = logging.getLogger(__name__)

_ACKED = 0.1
"""Seconds in which the broker gets the acks of all that was put back, whatever ends this process then."""
_EMPTYING = 30.0
"""Seconds that other queues get to finish what they run, before one attempt runs alone or all go on."""


class Turns:
    """Begins each attempt of a queue when it is its turn, or sends it away until then."""

    def __init__(
        self,
        queue: QueueSettings,
        *,
        link: Link,
        pace: Pace | None,
        isolation: Isolation,
        attempts: Attempts,
        settling: Settling,
    ) -> None:
        self._queue = queue
        self._link = link
        self._pace = pace
        self._isolation = isolation
        self._attempts = attempts
        self._settling = settling

    def take(self, attempt: Attempt, now: float, *, alone: bool) -> None:
        """Take the turn of an attempt, now or as soon as it is one; with nothing beside it if `alone`."""
        if self._attempts.stopping or self._attempts.paused:
            self._settling.give_back(attempt)
        elif alone:
            self._take_alone(attempt)
        elif self._pace is None:
            self._begin(attempt)
        else:
            self._take_token(attempt, self._pace, now)

    def _take_token(self, attempt: Attempt, pace: Pace, now: float) -> None:
        task = attempt.task
        hold = pace.hold(now, has_slot=task.has_slot)
        if hold is None:
            due = int(pace.slot(now) * 1000)
            self._settling.settle(attempt.delivery, task, Again(due, task.runs, task.error, has_slot=True))
        elif hold == 0:
            self._begin(attempt)
        else:
            self._settling.hold(hold, lambda: self._begin(attempt))

    def _begin(self, attempt: Attempt) -> None:
        if self._isolation.is_open:
            self._attempts.begin(attempt)
        else:
            self._settling.put_back(attempt)

    def _take_alone(self, attempt: Attempt) -> None:
        turn = self._isolation.ask(lambda: self._settling.hold(_ACKED, lambda: self._attempts.begin(attempt)))
        if not turn:
            self._settling.put_back(attempt)
            return
        self._link.later(_EMPTYING, lambda: self._isolation.hasten(turn))
        self._link.later(_EMPTYING + self._queue.timeout + _EMPTYING, lambda: self._isolation.finish(turn))
        log.warning(
            "%s %s: handed out %d times without an answer, it may have ended consumers: it runs alone",
            self._queue.name,
            attempt.task.id,
            attempt.earlier_deliveries,
        )
        self._isolation.progressed()
