"""From a decision to an ack: who counts what is being settled, and what is held or goes back unrun."""

from __future__ import annotations

import logging
import random
from collections.abc import Callable

from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.consume.deliveries import Deliveries
from taskqueue.consume.held import Held
from taskqueue.consume.moves import Moves
from taskqueue.consume.outcomes import Outcomes
from taskqueue.consume.settlement import Settlement
from taskqueue.consume.telling import Telling
from taskqueue.consume.workers import Attempt
from taskqueue.events import Event
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import INVALID, Again, Dead, Done, Home, Move, suspect, unmoved
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
        self._held: Held[Settlement] = Held(queue.name, link, overdue=self._overdue, changed=progressed)
        self._outcomes: Outcomes[Settlement] = Outcomes()
        self._moves = Moves(queue.name, link.monotonic)
        self._live: set[Settlement] = set()
        self._stopping = False

    @property
    def idle(self) -> bool:
        """Nothing is held for a moment, and nothing waits for an answer of the broker that may come.

        When it stops, none is waited for that the broker does not give while it has an alarm.
        """
        hopeless = len(self._live) if self._stopping and self._link.blocked else self._held.in_vain
        return self.under_way == hopeless

    @property
    def waiting(self) -> int:
        """How many wait for the broker to take what follows from them."""
        return len(self._live)

    def settle(
        self,
        delivery: Delivery,
        task: Task | None,
        decision: Done | Again | Dead | Move | Home,
        result: Result | None = None,
    ) -> None:
        """Publish what follows from a decision, tell of each part of it once it is confirmed, then ack.

        `task` is None where the message is no task, `result` is that of the attempt that was decided on.
        """
        if isinstance(decision, Done) and not decision.following:
            self._telling.done(task, result)
            self._deliveries.ack(delivery)
            return
        if isinstance(decision, Move) and task is not None and not self._moves.may_try(decision.queue):
            decision = self._unmoved(task)
        try:
            publishes = successors(delivery.message, task, decision, way=self._way, now=self._clock())
        except Exception as error:
            if task is None:
                raise
            log.exception("could not settle a task of %s", self._queue.name)
            unfit = Dead(INVALID, f"could not be settled: {type(error).__name__}", task.runs)
            self.settle(delivery, None, unfit, result)
            return
        if isinstance(decision, Done):
            # The request was a success, whatever becomes of what follows from it.
            self._telling.done(task, result)
        self._begin(
            settlement := Settlement(
                self,
                self._held,
                link=self._link,
                delivery=delivery,
                task=task,
                decision=decision,
                publishes=publishes,
                events=self._telling.following(delivery, task, decision, result, publishes),
                result=result,
            )
        )
        settlement.start()

    def resume(self, delivery: Delivery, task: Task) -> bool:
        """Settle a task by the outcome that it had when its delivery was lost; False where none is known."""
        if not delivery.redelivered:
            return False
        settlement = self._outcomes.take(Attempt(delivery, task).identity, self._link.monotonic())
        if settlement is None:
            return False
        log.info(
            "%s %s: it comes again and has %s, so it is settled by what came of it",
            self._queue.name,
            task.id,
            "run" if settlement.has_run else "been judged",
        )
        if settlement in self._live:
            # A successor is on its way, and what comes of that settles this delivery.
            settlement.delivery = delivery
        else:
            self._begin(settlement)
            settlement.resume(delivery)
        return True

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
        # Only then can it not come back here at once.
        self._deliveries.parting.after(lambda: self._put_back(attempt))

    def give_back(self, attempt: Attempt) -> None:
        """Let another consumer have it: at once, and published again where being counted would blame it."""
        if suspect(self._queue, attempt.earlier_deliveries + 1) and not self._link.blocked:
            self.put_back(attempt)
        else:
            self._deliveries.give_back(attempt.delivery)

    def deliveries_lost(self) -> None:
        """Give up what is held: the broker hands it out again."""
        for settlement in self._held.drop_orphans():
            self.lost(settlement)
        for settlement in self._live:
            if settlement.orphaned:
                self._remember(settlement)

    def stop(self) -> None:
        """Try once more what the broker refuses, and be idle although it does so again."""
        self._stopping = True
        self._held.stop()

    def tell(self) -> None:
        """Log how much is not settled at the end; from any thread."""
        left = tuple(self._live)
        run = sum(settlement.has_run for settlement in left)
        if run:
            log.warning(
                "%s: %d tasks have run and go back to the queue, where they run again: the broker does not "
                "take what is to follow from them",
                self._queue.name,
                run,
            )
        if unrun := len(left) - run:
            log.warning("%s: %d tasks that have not run go back to the queue", self._queue.name, unrun)

    def _put_back(self, attempt: Attempt) -> None:
        if not self._deliveries.holds(attempt.delivery):
            return
        task = attempt.task
        again = Again(task.due, task.runs, task.error, crashes=attempt.earlier_deliveries)
        self.settle(attempt.delivery, task, again)

    # --- how a settlement has ended

    def confirmed(self, event: Event) -> None:
        """Tell what has happened."""
        self._telling.tell(event)

    def settled(self, settlement: Settlement) -> None:
        """Ack a delivery all of whose successors are confirmed."""
        self._end(settlement)
        if isinstance(settlement.decision, Move):
            self._moves.taken(settlement.decision.queue)
        if settlement.orphaned:
            self._remember(settlement)
        else:
            self._deliveries.ack(settlement.delivery)
        self._progressed()

    def refused(self, settlement: Settlement) -> None:
        """Let others be handed out in its place."""
        self._deliveries.set_aside(settlement.delivery)

    def lost(self, settlement: Settlement) -> None:
        """Leave a delivery alone: its channel is gone, and the broker hands it out again."""
        self._end(settlement)
        self._remember(settlement)
        self._progressed()

    def instead(self, settlement: Settlement, delivery: Delivery, task: Task | None, decision: Dead) -> None:
        """Settle a delivery in another way than was tried."""
        self._end(settlement)
        if settlement.task is not None:
            self._outcomes.take(
                Attempt(settlement.delivery, settlement.task).identity, self._link.monotonic()
            )
        self.settle(delivery, task, decision, settlement.result)

    def unmoved(self, settlement: Settlement, why: str) -> None:
        """Have a task wait on the ladder: it has not run, and holds up none that can."""
        self._end(settlement)
        if isinstance(settlement.decision, Move) and settlement.task is not None:
            self._moves.refused(settlement.decision.queue, why)
            self.settle(settlement.delivery, settlement.task, self._unmoved(settlement.task))

    def _unmoved(self, task: Task) -> Again:
        return unmoved(task, self._queue, now=self._clock(), spread=random.uniform(-1, 1))

    def _overdue(self, settlement: Settlement) -> None:
        self._end(settlement)
        self._remember(settlement)
        self._deliveries.give_back(settlement.delivery)

    def _begin(self, settlement: Settlement) -> None:
        self.under_way += 1
        self._live.add(settlement)

    def _end(self, settlement: Settlement) -> None:
        self.under_way -= 1
        self._live.discard(settlement)

    def _remember(self, settlement: Settlement) -> None:
        task, decision = settlement.task, settlement.decision
        # What has not run and comes again is decided anew.
        unrun = isinstance(decision, Move) or (
            isinstance(decision, Again) and task is not None and decision.runs == task.runs
        )
        if task is not None and not unrun:
            self._outcomes.keep(
                Attempt(settlement.delivery, task).identity, settlement, self._link.monotonic()
            )
