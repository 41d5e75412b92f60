"""Look through all that waits on a ladder, each task once, and leave it as it was.

The rungs are looked through level by level, in the order in which tasks walk them, the nine of a level at
once. The messages of a rung are consumed without an ack, in pages, up to a marker of the look
(`taskqueue.operate.markers`). What comes to its end meanwhile goes on: it is given back in time, and the
broker hands it on, as it looks for what has expired before it hands anything out. What is left goes back when
the channel closes, in its order.

A task that walks on while the ladder is looked through is met again on a later rung. Those that may are
remembered.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from taskqueue.broker.asking import Channel, Counts, Delivery
from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Session
from taskqueue.errors import NotDeclared, NotKnown, TaskqueueError
from taskqueue.operate.markers import Markers, is_marker, marking
from taskqueue.operate.reading import whole
from taskqueue.operate.rungs import Rung, stages
from taskqueue.settings import Settings
from taskqueue.task import decode as state
from taskqueue.task.astray import itinerary
from taskqueue.task.message import PREFIX, Message
from taskqueue.topology import names

Progress = Callable[[int, int], None]
"""Called with how many messages were looked at, and how many there are to look at."""
LOOK = f"{PREFIX}look"
"""The look that has put a task where it is: it does not act on it once more."""
_FIRST_PAGE = 1_000
_LARGEST_PAGE = 65_535
"""AMQP's largest prefetch. A quorum queue takes none at all for 2000."""
_PAGE_BYTES = 64 * 2**20
_PATIENCE = 15.0
"""Seconds in which a broker reads from its disk, or takes back what another look held."""
_HANDED_ON, _AT_ONCE = 10.0, 1.0
"""Seconds in which a broker hands on what it has in hand; the second where it is late on another rung."""
_POLL = 0.02
_TICK = 0.1
_LATE_MS = 1_000
"""How long after its time a task is given back: the clocks of sender and broker agree to within that."""
_WALKING_MS = 900_000
"""What comes to its end within this is remembered: no look takes as long."""
_ASTRAY_MS = 60_000
"""A message that should have left so long ago tells nothing about when it leaves."""


@dataclass(frozen=True, slots=True)
class Held:
    """A waiting message that a look holds."""

    message: Message
    rung: Rung
    delivery: Delivery
    _of: _RungLook

    def keep(self) -> None:
        """Hold it even when it comes to its end: what becomes of it is under way."""
        self._of.keep(self.delivery)

    def take(self) -> None:
        """Ack the message, which was kept: it is gone from the ladder."""
        self._of.take(self.delivery, self.message)


@dataclass(frozen=True, slots=True)
class Visitor:
    """What a look does with what it finds."""

    visit: Callable[[Held], Awaitable[None] | None]
    """Called with each message, once."""
    settle: Callable[[], Awaitable[None]]
    """Called before the messages of a rung go back: all that is to be taken must be taken then."""


async def look(
    session: Session,
    ladder: str,
    settings: Settings,
    visitor: Callable[[str], Visitor],
    progress: Progress | None = None,
) -> tuple[str, ...]:
    """Look at every message on a ladder. `visitor` is made for the id of the look.

    Covers all that is there from the beginning to the end of the look, and some of what comes or goes
    meanwhile. Gives the wait queues that tasks have left which the broker does not hand on: those were not
    seen. Raises NotDeclared where a rung is missing, NotKnown where the look can't be complete: what was
    taken by then stays taken.
    """
    levels = stages(ladder, settings)
    every = [rung.queue for level in levels for rung in level]
    units = tuple(settings.rungs.unit(level) for level in range(settings.rungs.levels))
    async with marking(session, ladder, units) as markers:
        counts = await session.each("", undisturbed, every)
        total = sum(each.ready for each in counts)
        walk = _Walk(session, markers, visitor(markers.look), progress, total)
        for level in levels:
            await session.each("", walk.look_at, level)
        held = [name for name, each in zip(every, counts, strict=True) if each.ready]
        await session.each("", undisturbed, held)
        return tuple(walk.stuck)


class _Walk:
    """What the looks at the rungs of one ladder share."""

    def __init__(
        self, session: Session, markers: Markers, visitor: Visitor, progress: Progress | None, total: int
    ) -> None:
        self.markers = markers
        self.visitor = visitor
        self.seen: set[int] = set()
        """Those that may be met again: a number for each, as their texts would take ten times the room."""
        self.stuck: list[str] = []
        self._session = session
        self._progress = progress
        self._looked, self._total = 0, total

    async def look_at(self, _session: Session, rung: Rung) -> None:
        """Look through one rung."""
        async with self._session.own_channel() as channel:
            looking = _RungLook(self, channel, rung)
            try:
                await looking.run()
            except Refused as error:
                raise error.told() from error
            finally:
                with suppress(TaskqueueError, Refused):
                    await looking.give_back()

    def count(self) -> None:
        """Count a message that was looked at."""
        self._looked += 1
        if self._progress is not None:
            self._progress(self._looked, max(self._looked, self._total))


class _RungLook:
    """The look through one rung: what it holds, and when it has to be given back.

    Each page is a consumer. A quorum queue takes back what a channel held page by page (in the order of the
    consumer tags, up to 32 of them), so the order is kept.
    """

    def __init__(self, walk: _Walk, channel: Channel, rung: Rung) -> None:
        self._walk = walk
        self._channel = channel
        self._rung = rung
        self._legs: dict[str, int] = {}
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
        """Have the broker give nothing more; what came again goes back first, to be first in line."""
        if self._tag:
            await self._channel.ask("basic_cancel", self._tag)
        for tag in sorted(self._again):
            self._channel.give_back(tag)

    def keep(self, delivery: Delivery) -> None:
        """Hold a message even when it comes to its end."""
        self._loose.discard(delivery.tag)
        self._again.discard(delivery.tag)

    def take(self, delivery: Delivery, message: Message) -> None:
        """Ack a message, which removes it from the queue."""
        self._channel.ack(delivery)
        # Another copy of the same task is to be taken, too.
        self._walk.seen.discard(_identity(message))
        self._make_room(delivery.tag)

    async def _visit_all(self, marked: asyncio.Task[asyncio.Future[None]]) -> None:
        own = self._walk.markers.seen(self._rung)
        while True:
            if self._room == 0:
                await self._turn_page()
            found = await self._next(marked)
            self._newest = found.tag
            self._received += 1
            self._room -= 1
            self._bytes += len(found.message.body)
            if is_marker(found.message):
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

    async def _hand_on(self, gone: asyncio.Future[None]) -> None:
        """Wait until the other marker has come out of the rung."""
        while not gone.done():
            found = await self._channel.next(_POLL)
            # A classic queue hands out at once what is over, and finds it over when it comes back.
            if found is not None and self._walk.markers.has_gone(found.message):
                self._channel.requeue(found)

    async def _next(self, marked: asyncio.Task[asyncio.Future[None]]) -> Delivery:
        deadline = asyncio.get_running_loop().time() + _PATIENCE
        while True:
            found = await self._channel.next(_TICK)
            if found is not None:
                return found
            if marked.done() and marked.exception() is not None:
                await marked
            if not marked.done():
                deadline = asyncio.get_running_loop().time() + _PATIENCE
            elif asyncio.get_running_loop().time() > deadline:
                raise NotKnown(
                    f"{self._rung.queue}: the broker hands out no more of it: the look is not complete"
                )

    async def _turn_page(self) -> None:
        former = self._tag
        self._page += 1
        self._tag = f"look-{self._page:06d}"
        mean = self._bytes // max(1, self._received)
        bounded = max(_FIRST_PAGE, _PAGE_BYTES // max(1, mean))
        self._size = self._room = min(max(_FIRST_PAGE, 8 * self._size), bounded, _LARGEST_PAGE)
        self._newest_of_former = self._newest
        await self._channel.consume(self._rung.queue, window=self._size, tag=self._tag)
        if former:
            await self._channel.ask("basic_cancel", former)

    def _make_room(self, tag: int) -> None:
        if tag > self._newest_of_former:
            self._room += 1

    def _is_new(self, found: Delivery) -> bool:
        """Note when a message leaves the rung, and tell whether this look sees it for the first time."""
        message = found.message
        leaves = self._leaves(message)
        now = int(time.time() * 1000)
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

    def _leaves(self, message: Message) -> int | None:
        """Tell when a message leaves this rung (milliseconds since the epoch), None where nobody knows."""
        due = whole(message.headers, state.DUE)
        if due is None:
            return None
        left = 0
        for key in itinerary(message.headers):
            length = self._legs.get(key)
            if length is None:
                length = self._legs[key] = self._length(key)
            left = 0 if length < 0 else left + length
        leaves = due - left
        return leaves if leaves > time.time() * 1000 - _ASTRAY_MS else None

    def _length(self, key: str) -> int:
        """Give the milliseconds of the leg that a key leads to, less than zero for this rung."""
        goes = key.partition(">")[2]
        if goes == self._rung.ttl:
            return -1
        rung = names.timed(names.rung("x", goes))
        return int(rung.seconds * 1000) if rung is not None else 0

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


def _identity(message: Message) -> int:
    headers = message.headers
    return hash(
        (message.properties.get("message_id"), headers.get(state.DUE), headers.get(state.RUNS), message.body)
    )


async def undisturbed(session: Session, queue: str) -> Counts:
    """Wait until nobody holds a message of a queue: messages come back when the look at them ends.

    Raises NotDeclared where there is no such queue, NotKnown.
    """
    deadline = asyncio.get_running_loop().time() + _PATIENCE
    while True:
        counts = await session.counts(queue)
        if counts is None:
            raise NotDeclared(f"queue {queue} does not exist: run `taskqueue declare`")
        if not counts.consumers:
            return counts
        if asyncio.get_running_loop().time() > deadline:
            raise NotKnown(
                f"{queue}: somebody else holds messages of it, so a look would not be complete: try again"
            )
        await asyncio.sleep(_POLL)
