"""The permits of one queue in one process: one is held for each request that runs (`max_concurrency`).

A permit is a message that the broker has handed out. It is used again for a moment, then goes back, and the
broker hands it to the next process that asks. A process asks only while tasks wait here for a permit.

Everything here runs on the I/O thread.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from pika import spec

from taskqueue.broker.channel import ConfirmChannel
from taskqueue.broker.delivery import Delivery
from taskqueue.broker.link import Link
from taskqueue.consume.permit_asks import PermitAsks
from taskqueue.consume.permit_book import PermitBook
from taskqueue.consume.timer import Timer
from taskqueue.consume.workers import Attempt
from taskqueue.limit import Permit, read_permit
from taskqueue.topology import names

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

    `running` counts the attempts that have begun; `concurrency` of them run at once, and the others wait for
    a thread. `take_back` has all ask anew that have begun and do not run. `room` is told how many may be
    there at once from now on. What is none of ours goes to `stray`, with the name of its queue.
    """

    def __init__(
        self,
        queue: str,
        *,
        link: Link,
        concurrency: int,
        running: Callable[[], int],
        take_back: Callable[[], None],
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
        self._take_back = take_back
        self._room = room
        self._stray = stray
        self._at_once = 1
        self._book = PermitBook(queue, link, found=self._judge, stray=stray)
        self._channel: ConfirmChannel | None = None
        self._asks = PermitAsks(names.permits(queue), self._arrived)
        self._usable: deque[_Held] = deque()
        self._unjudged: list[_Held] = []
        self._over: list[_Held] = []
        self._waiting: deque[_Waiting] = deque()
        self._spare = False
        """Nobody else wants a permit and has none, as far as was counted."""
        self._counted = float("-inf")
        self._looking = self._again = False
        self._busy = float("-inf")
        """When there was a task for each permit last (monotonic)."""
        self._open = False
        """Each task begins as it comes: the threads see to it that no more run than there are permits."""
        self._timer = Timer(link, self.look)

    @property
    def idle(self) -> bool:
        """Tell whether no task waits for a permit."""
        return not self._waiting

    @property
    def has_one(self) -> bool:
        """Tell whether there is one for another request."""
        return self._free > 0

    def opened(self, channel: ConfirmChannel) -> None:
        """Take permits over this channel."""
        self._channel = channel
        self._asks.opened(channel)
        self._book.opened(channel)
        self.look()

    def lost(self) -> None:
        """Forget all permits: the channel is gone, and the broker hands them to others."""
        self._channel = None
        self._book.lost()
        self._asks.lost()
        self._usable.clear()
        self._unjudged.clear()
        self._over.clear()
        self._spare = False
        self._shut()

    def ask(self, attempt: Attempt, begin: Callable[[], None], away: Callable[[], None]) -> None:
        """Have `begin` called once there is a permit, or `away` where none comes in LONGEST_WAIT."""
        if self._open:
            begin()
            return
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
                self._open_or_shut()
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

    def _open_or_shut(self) -> None:
        """Have tasks begin as they come while there is a permit for each thread and nobody else wants one."""
        now = self._link.monotonic()
        if self._waiting or self._running() >= self._concurrency:
            self._busy = now
        full = len(self._usable) >= self._concurrency and now - self._usable[0].since < _LONGEST_KEPT
        if full and self._spare and not self.reserved and not self.stopping:
            self._open = True
        else:
            self._shut()

    def _shut(self) -> None:
        if self._open:
            # In this order, or what is taken back would begin anew.
            self._open = False
            self._take_back()

    def _give_back(self) -> None:
        """Give back what was kept for long enough, though tasks may wait here: it is the turn of others."""
        now = self._link.monotonic()
        keeps = self._spare and now - self._busy < KEPT and len(self._usable) <= self._concurrency
        longest = 0.0 if self.stopping else _LONGEST_KEPT if keeps else KEPT
        while self._usable and self._free > 0 and now - self._usable[0].since >= longest:
            self._requeue(self._usable.popleft())
        for each in [each for each in self._over if self.stopping or now - each.since >= _PARKED]:
            self._over.remove(each)
            self._requeue(each)

    def _begin(self) -> None:
        while self._waiting and (
            self._open or (self._free > 0 and self._running() + self.reserved < self._concurrency)
        ):
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
        self._asks.want(self._wanted)
        if self._waiting or self._over or self._running() or self.reserved:
            self._book.look(_LOOK)
        if (self._waiting or self._open) and self._usable and self._link.monotonic() - self._counted >= KEPT:
            self._counted = self._link.monotonic()
            self._channel.count(names.permits(self._queue), self._count)

    @property
    def _wanted(self) -> int:
        """How many to ask for: with each that comes for more than it, so that many come soon."""
        if not self._waiting:
            return 0
        usable = len(self._usable)
        return max(0, min(max(len(self._waiting), usable + 1), self._concurrency - usable))

    def _count(self, found: spec.Queue.DeclareOk) -> None:
        # Who holds a permit is a consumer too; so where there is none, its leader has not answered.
        if found.consumer_count:
            taken = self._book.issued + len(self._asks)
            self._spare = found.message_count > 0 or found.consumer_count <= taken
        self.look()

    def _arrived(self, delivery: Delivery, consumer: str) -> None:
        permit = read_permit(delivery.message)
        if permit is None:
            self._stray(delivery, names.permits(self._queue))
            return
        if not self._asks.answered(consumer):
            # It was on its way when its consumer was cancelled.
            delivery.channel.requeue(delivery.tag)
            return
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
                    self._asks.ack(each.tag, each.consumer)
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
        self._asks.requeue(held.tag, held.consumer, wanted=self._wanted)

    def _plan(self) -> None:
        """Look again when the next thing is due."""
        now = self._link.monotonic()
        # Nothing else looks while all that has begun hangs.
        due = [self._counted + KEPT] if self._open else []
        if self._waiting:
            due.append(self._waiting[0].since + LONGEST_WAIT)
        if self._free > 0:
            due.append(max(self._usable[0].since, self._busy if self._spare else 0.0) + KEPT)
        if self._over or self.reserved:
            due.append(self._book.asked + _LOOK)
        if due:
            self._timer.set(max(min(due) - now, _SOON))
