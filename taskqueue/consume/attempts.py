"""The attempts of one queue: who counts what is at the workers, and has each result judged and settled."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Protocol

from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.consume.deliveries import Deliveries
from taskqueue.consume.results import Results
from taskqueue.consume.settling import Settling
from taskqueue.consume.telling import Telling
from taskqueue.consume.verdict import Verdict
from taskqueue.consume.workers import Attempt
from taskqueue.settings import QueueSettings
from taskqueue.task.result import Result

log = logging.getLogger(__name__)


class Line(Protocol):
    """Where attempts wait for a worker: `consume/workers.py`."""

    def submit(self, attempt: Attempt) -> None:
        """Put an attempt in the line."""

    def drop(self) -> list[Attempt]:
        """Empty the line and give what was in it; what runs already goes on."""

    def close(self) -> None:
        """Close the connections to receivers."""


MakeLine = Callable[[QueueSettings, Callable[[Attempt, Result], None]], Line]
"""Makes the line of a queue; its workers hand each attempt and its result to the function, `Results.add`."""


class Attempts:
    """Has the attempts of a queue run, and settles each by its result.

    `progressed` is called when some have ended.
    """

    def __init__(
        self,
        queue: QueueSettings,
        make_line: MakeLine,
        *,
        link: Link,
        deliveries: Deliveries,
        settling: Settling,
        verdict: Verdict,
        telling: Telling,
        progressed: Callable[[], None],
    ) -> None:
        self.stopping = False
        """None begins any more."""
        self.paused = False
        """None begins for now."""
        self._concurrency = queue.concurrency
        self._deliveries = deliveries
        self._settling = settling
        self._verdict = verdict
        self._telling = telling
        self._progressed = progressed
        self._begun: dict[Attempt, Delivery] = {}
        """Those at or before a worker, or whose result was not looked at yet, each with what it settles."""
        self._results = Results(link, each=self._end, then=self._ended)
        self._line = make_line(queue, self._results.add)

    @property
    def running(self) -> int:
        """Count the attempts at or before a worker, or whose result was not looked at yet."""
        return len(self._begun)

    @property
    def counted(self) -> int:
        """Count those whose delivery the broker has not taken back for being out too long."""
        return sum(not delivery.overdue for delivery in self._begun.values())

    @property
    def jammed(self) -> bool:
        """No worker gets free soon: each has a request that outlasts the broker."""
        return self.running - self.counted >= self._concurrency

    def begin(self, attempt: Attempt) -> None:
        """Have an attempt run as soon as a worker is free."""
        if self.stopping or self.paused:
            self._settling.give_back(attempt)
            return
        if not self._deliveries.holds(attempt.delivery):
            return
        self._begun[attempt] = attempt.delivery
        self._line.submit(attempt)

    def adopt(self, again: Attempt) -> bool:
        """Have the request that runs for a task settle its next delivery, as it lost its own; else False.

        What was out for too long runs anew: each time is to count, until it is dead.
        """
        if not again.delivery.redelivered:
            return False
        for attempt, former in self._begun.items():
            lost = not (former.overdue or self._deliveries.holds(former))
            if lost and attempt.identity == again.identity:
                self._begun[attempt] = again.delivery
                log.info("%s: it comes again while its request runs, which goes on for it", again.task.id)
                return True
        return False

    def withdraw(self) -> list[Attempt]:
        """Give what has not begun to run, which waits for a worker no longer."""
        withdrawn = self._line.drop()
        for attempt in withdrawn:
            del self._begun[attempt]
        return withdrawn

    def put_back(self) -> None:
        """Put back what has not begun, at the end of the queue."""
        for attempt in self.withdraw():
            self._settling.put_back(attempt)

    def give_back(self) -> None:
        """Give back what has not begun, so that another consumer has it at once."""
        for attempt in self.withdraw():
            self._settling.give_back(attempt)

    def begin_again(self) -> None:
        """Leave out what has not begun and was lost; all else goes on waiting for a worker."""
        for attempt in self.withdraw():
            self.begin(attempt)

    def stop(self) -> None:
        """Begin no more, and give back what has not begun."""
        self.stopping = True
        self.give_back()

    def collect(self) -> None:
        """Take the results that are there."""
        self._results.drain()

    def close(self) -> None:
        """Close the connections to receivers."""
        self._line.close()

    def _end(self, attempt: Attempt, result: Result) -> None:
        delivery = self._begun.pop(attempt)
        decision = self._verdict.on(attempt.task, result)
        if not self._deliveries.holds(delivery):
            self._telling.void(attempt.task, result)
            return
        self._settling.settle(delivery, attempt.task, decision, result)

    def _ended(self) -> None:
        self._deliveries.flush()
        self._progressed()
