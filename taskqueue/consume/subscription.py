"""One queue of a consumer: from a delivery to a decision, and from there to an ack.

Everything here runs on the I/O thread, apart from `_finished`, which the workers call.
"""

from __future__ import annotations

import logging
import random
import time
import uuid
from collections import deque
from collections.abc import Callable, Container
from dataclasses import replace
from typing import Protocol

from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.deliveries import Intake
from taskqueue.consume.isolation import Isolation
from taskqueue.consume.metrics import Metrics
from taskqueue.consume.rate import Pace
from taskqueue.consume.settlement import Settlement
from taskqueue.consume.workers import Attempt, Delivery, Pool, Workers
from taskqueue.durations import duration
from taskqueue.errors import InvalidTask
from taskqueue.request.execute import Executor
from taskqueue.settings import QueueSettings
from taskqueue.task.astray import came_back_at_once, missed_rungs
from taskqueue.task.decide import INVALID, Again, Dead, Done, Move, Run, on_receipt, on_result, suspect
from taskqueue.task.decode import Task, decode
from taskqueue.task.result import Result
from taskqueue.task.settle import successors
from taskqueue.topology.ladder import Way

log = logging.getLogger(__name__)

_ANY_SUCCESS = range(200, 300)
_MOST_TOLD = 1000
_LINGER = 0.004
"""Seconds after which an I/O thread that had results looks for more, unasked."""
_ACKED = 0.1
_ROUND = 1.0
"""Seconds between two rounds of a task that no rung holds."""
_EMPTYING = 30.0
"""Seconds that other queues get to finish what they run, before one attempt runs alone or all go on."""


class Owner(Protocol):
    """What a subscription tells its consumer."""

    def missing(self, queue: str, reason: str) -> None:
        """Something of `queue` is not declared, and nothing of it was ever consumed."""

    def progressed(self) -> None:
        """A task was settled: a consumer that stops may be done now."""


class Subscription:
    """Takes due tasks from one queue, has them run, and settles them."""

    def __init__(
        self,
        queue: QueueSettings,
        *,
        way: Way,
        known: Container[str],
        link: Link,
        owner: Owner,
        metrics: Metrics,
        isolation: Isolation,
        pool: Pool,
        rate_share: float = 1.0,
        make_workers: type[Workers] = Workers,
    ) -> None:
        self.queue = queue
        self._way = way
        self._known = known
        self._link = link
        self._owner = owner
        self._metrics = metrics
        self._pace = Pace(queue.rate.per_second * rate_share) if queue.rate else None
        self._workers = make_workers(Executor(queue), queue.name, queue.concurrency, self._finished, pool)
        self._intake = Intake(
            queue.name,
            self.prefetch,
            link,
            received=self._received,
            lost=self._lost_channel,
            missing=lambda reason: owner.missing(queue.name, reason),
        )
        self._results: deque[tuple[Attempt, Result]] = deque()
        self._draining = False
        self._stopping = False
        self._suspended = False
        self._isolation = isolation
        isolation.join(self)
        self._running = 0
        self._settling = 0
        self._told: set[str] = set()

    @property
    def prefetch(self) -> int:
        """How many deliveries are out at once: what runs, and enough behind it to go on at once."""
        return self.queue.concurrency * 2 + 10

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits for a confirm."""
        return not self._running and not self._settling

    @property
    def still(self) -> bool:
        """Nothing can come, and all that came is settled."""
        return self.idle and self._intake.paused

    def suspend(self) -> None:
        """Take no more, and put back what has not begun, at the end of the queue."""
        self._suspended = True
        self._intake.pause(self._isolation.progressed)
        for attempt in self._withdraw():
            self._put_back(attempt)

    def resume(self) -> None:
        """Take tasks again."""
        self._suspended = False
        self._intake.resume()

    def connected(self, connection: TolerantConnection) -> None:
        """Consume over a fresh connection."""
        # Where the loop is a new one too, the next look at the results went with the old one.
        self._drain()
        self._intake.connected(connection)

    def disconnected(self, reason: str) -> None:
        """Give up what is out: the broker hands it out again."""
        self._intake.disconnected(reason)

    def stop(self) -> None:
        """Take no more, and give back what has not begun."""
        self._stopping = True
        self._intake.stop()
        self._drop()

    def close(self) -> None:
        """Close the connections to receivers; after the link and the threads have ended."""
        self._workers.close()

    # --- from a delivery to a decision

    def _received(self, delivery: Delivery) -> None:
        delivery = _with_id(delivery)
        now = time.time()
        try:
            task = decode(delivery.message, now=now)
            deliveries = _deliveries(delivery) + task.crashes
            decision = on_receipt(task, self.queue, self._known, deliveries=deliveries, now=now)
        except InvalidTask as error:
            self._settle(delivery, None, Dead(INVALID, str(error), 0))
            return
        except Exception as error:
            # Nothing that a message contains may stop a consumer, not even by a fault of ours.
            log.exception("could not read a message of %s", self.queue.name)
            self._settle(delivery, None, Dead(INVALID, f"body: could not be read: {type(error).__name__}", 0))
            return
        if task.unknown:
            self._tell_once(
                f"fields that taskqueue does not know are ignored: {', '.join(task.unknown)[:200]}"
            )
        if isinstance(decision, Run) and self._stopping:
            self._give_back(Attempt(delivery, task))
        elif isinstance(decision, Run) and decision.alone:
            self._ask_for_isolation(Attempt(delivery, task), deliveries)
        elif isinstance(decision, Run):
            self._dispatch(Attempt(delivery, task), now)
        elif isinstance(decision, Again) and decision.early:
            self._send_round(delivery, task, decision, now)
        else:
            self._settle(delivery, task, decision)

    def _send_round(self, delivery: Delivery, task: Task, decision: Again, now: float) -> None:
        """Put a task that came early on the ladder; say so where it has missed the rungs it was to be on."""
        headers = delivery.message.headers
        if came_back_at_once(headers, decision.due, int(now * 1000)):
            self._tell_once(
                "tasks come back from the ladder at once: it is not the one of this configuration any more; "
                "run 'taskqueue declare', or start this consumer again with the present one"
            )
            self._hold(_ROUND, lambda: self._settle_held(delivery, task, decision))
            return
        if missed_rungs(headers):
            self._tell_once(
                "tasks come early: their senders wait on another ladder (resolution, levels) than the "
                "declared one; they are put on that one, and none runs before its time"
            )
        self._settle(delivery, task, decision)

    def _hold(self, seconds: float, then: Callable[[], None]) -> None:
        """Keep a delivery for a moment, in which the queue is not still: it would be counted with another."""
        self._settling += 1

        def over() -> None:
            self._settling -= 1
            then()
            self._progressed()

        self._link.later(seconds, over)

    def _settle_held(self, delivery: Delivery, task: Task, decision: Again) -> None:
        if self._intake.holds(delivery):
            self._settle(delivery, task, decision)

    def _dispatch(self, attempt: Attempt, now: float) -> None:
        if self._pace is None:
            self._submit(attempt)
            return
        task = attempt.task
        hold = self._pace.hold(now, has_slot=task.has_slot)
        if hold is None:
            due = int(self._pace.slot(now) * 1000)
            self._settle(attempt.delivery, task, Again(due, task.runs, task.error, has_slot=True))
        elif hold == 0:
            self._submit(attempt)
        else:
            self._hold(hold, lambda: self._submit(attempt))

    def _ask_for_isolation(self, attempt: Attempt, deliveries: int) -> None:
        turn = self._isolation.ask(lambda: self._submit_alone(attempt))
        if not turn:
            self._put_back(attempt)
            return
        self._link.later(_EMPTYING, lambda: self._isolation.hasten(turn))
        self._link.later(_EMPTYING + self.queue.timeout + _EMPTYING, lambda: self._isolation.finish(turn))
        log.warning(
            "%s %s: handed out %d times without an answer, it may have ended consumers: it runs alone",
            self.queue.name,
            attempt.task.id,
            deliveries,
        )
        self._isolation.progressed()

    def _submit_alone(self, attempt: Attempt) -> None:
        self._running += 1

        def begin() -> None:
            self._running -= 1
            self._begin(attempt)
            self._progressed()

        # By then the broker has the acks of all that was put back, whatever happens to this process.
        self._link.later(_ACKED, begin)

    def _put_back(self, attempt: Attempt) -> None:
        """Publish a task again that was not begun: what ends the process now is not counted against it."""
        if not self._intake.holds(attempt.delivery):
            return
        task = attempt.task
        crashes = _deliveries(attempt.delivery) + task.crashes
        again = Again(task.due, task.runs, task.error, has_slot=task.has_slot, crashes=crashes)
        self._settle(attempt.delivery, task, again)

    def _submit(self, attempt: Attempt) -> None:
        if self._suspended:
            self._put_back(attempt)
        else:
            self._begin(attempt)

    def _begin(self, attempt: Attempt) -> None:
        if self._stopping:
            self._give_back(attempt)
            return
        if not self._intake.holds(attempt.delivery):
            return
        self._running += 1
        self._metrics.started(self.queue.name, max(0.0, time.time() - attempt.task.due / 1000))
        self._workers.submit(attempt)

    def _drop(self) -> None:
        """Give back what has not begun."""
        for attempt in self._withdraw():
            self._give_back(attempt)

    def _give_back(self, attempt: Attempt) -> None:
        """Let another consumer have it: at once, and published again where being counted would blame it."""
        deliveries = _deliveries(attempt.delivery) + attempt.task.crashes
        if suspect(self.queue, deliveries + 1) and not self._link.blocked:
            self._put_back(attempt)
        else:
            self._intake.give_back(attempt.delivery)

    def _lost_channel(self) -> None:
        self._drop()
        self._progressed()

    def _withdraw(self) -> list[Attempt]:
        dropped = self._workers.drop()
        self._running -= len(dropped)
        self._metrics.dropped(self.queue.name, len(dropped))
        return dropped

    def _finished(self, attempt: Attempt, result: Result) -> None:
        """Bring a result to the I/O thread; called by the workers."""
        self._results.append((attempt, result))
        if not self._draining:
            self._draining = True
            self._link.call(self._drain)

    def _drain(self) -> None:
        if not self._results:
            self._draining = False
            # A result that came between the two lines above woke nobody.
            if not self._results:
                return
            self._draining = True
        # Looking again by itself spares the wake-ups and most acks of a consumer that is busy.
        self._link.later(_LINGER, self._drain)
        for _ in range(len(self._results)):
            attempt, result = self._results.popleft()
            self._running -= 1
            self._judge(attempt, result)
        self._intake.flush()
        self._progressed()

    def _judge(self, attempt: Attempt, result: Result) -> None:
        now, spread = time.time(), random.uniform(-1, 1)
        decision = on_result(attempt.task, result, self.queue, now=now, spread=spread)
        outcome = _outcome(decision) if result.busy is None else "postponed"
        self._metrics.finished(self.queue.name, outcome, result.seconds)
        if result.status in _ANY_SUCCESS and result.error is None and not isinstance(decision, Done):
            self._tell_once(
                f"status {result.status} of {result.host} counts as a failure: see success_status of "
                f"[{self.queue.name}]",
                once_for=f"success_status {result.host}",
            )
        if not self._intake.holds(attempt.delivery):
            log.warning(
                "%s %s: its channel was closed meanwhile, so it will run again",
                self.queue.name,
                attempt.task.id,
            )
            return
        _log_result(self.queue.name, attempt.task, decision, result)
        self._settle(attempt.delivery, attempt.task, decision)

    # --- from a decision to an ack

    def _settle(self, delivery: Delivery, task: Task | None, decision: Done | Again | Dead | Move) -> None:
        if isinstance(decision, Done) and not decision.following:
            self._intake.ack(delivery)
            return
        try:
            publishes = successors(delivery.message, task, decision, way=self._way, now=time.time())
        except Exception as error:
            if task is None:
                raise
            log.exception("could not settle a task of %s", self.queue.name)
            self._settle(
                delivery, None, Dead(INVALID, f"could not be settled: {type(error).__name__}", task.runs)
            )
            return
        if isinstance(decision, Dead):
            name = task.id if task else delivery.message.properties.get("message_id")
            log.error("%s %s: dead, %s: %s", self.queue.name, name, decision.reason, decision.error)
            self._metrics.died(self.queue.name, decision.reason)
        self._settling += 1
        Settlement(
            self,
            name=self.queue.name,
            link=self._link,
            delivery=delivery,
            task=task,
            decision=decision,
            publishes=publishes,
        ).start()

    def settled(self, delivery: Delivery) -> None:
        """Ack a delivery all of whose successors are confirmed."""
        self._settling -= 1
        self._intake.ack(delivery)
        self._progressed()

    def lost(self) -> None:
        """Leave a delivery alone: its channel is gone, and the broker hands it out again."""
        self._settling -= 1
        self._progressed()

    def instead(self, delivery: Delivery, task: Task | None, decision: Dead) -> None:
        """Settle a delivery in another way than was tried."""
        self._settling -= 1
        self._settle(delivery, task, decision)

    def _progressed(self) -> None:
        self._isolation.progressed()
        if self._stopping:
            self._owner.progressed()

    def _tell_once(self, text: str, once_for: str = "") -> None:
        about = once_for or text
        if about not in self._told and len(self._told) < _MOST_TOLD:
            self._told.add(about)
            log.warning("%s: %s", self.queue.name, text)


def _with_id(delivery: Delivery) -> Delivery:
    message = delivery.message
    if message.properties.get("message_id"):
        return delivery
    properties = {**message.properties, "message_id": uuid.uuid4().hex}
    return replace(delivery, message=replace(message, properties=properties))


def _deliveries(delivery: Delivery) -> int:
    """Count how often the broker has handed this message out before."""
    # Of a message that comes for the first time, the header tells of another queue that it was in.
    count = delivery.message.headers.get("x-delivery-count", 0) if delivery.redelivered else 0
    return count if isinstance(count, int) else 0


def _outcome(decision: Done | Again | Dead) -> str:
    match decision:
        case Done():
            return "done"
        case Again():
            return "retried"
        case Dead(reason):
            return f"dead_{reason}"


def _log_result(queue: str, task: Task, decision: Done | Again | Dead, result: Result) -> None:
    if isinstance(decision, Done):
        log.debug("%s %s: done in %.0f ms, attempt %d", queue, task.id, result.seconds * 1000, task.runs + 1)
    elif result.busy is not None:
        log.debug("%s %s: its host is busy (per_host), again in %s", queue, task.id, duration(result.busy))
    elif isinstance(decision, Again):
        log.info(
            "%s %s: attempt %d failed (%s), again in %s",
            queue, task.id, task.runs + 1, decision.error, duration(decision.due / 1000 - time.time()),
        )  # fmt: skip
