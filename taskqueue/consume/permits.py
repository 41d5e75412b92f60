"""The permits of one queue in one process: one is held for each request that runs (`max_concurrency`).

A permit is a message that the broker has handed out. It is used again for a moment, then goes back, and the
broker hands it to the next process that asks. A process asks only while tasks wait here for a permit.

Each is asked for by a consumer of its own, which is cancelled no earlier than its permit goes back: what a
cancelled one has would not come back from a node of a cluster that is killed (``rabbit_fifo``, noconnection).

Everything here runs on the I/O thread.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pika import spec

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.consume.permit_book import PermitBook
from taskqueue.consume.workers import Attempt
from taskqueue.limit import Permit, read_permit
from taskqueue.topology import names

log = logging.getLogger(__name__)

LONGEST_WAIT = 1.0
"""Seconds that a task waits here for a permit."""
KEPT = 0.2
"""Seconds for which a permit is used again and again, so that short requests cost the broker little."""
_LONGEST_KEPT = 120.0
"""Seconds after which it goes back though nobody else wants one.

With the longest request on top it is less than the 30 minutes that the broker allows.
"""
_PARKED = 600.0
"""Seconds for which one that is over the limit is kept."""
_SURPLUS = 2
"""How many times as many as are wanted may ask before some are cancelled, so that few changes are made."""
_SOON = 0.01
_LOOK = 5.0
"""Seconds after which the limit is looked up anew."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    tag: int
    consumer: str
    permit: Permit
    since: float


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting:
    attempt: Attempt
    begin: Callable[[], None]
    away: Callable[[], None]
    since: float


class Permits:
    """Begins each attempt once there is a permit for it, or sends it away.

    `running` counts the requests of this process, of which there may be `concurrency`. `room` is told how
    many may be there at once from now on. What is none of ours goes to `stray`, with the name of its queue.
    """

    def __init__(
        self,
        queue: str,
        *,
        link: Link,
        concurrency: int,
        running: Callable[[], int],
        room: Callable[[int], None],
        stray: Callable[[Delivery, str], None],
    ) -> None:
        self.stopping = False
        """Nothing waits any more, and what is free goes back at once."""
        self.reserved = 0
        """Attempts that have a permit and do not run yet."""
        self._queue = queue
        self._link = link
        self._concurrency = concurrency
        self._running = running
        self._room = room
        self._stray = stray
        self._at_once = 1
        self._book = PermitBook(queue, link, found=self._judge, stray=stray)
        self._channel: ConfirmChannel | None = None
        self._asking: set[str] = set()
        """The consumers that have no permit."""
        self._usable: deque[_Held] = deque()
        self._unjudged: list[_Held] = []
        self._over: list[_Held] = []
        self._waiting: deque[_Waiting] = deque()
        self._spare = False
        """Some permits are with nobody, so that no other consumer wants for one, as far as was counted."""
        self._counted = float("-inf")
        self._looking = self._again = False
        self._timer = float("inf")

    @property
    def idle(self) -> bool:
        """Tell whether no task waits for a permit."""
        return not self._waiting

    def opened(self, channel: ConfirmChannel) -> None:
        """Take permits over this channel."""
        self._channel = channel
        channel.prefetch(1, _nothing)
        self._book.opened(channel)
        self.look()

    def lost(self) -> None:
        """Forget all permits: the channel is gone, and the broker hands them to others."""
        self._channel = None
        self._book.lost()
        self._asking.clear()
        self._usable.clear()
        self._unjudged.clear()
        self._over.clear()

    def ask(self, attempt: Attempt, begin: Callable[[], None], away: Callable[[], None]) -> None:
        """Have `begin` called once there is a permit, or `away` where none comes in LONGEST_WAIT."""
        self._waiting.append(_Waiting(attempt, begin, away, self._link.monotonic()))
        self.look()

    def withdraw(self) -> list[Attempt]:
        """Give all attempts that wait, which wait no longer."""
        withdrawn = [each.attempt for each in self._waiting]
        self._waiting.clear()
        self.look()
        return withdrawn

    def look(self) -> None:
        """Go on, after anything has changed."""
        self._again = True
        if self._looking:
            return
        self._looking = True
        try:
            while self._again:
                self._again = False
                self._give_back()
                self._begin()
                self._send_away()
                self._want()
        finally:
            self._looking = False
        self._plan()

    @property
    def _free(self) -> int:
        return len(self._usable) - self._running() - self.reserved

    def _give_back(self) -> None:
        """Give back what was kept for long enough, though tasks may wait here: it is the turn of others."""
        now = self._link.monotonic()
        keeps = self._spare and self._waiting and len(self._usable) <= self._concurrency
        longest = 0.0 if self.stopping else _LONGEST_KEPT if keeps else KEPT
        while self._usable and self._free > 0 and now - self._usable[0].since >= longest:
            self._requeue(self._usable.popleft())
        for each in [each for each in self._over if self.stopping or now - each.since >= _PARKED]:
            self._over.remove(each)
            self._requeue(each)

    def _begin(self) -> None:
        while self._waiting and self._free > 0 and self._running() + self.reserved < self._concurrency:
            self._waiting.popleft().begin()

    def _send_away(self) -> None:
        now = self._link.monotonic()
        late = False
        while self._waiting and now - self._waiting[0].since >= LONGEST_WAIT:
            late = True
            self._waiting.popleft().away()
        if late:
            self._set_room(len(self._usable) + 1)

    def _want(self) -> None:
        """Ask for permits as long as tasks wait here, and no longer."""
        if self._channel is None or not self._channel.is_open:
            return
        wanted = self._wanted
        while len(self._asking) < wanted:
            self._ask(self._channel)
        while len(self._asking) > _SURPLUS * wanted:
            self._channel.cancel(self._asking.pop(), _nothing)
        if self._waiting or self._over or self._running():
            self._book.look(_LOOK)
        if self._waiting and self._usable and self._link.monotonic() - self._counted >= KEPT:
            self._counted = self._link.monotonic()
            self._channel.count(names.permits(self._queue), self._count)

    @property
    def _wanted(self) -> int:
        """How many to ask for: with each that comes for more than it, so that many come soon."""
        if not self._waiting:
            return 0
        usable = len(self._usable)
        return max(0, min(max(len(self._waiting), usable + 1), self._concurrency - usable))

    def _ask(self, channel: ConfirmChannel) -> None:
        def arrived(delivery: Delivery) -> None:
            self._arrived(delivery, consumer)

        consumer = channel.consume(names.permits(self._queue), arrived, _nothing)
        self._asking.add(consumer)

    def _count(self, found: spec.Queue.DeclareOk) -> None:
        self._spare = found.message_count > 0
        self.look()

    def _arrived(self, delivery: Delivery, consumer: str) -> None:
        permit = read_permit(delivery.message)
        if permit is None:
            self._stray(delivery, names.permits(self._queue))
            return
        if consumer not in self._asking:
            # It was on its way when its consumer was cancelled.
            delivery.channel.requeue(delivery.tag)
            return
        self._asking.remove(consumer)
        self._unjudged.append(_Held(delivery.tag, consumer, permit, self._link.monotonic()))
        if self._book.knows(permit):
            self._judge(sure=False)
        else:
            self._book.look(0.0)

    def _judge(self, sure: bool) -> None:  # noqa: FBT001 as told by the book
        """Sort all permits by the book, which is `sure` of all if it was read after they came."""
        if self._channel is None:
            return
        held = [*self._usable, *self._over, *self._unjudged]
        self._usable.clear()
        self._over.clear()
        self._unjudged.clear()
        for each in sorted(held, key=lambda each: each.since):
            if not self._book.knows(each.permit):
                if sure:
                    # It was issued by a declare that did not come to its end, and no book counts it.
                    self._channel.ack(each.tag)
                    self._asking.add(each.consumer)
                else:
                    self._unjudged.append(each)
            elif each.permit.number < self._book.limit:
                self._usable.append(each)
            else:
                self._over.append(each)
        if len(self._usable) >= self._at_once:
            self._set_room(len(self._usable) + 1)
        self.look()

    def _set_room(self, at_once: int) -> None:
        at_once = min(at_once, self._concurrency)
        if at_once != self._at_once:
            self._at_once = at_once
            self._room(at_once)

    def _requeue(self, held: _Held) -> None:
        channel = self._channel
        if channel is None or not channel.is_open:
            return
        if len(self._asking) < self._wanted:
            self._asking.add(held.consumer)
            channel.requeue(held.tag)
        else:
            # In this order, or it would come back at once where nobody else asks.
            channel.cancel(held.consumer, lambda: channel.requeue(held.tag))

    def _plan(self) -> None:
        """Look again when the next thing is due."""
        due = []
        if self._waiting:
            due.append(self._waiting[0].since + LONGEST_WAIT)
        if self._free > 0:
            due.append(self._usable[0].since + KEPT)
        if self._over:
            due.append(self._book.asked + _LOOK)
        if not due:
            return
        now = self._link.monotonic()
        at = max(min(due), now + _SOON)
        if at < self._timer:
            self._timer = at
            self._link.later(at - now, lambda: self._fire(at))

    def _fire(self, at: float) -> None:
        if at == self._timer:
            self._timer = float("inf")
            self.look()


def _nothing() -> None:
    """Wait for nothing: the broker answers in the order in which it is asked."""
