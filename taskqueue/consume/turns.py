"""When a due task begins: at the rate of its queue, and alone where it may end the process it runs in."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import partial

from taskqueue.broker.link import Link
from taskqueue.consume.attempts import Attempts
from taskqueue.consume.deliveries import Deliveries
from taskqueue.consume.isolation import Isolation
from taskqueue.consume.paced import Paced
from taskqueue.consume.permits import Permits
from taskqueue.consume.settling import Settling
from taskqueue.consume.workers import Attempt
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Again

log = logging.getLogger(__name__)

_ACKED = 0.1
"""Seconds in which the broker gets the acks of all that was put back, whatever ends this process then."""
_EMPTYING = 30.0
"""Seconds that other queues get to finish what they run, before one attempt runs alone or all go on."""
_AWAY = 1.0
"""Seconds on the ladder for a task that got no permit, or no worker alone."""


class Turns:
    """Begins each attempt of a queue when it is its turn, or sends it away until then."""

    def __init__(
        self,
        queue: QueueSettings,
        *,
        link: Link,
        paced: Paced | None,
        permits: Permits | None,
        isolation: Isolation,
        attempts: Attempts,
        settling: Settling,
        deliveries: Deliveries,
        clock: Callable[[], float],
    ) -> None:
        self._deliveries = deliveries
        self._clock = clock
        self._alone: tuple[int, Attempt] | None = None
        """What is to run alone, and waits until nothing else does."""
        self._queue = queue
        self._link = link
        self._paced = paced
        self._permits = permits
        self._isolation = isolation
        self._attempts = attempts
        self._settling = settling

    def adopt(self, attempt: Attempt) -> bool:
        """Have a request that runs for the same task go on for this attempt, which is not to begin then."""
        return self._attempts.adopt(attempt)

    def take(self, attempt: Attempt, *, alone: bool) -> None:
        """Take the turn of an attempt, now or as soon as it is one; with nothing beside it if `alone`."""
        if self._attempts.stopping or self._attempts.paused:
            self._settling.give_back(attempt)
        elif alone and self._attempts.jammed:
            # Behind requests that outlast the broker it would be out for too long as well.
            self._send_away(attempt)
        elif alone:
            self._take_permit(attempt, lambda: self._take_alone(attempt))
        elif not self._isolation.is_open:
            self._settling.put_back(attempt)
        elif self._paced is None:
            self._begin(attempt)
        else:
            self._paced.add(attempt, partial(self._begin, attempt))

    def take_back(self) -> None:
        """Have what has begun and does not run yet wait for a permit anew."""
        # Otherwise one runs alone, and nothing waits.
        if self._isolation.is_open:
            for attempt in self._attempts.withdraw():
                self._begin(attempt)

    def lost(self) -> None:
        """Have all go on where the task that they wait for has gone back, and is to come again."""
        if self._alone is None or self._deliveries.holds(self._alone[1].delivery):
            return
        (turn, _), self._alone = self._alone, None
        if self._permits is not None:
            self._permits.reserved -= 1
        self._isolation.finish(turn)

    def _send_away(self, attempt: Attempt, *, unpermitted: bool = False) -> None:
        """Put a task on the ladder for a moment."""
        task = attempt.task
        if self._deliveries.holds(attempt.delivery):
            crashes = attempt.earlier_deliveries
            again = Again(
                int((self._clock() + _AWAY) * 1000),
                task.runs,
                task.error,
                crashes=crashes,
                unpermitted=unpermitted,
            )
            self._settling.settle(attempt.delivery, task, again)

    def _begin(self, attempt: Attempt) -> None:
        """Have it begin beside others."""
        if self._permits is None:
            self._attempts.begin(attempt)
        else:
            self._take_permit(attempt, partial(self._attempts.begin, attempt))

    def _take_permit(self, attempt: Attempt, begin: Callable[[], None]) -> None:
        """Begin, where `max_concurrency` lets it."""
        if self._permits is None:
            begin()
        elif self._isolation.is_open:
            self._permits.ask(attempt, begin, partial(self._go_without, attempt))
        else:
            self._settling.put_back(attempt)

    def _go_without(self, attempt: Attempt) -> None:
        # The token of a rate is not spent.
        if self._paced is not None:
            self._paced.refund()
        self._send_away(attempt, unpermitted=True)

    def _take_alone(self, attempt: Attempt) -> None:
        permits = self._permits

        def begin() -> None:
            if self._alone is not asked:
                return
            self._alone = None
            if permits is not None:
                permits.reserved -= 1
            if permits is None or permits.has_one:
                self._attempts.begin(attempt)
            else:
                # Its permit went with the channel of the limits, or with a lower limit.
                self._settling.put_back(attempt)
                self._isolation.finish(turn)

        if permits is not None:
            # Before others wait here no more, or it would go back meanwhile.
            permits.reserved += 1
        turn = self._isolation.ask(lambda: self._settling.hold(_ACKED, begin))
        if not turn:
            if permits is not None:
                permits.reserved -= 1
            self._settling.put_back(attempt)
            return
        asked = self._alone = turn, attempt
        self._link.later(_EMPTYING, lambda: self._isolation.hasten(turn))
        self._link.later(_EMPTYING + self._queue.timeout + _EMPTYING, lambda: self._isolation.finish(turn))
        log.warning(
            "%s %s: handed out %d times without an answer, it may have ended consumers: it runs alone",
            self._queue.name,
            attempt.task.id,
            attempt.earlier_deliveries,
        )
        self._isolation.progressed()
