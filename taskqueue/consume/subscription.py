"""One queue of a consumer, put together from its parts; a task walks through them in this order.

`deliveries` hands a message out, `receipt` reads and judges it, `turns` says when it runs, `attempts` has it
run by the `workers`, `results` brings back how that went, `verdict` says what follows, and `settling` has
that confirmed and the delivery acked. Everything runs on the I/O thread, but for the workers.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Container
from typing import Protocol

from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.broker.wire import TolerantConnection
from taskqueue.consume.attempts import Attempts, MakeLine
from taskqueue.consume.deliveries import Deliveries
from taskqueue.consume.health import QueueReport
from taskqueue.consume.isolation import Isolation
from taskqueue.consume.limits import Limits
from taskqueue.consume.notices import Notices
from taskqueue.consume.rate import Pace
from taskqueue.consume.receipt import Receipt
from taskqueue.consume.settling import Settling
from taskqueue.consume.strays import bury
from taskqueue.consume.telling import Telling
from taskqueue.consume.turns import Turns
from taskqueue.consume.verdict import Verdict
from taskqueue.consume.window import Window
from taskqueue.consume.workers import Attempt
from taskqueue.events import Events
from taskqueue.settings import QueueSettings
from taskqueue.topology.ladder import Way

log = logging.getLogger(__name__)


class Owner(Protocol):
    """What a subscription tells its consumer."""

    def missing(self, queue: str, reason: str) -> None:
        """Something of `queue` is not declared, and nothing of it was ever consumed."""

    def refused(self, reason: str) -> None:
        """The user may not do what a consumer does, and nothing of the queue was ever consumed."""

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
        events: Events,
        isolation: Isolation,
        pace: Pace | None,
        make_line: MakeLine,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.queue = queue
        self._link = link
        self._owner = owner
        self._suspended = self._paused = False
        self._isolation = isolation
        self._window = Window(1 if pace or queue.max_concurrency else queue.concurrency)
        self._deliveries = Deliveries(
            queue.name,
            self._window,
            link,
            ladder=queue.ladder,
            received=self._received,
            lost=self._lost,
            left=self._progressed,
            missing=lambda reason: owner.missing(queue.name, reason),
            refused=owner.refused,
            hoarding=self._hoarding,
        )
        notices = Notices(queue.name)
        telling = Telling(queue, events, clock=clock)
        self.settling = Settling(
            queue,
            way,
            link=link,
            deliveries=self._deliveries,
            telling=telling,
            clock=clock,
            progressed=self._progressed,
        )
        self.attempts = Attempts(
            queue,
            make_line,
            link=link,
            deliveries=self._deliveries,
            settling=self.settling,
            verdict=Verdict(queue, notices=notices, clock=clock),
            telling=telling,
            progressed=self._progressed,
        )

        self._limits = Limits(
            queue,
            pace,
            link=link,
            owner=owner,
            running=lambda: self.attempts.running,
            take_back=self._take_back,
            changed=self._limits_changed,
            give_back=self._give_up,
            stray=lambda delivery, place: bury(delivery, place, way, link, clock()),
        )
        if not self._limits.near:
            # Until it is known how many share the rate.
            self._deliveries.pause()
        self._turns = Turns(
            queue,
            link=link,
            paced=self._limits.paced,
            permits=self._limits.permits,
            isolation=isolation,
            attempts=self.attempts,
            settling=self.settling,
            deliveries=self._deliveries,
            clock=clock,
        )
        self._receipt = Receipt(
            queue, known, turns=self._turns, settling=self.settling, notices=notices, clock=clock
        )
        self._stands_still = False
        isolation.join(self)

    @property
    def limited(self) -> bool:
        """It takes a second channel, for limits that hold over all consumers."""
        return bool(self._limits)

    @property
    def idle(self) -> bool:
        """Nothing runs and nothing waits for a confirm, but for what is refused when it stops."""
        return not self.attempts.running and self._waits_for_nothing

    @property
    def just_acked(self) -> bool:
        """The broker may not have got to all acks."""
        return self._deliveries.just_acked

    @property
    def still(self) -> bool:
        """Nothing can come, and only requests that outlast the broker are left: they may go on for long."""
        return not self.attempts.counted and self._waits_for_nothing and self._deliveries.paused

    def report(self) -> QueueReport:
        """Say how it stands."""
        consumed = self._deliveries.consumed and not self.attempts.paused
        return QueueReport(consumed, self.attempts.running, self.settling.waiting, paused=self._paused)

    def connected(self, connection: TolerantConnection) -> None:
        """Consume over a fresh connection."""
        # Where the loop is a new one too, the next look at the results went with the old one.
        self.attempts.collect()
        # First, so that the limits are known when the first tasks come.
        self._limits.connected(connection)
        self._deliveries.connected(connection)

    def disconnected(self, reason: str) -> None:
        """Give up what is out: the broker hands it out again."""
        self._stands_still = False
        self._deliveries.disconnected(reason)
        self._limits.disconnected(reason)

    def alarmed(self, *, now: bool) -> None:
        """Learn that the broker takes no publishes, or takes them again."""
        self._stands_still &= now
        # What waits for a confirm is not waited for by a consumer that stops.
        self._progressed()

    def suspend(self) -> None:
        """Take no more, and put back what has not begun, at the end of the queue."""
        self._suspended = True
        self._deliveries.pause()
        self._put_back()

    def resume(self) -> None:
        """Take tasks again, unless the queue is paused."""
        self._suspended = False
        self._take_again()

    def pause(self, *, told: bool = True) -> None:
        """Begin no task until `unpause`: what has not begun goes back to its place in the queue.

        So do permits, as soon as what runs with them has ended, and no token of a rate is spent.

        `told` is False where nobody knows yet whether the queue is paused.
        """
        self._paused = told
        self.attempts.paused = True
        # Before anything goes back, or it would come again.
        self._deliveries.pause()
        self.attempts.give_back()
        self._give_back()

    def unpause(self) -> None:
        """Take tasks again, unless another queue runs one alone."""
        self._paused = self.attempts.paused = False
        self._take_again()

    def stop(self) -> None:
        """Take no more, and give back what has not begun."""
        self._deliveries.stop()
        self.attempts.stop()
        self._limits.stop()
        self._give_back()
        self.settling.stop()

    def tell(self) -> None:
        """Log how much of it is not settled at the end; from any thread."""
        self.settling.tell()

    def close(self) -> None:
        """Close the connections to receivers; after the link and the threads have ended."""
        self.attempts.close()

    @property
    def _waits_for_nothing(self) -> bool:
        return not self._deliveries.parting.waits and self._limits.idle and self.settling.idle

    def _take_again(self, *, quietly: bool = False) -> None:
        if not self._suspended and not self.attempts.paused and self._limits.near:
            self._deliveries.resume(quietly=quietly)

    def _received(self, delivery: Delivery) -> None:
        self._receipt.receive(delivery)

    def _hoarding(self) -> None:
        # A broker that takes no publishes would keep it longer than we do.
        if not self._link.blocked:
            self._put_back()

    def _limits_changed(self) -> None:
        self._window.narrow(self._limits.room)
        self._deliveries.flush()
        if self._limits.near:
            self._take_again(quietly=True)
        else:
            self._deliveries.pause(full=True)

    def _take_back(self) -> None:
        self._turns.take_back()

    def _put_back(self) -> None:
        self.attempts.put_back()
        for attempt in self._limits.withdraw():
            self.settling.put_back(attempt)

    def _give_up(self, attempt: Attempt) -> None:
        # In this order, or it would come again.
        self._deliveries.pause()
        self.settling.give_back(attempt)

    def _give_back(self) -> None:
        """Let others have what waits for its turn."""
        for attempt in self._limits.withdraw():
            self.settling.give_back(attempt)

    def _lost(self) -> None:
        self.settling.deliveries_lost()
        self.attempts.begin_again()
        self._turns.lost()
        self._give_back()
        self._progressed()

    def _progressed(self) -> None:
        self._limits.look()
        self._isolation.progressed()
        self._tell_if_still()
        if self.attempts.stopping:
            self._owner.progressed()

    def _tell_if_still(self) -> None:
        """Say once in an alarm that no task runs any more until it is over."""
        if self._stands_still or not self._link.blocked or self.attempts.stopping or self.attempts.running:
            return
        waiting = self.settling.waiting
        if waiting and self._deliveries.exhausted:
            self._stands_still = True
            log.warning(
                "%s: stands still, as %d tasks wait to be settled, all that it takes at once, and the broker "
                "takes no publishes: it goes on once the alarm is over",
                self.queue.name,
                waiting,
            )
