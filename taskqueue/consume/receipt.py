"""From a delivery to a decision: the message is read as a task, and judged before it runs."""

from __future__ import annotations

import logging
import uuid
from collections.abc import Callable, Container
from contextlib import suppress
from dataclasses import replace

from taskqueue.broker.delivery import Delivery
from taskqueue.consume.notices import Notices
from taskqueue.consume.settling import Settling
from taskqueue.consume.turns import Turns
from taskqueue.consume.workers import Attempt
from taskqueue.errors import InvalidTask
from taskqueue.schedule.messages import read_wake
from taskqueue.settings import QueueSettings
from taskqueue.task.astray import came_back_at_once, is_marker, missed_rungs, wake_queue
from taskqueue.task.decide import INVALID, Again, Dead, Done, Home, Run, on_receipt
from taskqueue.task.decode import decode

log = logging.getLogger(__name__)

_ROUND = 1.0
"""Seconds between two rounds of a task that no rung holds."""


class Receipt:
    """Decides what becomes of each delivery: what is due waits for its turn, all else is settled.

    `known` names the queues that a task may be moved to, `clock` gives the seconds since the epoch.
    """

    def __init__(
        self,
        queue: QueueSettings,
        known: Container[str],
        *,
        turns: Turns,
        settling: Settling,
        notices: Notices,
        clock: Callable[[], float],
    ) -> None:
        self._queue = queue
        self._known = known
        self._turns = turns
        self._settling = settling
        self._notices = notices
        self._clock = clock

    def receive(self, delivery: Delivery) -> None:
        """Take a delivery, decide, and hand it on."""
        delivery = with_id(delivery)
        now = self._clock()
        try:
            task = decode(delivery.message, now=now)
            if self._settling.resume(delivery, task):
                return
            attempt = Attempt(delivery, task)
            if self._turns.adopt(attempt):
                return
            decision = on_receipt(
                task, self._queue, self._known, deliveries=attempt.earlier_deliveries, now=now
            )
        except InvalidTask as error:
            self._refuse(delivery, str(error), now)
            return
        except Exception as error:
            # Nothing that a message contains may stop a consumer, not even by a fault of ours.
            log.exception("could not read a message of %s", self._queue.name)
            unread = Dead(INVALID, f"body: could not be read: {type(error).__name__}", 0)
            self._settling.settle(delivery, None, unread)
            return
        if task.unknown:
            self._notices.give(
                f"fields that taskqueue does not know are ignored: {', '.join(task.unknown)[:200]}"
            )
        if isinstance(decision, Run):
            self._turns.take(attempt, alone=decision.alone)
        elif isinstance(decision, Again) and decision.early:
            self._send_round(attempt, decision, now)
        else:
            self._settling.settle(delivery, task, decision)

    def _refuse(self, delivery: Delivery, error: str, now: float) -> None:
        """Settle what can't be run: it is dead, unless it is no task and has only found no way.

        That happens on a ladder that was pruned under its consumer.
        """
        message = delivery.message
        if message.fault is not None:
            self._give_up(delivery, error, now)
        elif is_marker(message):
            self._settling.settle(delivery, None, Done(()))
        elif (wake := wake_queue(message.headers)) is not None and read_wake(message) is not None:
            self._send_home(delivery, wake)
        else:
            self._settling.settle(delivery, None, Dead(INVALID, error, 0))

    def _send_home(self, delivery: Delivery, wake: str) -> None:
        """Send a wake-up of schedules to the queue that it is for."""
        self._notices.give(
            "wake-ups of schedules come here from the ladder: it is not the one of some consumer's "
            "configuration any more; run 'taskqueue declare', or start that one again with the present one"
        )
        # It may be the only one on its way. Where it is early, whoever gets it there sends it on.
        try:
            self._settling.settle(delivery, None, Home(wake))
        except InvalidTask as error:
            # No queue has such a name.
            self._settling.settle(delivery, None, Dead(INVALID, str(error), 0))

    def _give_up(self, delivery: Delivery, error: str, now: float) -> None:
        """Settle a task whose headers are lost: nobody knows when it is due, or how often it has run.

        Its roll_back is called, unless the task was for another queue, where that may mean another URL.
        """
        task = None
        with suppress(Exception):
            task = decode(replace(delivery.message, fault=None), now=now)
        here = task is not None and (task.queue or task.meant_for) in {None, self._queue.name}
        self._settling.settle(delivery, task, Dead(INVALID, error, task.runs if task else 0, rolls_back=here))

    def _send_round(self, attempt: Attempt, decision: Again, now: float) -> None:
        """Put a task that came early on the ladder; say so where it has missed the rungs it was to be on."""
        headers = attempt.delivery.message.headers
        if came_back_at_once(headers, decision.due, int(now * 1000)):
            self._notices.give(
                "tasks come back from the ladder at once: it is not the one of this configuration any more; "
                "run 'taskqueue declare', or start this consumer again with the present one"
            )
            self._settling.settle_later(_ROUND, attempt, decision)
            return
        if missed_rungs(headers):
            self._notices.give(
                "tasks come early: their senders wait on another ladder (resolution, levels) than the "
                "declared one; they are put on that one, and none runs before its time"
            )
        self._settling.settle(attempt.delivery, attempt.task, decision)


def with_id(delivery: Delivery) -> Delivery:
    """Give a delivery whose message has an id."""
    message = delivery.message
    if message.properties.get("message_id"):
        return delivery
    properties = {**message.properties, "message_id": uuid.uuid4().hex}
    return replace(delivery, message=replace(message, properties=properties))
