"""What lies in a queue of schedules or limits and is none of ours comes to the dead queue, as if invalid.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass

from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.consume.held import Held
from taskqueue.consume.receipt import with_id
from taskqueue.consume.settlement import Settlement
from taskqueue.events import Event
from taskqueue.task.decide import INVALID, Dead, Done
from taskqueue.task.decode import Task
from taskqueue.task.message import Publish
from taskqueue.task.settle import successors
from taskqueue.topology.ladder import Way

log = logging.getLogger(__name__)


def bury(delivery: Delivery, place: str, way: Way, link: Link, now: float) -> None:
    """Have a message from the queue `place` confirmed in the dead queue, its body untouched, then ack it.

    Nobody waits for that. Where its channel is closed before, the message is still in its place.
    """
    log.error("%s: a message that is none of ours: it comes to the dead queue", place)
    dead = Dead(INVALID, f"body: none of ours, and it was in {place}", 0)
    publishes = successors(with_id(delivery).message, None, dead, way=way, now=now)
    confirm(publishes, delivery, place, link, lambda: delivery.channel.ack(delivery.tag))


def confirm(
    publishes: tuple[Publish, ...], delivery: Delivery, what: str, link: Link, then: Callable[[], None]
) -> None:
    """Have all confirmed that follows from a delivery, one after the other; then go on if it can be acked.

    `what` tells in the log what is held where the broker refuses it.
    """
    if not publishes:
        then()
        return
    held: Held[Settlement] = Held(what, link, overdue=_give_back, changed=_nothing)
    Settlement(
        _Settled(then), held, link=link, delivery=delivery, task=None, decision=Done(()), publishes=publishes
    ).start()


@dataclass(frozen=True, slots=True)
class _Settled:
    """Goes on once all is confirmed."""

    then: Callable[[], None]

    def confirmed(self, _event: Event) -> None:
        """Never happens: it is told of no event."""

    def unmoved(self, settlement: Settlement, _why: str) -> None:
        """Never happens: nothing of it is moved to another queue."""

    def settled(self, settlement: Settlement) -> None:
        """Go on."""
        if settlement.delivery.channel.is_open:
            self.then()

    def refused(self, settlement: Settlement) -> None:
        """Wait for the next try."""

    def lost(self, settlement: Settlement) -> None:
        """Do nothing: the channel is closed, and the broker hands the wake-up out again."""

    def instead(
        self, settlement: Settlement, _delivery: Delivery, _task: Task | None, decision: Dead
    ) -> None:
        """Give all back, as what follows can't be published."""
        log.error("an occurrence can't be published: %s", decision.error)
        settlement.delivery.channel.close("can't be published")


def _give_back(settlement: Settlement) -> None:
    settlement.delivery.channel.close("what follows is refused")


def _nothing() -> None:
    """Leave it at the try in vain, which is told."""
