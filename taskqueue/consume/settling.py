"""From a decision to an ack: who counts what is being settled, and what is held or goes back unrun."""

from __future__ import annotations

import logging
from collections.abc import Callable

from taskqueue.broker.channel import Delivery
from taskqueue.broker.link import Link
from taskqueue.consume.deliveries import Deliveries
from taskqueue.consume.settlement import Settlement
from taskqueue.consume.telling import Telling
from taskqueue.consume.workers import Attempt
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import INVALID, Again, Dead, Done, Move, suspect
from taskqueue.task.decode import Task
from taskqueue.task.result import Result
from taskqueue.task.settle import successors
from taskqueue.topology.ladder import Way

log = logging.getLogger(__name__)


class Settling:
    """Settles the deliveries of one queue: what follows from each is confirmed, then it is acked.

    `progressed` is called when one is settled, `clock` gives the seconds since the epoch.
    """

    def __init__(
        self,
        queue: QueueSettings,
        way: Way,
        *,
        link: Link,
        deliveries: Deliveries,
        telling: Telling,
        clock: Callable[[], float],
        progressed: Callable[[], None],
    ) -> None:
        self.under_way = 0
        """Deliveries that are held for a moment, or that wait for a confirm."""
        self._queue = queue
        self._way = way
        self._link = link
        self._deliveries = deliveries
        self._telling = telling
        self._clock = clock
        self._progressed = progressed

    def settle(
        self,
        delivery: Delivery,
        task: Task | None,
        decision: Done | Again | Dead | Move,
        result: Result | None = None,
    ) -> None:
        """Tell of a decision, publish what follows from it, then ack.

        `task` is None where the message is no task, `result` is that of the attempt that was decided on.
        """
        if isinstance(decision, Done) and not decision.following:
            self._telling.settled(delivery, task, decision, result)
            self._deliveries.ack(delivery)
            return
        try:
            publishes = successors(delivery.message, task, decision, way=self._way, now=self._clock())
        except Exception as error:
            if task is None:
                raise
            log.exception("could not settle a task of %s", self._queue.name)
            unfit = Dead(INVALID, f"could not be settled: {type(error).__name__}", task.runs)
            self.settle(delivery, None, unfit, result)
            return
        self._telling.settled(delivery, task, decision, result)
        self.under_way += 1
        Settlement(
            self,
            name=self._queue.name,
            link=self._link,
            delivery=delivery,
            task=task,
            decision=decision,
            publishes=publishes,
        ).start()

    def settle_later(self, seconds: float, attempt: Attempt, decision: Again) -> None:
        """Hold a delivery for a moment, then settle it."""

        def settle() -> None:
            if self._deliveries.holds(attempt.delivery):
                self.settle(attempt.delivery, attempt.task, decision)

        self.hold(seconds, settle)

    def hold(self, seconds: float, then: Callable[[], None]) -> None:
        """Call `then` after a moment; until then the queue is not still.

        So no suspect task starts alone meanwhile. If it ended this process, this delivery would be counted
        too.
        """
        self.under_way += 1

        def over() -> None:
            self.under_way -= 1
            then()
            self._progressed()

        self._link.later(seconds, over)

    def put_back(self, attempt: Attempt) -> None:
        """Publish a task again that was not begun: what ends the process now is not counted against it."""
        if not self._deliveries.holds(attempt.delivery):
            return
        task = attempt.task
        again = Again(
            task.due, task.runs, task.error, has_slot=task.has_slot, crashes=attempt.earlier_deliveries
        )
        self.settle(attempt.delivery, task, again)

    def give_back(self, attempt: Attempt) -> None:
        """Let another consumer have it: at once, and published again where being counted would blame it."""
        if suspect(self._queue, attempt.earlier_deliveries + 1) and not self._link.blocked:
            self.put_back(attempt)
        else:
            self._deliveries.give_back(attempt.delivery)

    # --- how a settlement has ended

    def settled(self, delivery: Delivery) -> None:
        """Ack a delivery all of whose successors are confirmed."""
        self.under_way -= 1
        self._deliveries.ack(delivery)
        self._progressed()

    def lost(self) -> None:
        """Leave a delivery alone: its channel is gone, and the broker hands it out again."""
        self.under_way -= 1
        self._progressed()

    def instead(self, delivery: Delivery, task: Task | None, decision: Dead) -> None:
        """Settle a delivery in another way than was tried."""
        self.under_way -= 1
        self.settle(delivery, task, decision)
