"""The look through one rung of a ladder: what it holds, and when that has to be given back."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from taskqueue.broker.asking import BEHIND_MANY, Channel, Delivery
from taskqueue.errors import NotKnown
from taskqueue.operate.markers import Markers
from taskqueue.operate.reading import whole
from taskqueue.operate.rungs import Rung, rest_ms
from taskqueue.schedule.messages import read_wake
from taskqueue.task import decode as state
from taskqueue.task.astray import is_marker, itinerary
from taskqueue.task.message import PREFIX, Message
from taskqueue.task.probe import is_probe

Progress = Callable[[int, int], None]
"""Called with how many messages were looked at, and how many there are to look at."""
LOOK = f"{PREFIX}look"
"""The look that has put a task where it is: it does not act on it once more."""
_FIRST_PAGE = 1_000
_LARGEST_PAGE = 65_535
"""AMQP's largest prefetch. A quorum queue takes none at all for 2000."""
_PAGE_BYTES = 64 * 2**20
_PATIENCE = 15.0
"""Seconds in which a broker reads from its disk."""
_HANDED_ON, _AT_ONCE = 10.0, 1.0
"""Seconds in which a broker hands on what it has in hand; the second where it is late on another rung."""
_POLL = 0.02
_QUIET = 0.5
_TICK = 0.1
_LATE_MS = 1_000
"""How long after its time a task is given back: the clocks of sender and broker agree to within that."""
_WALKING_MS = 900_000
"""What comes to its end within this is remembered: no look takes as long."""
_ASTRAY_MS = 60_000
"""A message that should have left so long ago tells nothing about when it leaves."""
_Marked = asyncio.Task[asyncio.Future[None] | None]


@dataclass(frozen=True, slots=True)
class Held:
    """A waiting message that a look holds."""

    message: Message
    rung: Rung
    delivery: Delivery
    _of: RungLook

    def keep(self) -> None:
        """Hold it even when it comes to its end: what becomes of it is under way."""
        self._of.keep(self.delivery, self.message)

    def take(self) -> None:
        """Ack the message, which was kept: it is gone from the ladder."""
        self._of.take(self.delivery)


@dataclass(frozen=True, slots=True)
class Visitor:
    """What a look does with what it finds."""

    visit: Callable[[Held], Awaitable[None] | None]
    """Called with each message, once."""
    settle: Callable[[], Awaitable[None]]
    """Called before the messages of a rung go back: all that is to be taken must be taken then."""


@dataclass(slots=True)
class Walk:
    """What the looks at the rungs of one ladder share."""

    markers: Markers
    visitor: Visitor
    total: int
    """How many messages there are to look at, about."""
    progress: Progress | None
    seen: set[int] = field(default_factory=set)
    """Those that may be met again: a number for each, as their texts would take ten times the room."""
    stuck: list[str] = field(default_factory=list)
    """Rungs that tasks have left which the broker does not hand on."""
    _looked: int = 0

    def count(self) -> None:
        """Count a message that was looked at."""
        self._looked += 1
        if self.progress is not None:
            self.progress(self._looked, max(self._looked, self.total))


class RungLook:
    """The look through one rung: what it holds, and when it has to be given back.

    Each page is a consumer. A quorum queue takes back what a channel held page by page (in the order of the
    consumer tags, up to 32 of them), so the order is kept.
    """

    def __init__(self, walk: Walk, channel: Channel, rung: Rung) -> None:
        self._walk = walk
        self._channel = channel
        self._rung = rung
        self._leaving: list[tuple[int, int]] = []
        """When a message leaves the rung (milliseconds since the epoch) and its tag, the next first."""
        self._loose: set[int] = set()
        """Tags of those that may be given back when they leave."""
        self._again: set[int] = set()
        """Tags of messages that were given back before their time, and came again."""
        self._late_ms = _LATE_MS
        self._bytes = self._received = 0
        self._page = self._size = self._room = 0
        self._newest = self._newest_of_former = 0
        self._tag = ""

    async def run(self) -> None:
        """Visit every message up to the marker; ends when all that left before has been handed on."""
        releasing = asyncio.create_task(self._release())
        try:
            await self._turn_page()
            await self._alone()
            marked = asyncio.create_task(self._walk.markers.put(self._rung))
            try:
                await self._visit_all(marked)
                gone = await marked
            finally:
                marked.cancel()
                await asyncio.gather(marked, return_exceptions=True)
            await self._walk.visitor.settle()
            try:
                async with asyncio.timeout(_AT_ONCE if self._walk.stuck else _HANDED_ON):
                    await self._hand_on(gone)
            except TimeoutError:
                self._walk.stuck.append(self._rung.queue)
        finally:
            releasing.cancel()
            await asyncio.gather(releasing, return_exceptions=True)

    async def give_back(self) -> None:
        """Put what came again back first, to be first in line; all else goes back when the channel closes."""
        if self._again:
            await self._channel.ask("basic_cancel", self._tag, patience=BEHIND_MANY)
        for tag in sorted(self._again):
            self._channel.give_back(tag)

    def keep(self, delivery: Delivery, message: Message) -> None:
        """Hold a message even when it comes to its end."""
        # It can't come again while it is held: what looks like it is another copy of the same task.
        self._walk.seen.discard(_identity(message))
        self._loose.discard(delivery.tag)
        self._again.discard(delivery.tag)

    def take(self, delivery: Delivery) -> None:
        """Ack a message, which removes it from the queue."""
        self._channel.ack(delivery)
        self._make_room(delivery.tag)

    async def _alone(self) -> None:
        """Wait until nobody else holds a task: with a consumer of our own, no count is a guess."""
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        queue = self._rung.queue
        while True:
            answer = await self._channel.ask("queue_declare", queue, patience=BEHIND_MANY, passive=True)
            if answer.consumer_count == 1:
                return
            if asyncio.get_running_loop().time() > deadline:
                raise NotKnown(
                    f"{queue}: somebody else holds messages of it, so a look would not be complete: try again"
                )
            await asyncio.sleep(_POLL)

    async def _visit_all(self, marked: _Marked) -> None:
        own = self._walk.markers.seen(self._rung)
        while True:
            if self._room == 0:
                await self._turn_page()
            found = await self._next(marked)
            if found is None:
                return
            self._newest = found.tag
            self._received += 1
            self._room -= 1
            self._bytes += len(found.message.body)
            if is_probe(found.message):
                # It has a time like a task, and walks on when that is over.
                self._is_new(found)
            elif is_marker(found.message):
                if self._walk.markers.has_gone(found.message):
                    self._channel.requeue(found)
                else:
                    # One of a look that was killed would go nowhere else by itself.
                    self._channel.ack(found)
                self._make_room(found.tag)
                if found.message.properties.get("message_id") == own:
                    return
            elif self._is_new(found):
                self._walk.count()
                waits = self._walk.visitor.visit(Held(found.message, self._rung, found, self))
                if waits is not None:
                    await waits

    async def _hand_on(self, gone: asyncio.Future[None] | None) -> None:
        """Wait until the other marker has come out of the rung."""
        while gone is not None and not gone.done():
            found = await self._channel.next(_POLL)
            # A classic queue hands out at once what is over, and finds it over when it comes back.
            if found is not None and self._walk.markers.has_gone(found.message):
                self._channel.requeue(found)

    async def _next(self, marked: _Marked) -> Delivery | None:
        """Wait for a message; None where there is no marker, and the broker hands out nothing more."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _PATIENCE
        while True:
            found = await self._channel.next(_TICK)
            if found is not None:
                return found
            if not marked.done():
                deadline = loop.time() + _PATIENCE
            elif await marked is None:
                return await self._last()
            if loop.time() > deadline:
                raise NotKnown(
                    f"{self._rung.queue}: the broker hands out no more of it: the look is not complete"
                )

    async def _last(self) -> Delivery | None:
        """Give what comes within a moment: where no marker tells, silence does."""
        # The channel answers this after everything that its queue has given it so far.
        await self._channel.ask("basic_qos", patience=BEHIND_MANY, prefetch_count=self._size)
        return await self._channel.next(_QUIET)

    async def _turn_page(self) -> None:
        former = self._tag
        self._page += 1
        self._tag = f"look-{self._page:06d}"
        mean = self._bytes // max(1, self._received)
        bounded = max(_FIRST_PAGE, _PAGE_BYTES // max(1, mean))
        self._size = self._room = min(max(_FIRST_PAGE, 8 * self._size), bounded, _LARGEST_PAGE)
        self._newest_of_former = self._newest
        await self._channel.consume(self._rung.queue, window=self._size, tag=self._tag, patience=BEHIND_MANY)
        if former:
            await self._channel.ask("basic_cancel", former, patience=BEHIND_MANY)

    def _make_room(self, tag: int) -> None:
        if tag > self._newest_of_former:
            self._room += 1

    def _is_new(self, found: Delivery) -> bool:
        """Note when a message leaves the rung, and tell whether this look sees it for the first time."""
        message = found.message
        now = int(time.time() * 1000)
        leaves = leaving(message, self._rung.ttl, now)
        walks = leaves is not None and leaves < now + _WALKING_MS
        known = walks and _identity(message) in self._walk.seen
        if walks and leaves is not None:
            if known and found.redelivered and leaves + self._late_ms < now:
                # It was given back, and the broker does not find it over yet: its clock or it was late.
                self._again.add(found.tag)
                self._late_ms = now - leaves + _LATE_MS // 4
            self._walk.seen.add(_identity(message))
            heapq.heappush(self._leaving, (leaves, found.tag))
            self._loose.add(found.tag)
        return not known and message.headers.get(LOOK) != self._walk.markers.look

    async def _release(self) -> None:
        """Give back what is at its end, until cancelled."""
        while True:
            await asyncio.sleep(_TICK)
            over = time.time() * 1000 - self._late_ms
            while self._leaving and self._leaving[0][0] <= over:
                _, tag = heapq.heappop(self._leaving)
                if tag in self._loose:
                    self._loose.discard(tag)
                    self._again.discard(tag)
                    self._channel.give_back(tag)
                    self._make_room(tag)


def leaving(message: Message, ttl: str, now: int) -> int | None:
    """Tell when a message leaves the rung of `ttl`, None where nobody knows; milliseconds since the epoch."""
    due = whole(message.headers, state.DUE)
    if due is None:
        wake = read_wake(message)
        if wake is None:
            return None
        # One that asks for the broker's time is on the shortest rung, whatever it was sent for.
        due = wake.at * 1000 if wake.asked is None else now
    leaves = due - rest_ms(itinerary(message.headers), ttl)
    return leaves if leaves > now - _ASTRAY_MS else None


def _identity(message: Message) -> int:
    headers = message.headers
    return hash(
        (message.properties.get("message_id"), headers.get(state.DUE), headers.get(state.RUNS), message.body)
    )
