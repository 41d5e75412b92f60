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
from taskqueue.consume.workers import Attempt, identity
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
        self.running = 0
        """Attempts at or before a worker, or whose result was not looked at yet."""
        self.stopping = False
        """None begins any more."""
        self.paused = False
        """None begins for now."""
        self._deliveries = deliveries
        self._settling = settling
        self._verdict = verdict
        self._telling = telling
        self._progressed = progressed
        self._begun: dict[tuple[str, int, bytes], Attempt] = {}
        """Those at or before a worker."""
        self._adopted: dict[Attempt, Delivery] = {}
        """What they settle in place of the delivery that they have lost."""
        self._results = Results(link, each=self._end, then=self._ended)
        self._line = make_line(queue, self._results.add)

    def begin(self, attempt: Attempt) -> None:
        """Have an attempt run as soon as a worker is free."""
        if self.stopping or self.paused:
            self._settling.give_back(attempt)
            return
        if not self._deliveries.holds(attempt.delivery):
            return
        self.running += 1
        self._begun[identity(attempt.delivery, attempt.task)] = attempt
        self._line.submit(attempt)

    def adopt(self, again: Attempt) -> bool:
        """Have the request that runs for a task settle its next delivery, as it lost its own; else False.

        What was out for too long runs anew: each time is to count, until it is dead.
        """
        attempt = self._begun.get(identity(again.delivery, again.task))
        if attempt is None:
            return False
        former = self._adopted.get(attempt, attempt.delivery)
        if former.overdue or self._deliveries.holds(former):
            return False
        self._adopted[attempt] = again.delivery
        log.info("%s: it comes again while its request runs, which goes on for it", again.task.id)
        return True

    def put_back(self) -> None:
        """Put back what has not begun, at the end of the queue."""
        for attempt in self._withdraw():
            self._settling.put_back(attempt)

    def give_back(self) -> None:
        """Give back what has not begun, so that another consumer has it at once."""
        for attempt in self._withdraw():
            self._settling.give_back(attempt)

    def begin_again(self) -> None:
        """Leave out what has not begun and was lost; all else goes on waiting for a worker."""
        for attempt in self._withdraw():
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

    def _withdraw(self) -> list[Attempt]:
        withdrawn = self._line.drop()
        for attempt in withdrawn:
            self._over(attempt)
        return withdrawn

    def _over(self, attempt: Attempt) -> Delivery:
        """Count an attempt no more, and give the delivery that it settles."""
        self.running -= 1
        key = identity(attempt.delivery, attempt.task)
        if self._begun.get(key) is attempt:
            del self._begun[key]
        return self._adopted.pop(attempt, attempt.delivery)

    def _end(self, attempt: Attempt, result: Result) -> None:
        delivery = self._over(attempt)
        decision = self._verdict.on(attempt.task, result)
        if not self._deliveries.holds(delivery):
            self._telling.void(attempt.task, result)
            return
        self._settling.settle(delivery, attempt.task, decision, result)

    def _ended(self) -> None:
        self._deliveries.flush()
        self._progressed()
