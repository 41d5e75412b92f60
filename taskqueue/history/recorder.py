"""Writes the history, on a thread and a connection of its own, so that nothing else waits for it.

A broker with an alarm reads nothing more from a connection that has published, and a stream without a leader
stops the one that publishes to it (``rabbit_stream_queue:deliver``, from 256 unconfirmed messages on). So
the connection of the tasks is none for records. What can't be written is kept up to a bound, then dropped.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import secrets
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

from pika.exceptions import AMQPError

from taskqueue.broker.asking import Channel
from taskqueue.broker.pika_log import IoThread, hush
from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Session, connected
from taskqueue.errors import NotKnown, TaskqueueError
from taskqueue.events import Event
from taskqueue.history.records import (
    INTERVAL,
    UNRECORDED,
    Stretch,
    batch_publish,
    entry_publish,
    mark,
    record,
)
from taskqueue.history.stream import told
from taskqueue.settings import Settings
from taskqueue.task.message import Publish
from taskqueue.tries import Backoff

log = logging.getLogger(__name__)

FLUSH = 1.0
"""Seconds until a record is on its way: what a SIGKILL costs."""
KEPT = 20_000
"""Records that are kept while they can't be written."""
_BATCH = 500
_MARKS = 20_000
"""Ids in one entry, at most a batch more: what a reader has to look through for one of them."""
_CONFIRMING = 10.0
_LONGEST_DELAY = 30.0
_LEAVING = 3.0
"""Seconds that what is left gets when a consumer ends."""
_PATIENCE = 30.0
"""The same where a command ends. Who did what is worth more, and its broker was there a moment ago."""
_REMINDER = 60.0
Listener = Callable[[Event], None]


@contextmanager
def recording(
    settings: Settings, dropped: Callable[[int], None], *, tell: Callable[[str], None] | None = None
) -> Iterator[tuple[Listener, ...]]:
    """Record what the listeners that are given hear, while the context lasts; none where history is off.

    `dropped` is told of records that were dropped, from another thread. A command gives `tell`: it waits at
    its end until its records are confirmed, 30 s at most, and what is lost is told by that in a line.
    """
    if settings.history is None:
        yield ()
        return
    recorder = Recorder(settings, dropped, tell=tell)
    recorder.start()
    try:
        yield (recorder.hear,)
    finally:
        recorder.stop()


@dataclass(frozen=True, slots=True)
class _Batch:
    """A batch that is being written: its number, its ids as marks, and how many records it has."""

    number: int
    publish: Publish
    marks: frozenset[int]
    size: int


@dataclass(slots=True)
class _Open:
    """What the next entry of the index is made of."""

    since: float
    first: int = 1
    last: int = 0
    marks: set[int] = field(default_factory=set)


class Recorder:
    """One writer of the history. `hear` may be called from one thread; `clock` is in seconds of the epoch."""

    def __init__(
        self,
        settings: Settings,
        dropped: Callable[[int], None],
        *,
        tell: Callable[[str], None] | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._dropped = dropped
        self._tell = tell
        self._clock = clock
        self._writer = secrets.token_hex(6)
        self._heard: deque[tuple[float, Event]] = deque()
        self._overflow = self._reported = self._indexed = 0
        self._taken = self._confirmed = 0
        self._batch: _Batch | None = None
        self._numbers = itertools.count(1)
        self._open = _Open(clock())
        self._failing = False
        self._why: Exception | None = None
        self._reminded = 0.0
        self._backoff = Backoff(FLUSH, _LONGEST_DELAY, jitter=0.5)
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._asked: asyncio.Event | None = None
        self._thread = IoThread(target=self._run, name="taskqueue-history", daemon=True)

    def start(self) -> None:
        """Start its thread."""
        hush()
        self._thread.start()

    def hear(self, event: Event) -> None:
        """Take note of what happened; never waits."""
        if event.event in UNRECORDED:
            return
        if len(self._heard) >= KEPT:
            self._overflow += 1
        else:
            self._taken += 1
            self._heard.append((self._clock(), event))

    def stop(self) -> None:
        """Write what is left, within some seconds; what is not confirmed then is dropped, and told."""
        self._stopping = True
        if self._loop is not None and self._asked is not None:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._asked.set)
        self._thread.join(_PATIENCE if self._tell and self._left() else _LEAVING)
        self._report()
        left = self._left()
        if left:
            self._dropped(left)
        # Nobody reads the log of a command, which tells of the others.
        lost = left + (self._overflow if self._tell else 0)
        if lost:
            what = "1 record" if lost == 1 else f"{lost} records"
            why = self._why or "the broker is slow, or silent"
            (self._tell or log.warning)(f"history: {what} could not be written: {why}")

    def _left(self) -> int:
        """Count what was taken and is not confirmed."""
        return self._taken - self._confirmed

    def _run(self) -> None:
        asyncio.run(self._main())

    async def _main(self) -> None:
        self._loop, self._asked = asyncio.get_running_loop(), asyncio.Event()
        last = False
        while True:
            try:
                async with connected(self._settings, name="taskqueue history") as session:
                    await self._write(session)
            except (TaskqueueError, Refused, AMQPError, OSError) as error:
                self._failed(error)
            except Exception as error:
                self._why = error
                # A fault of ours must not end the history, and much less the tasks.
                log.exception("history: unexpected error, going on with a fresh connection")
            else:
                return
            if last:
                return
            await self._pause(self._backoff.next())
            if self._stopping:
                if not self._left():
                    return
                # One more try, as the fault may have been one of a moment.
                last = True

    async def _write(self, session: Session) -> None:
        async with session.own_channel() as channel:
            await channel.confirms()
            # Who looks for what was written after the last entry of a writer that died need not look far.
            await self._end_stretch(channel)
            while True:
                stopping = self._stopping
                await self._flush(channel)
                self._written()
                if stopping:
                    await self._end_stretch(channel, ended=True)
                    return
                await self._pause(FLUSH)

    async def _flush(self, channel: Channel) -> None:
        while self._heard or self._batch is not None:
            if self._batch is None:
                self._batch = self._next_batch()
            batch = self._batch
            # Where it was not confirmed it goes out again under its number, and a reader takes it once.
            await self._put(channel, batch.publish)
            self._batch = None
            self._confirmed += batch.size
            self._open.last = batch.number
            self._open.marks |= batch.marks
            if len(self._open.marks) >= _MARKS or self._clock() - self._open.since >= INTERVAL:
                await self._end_stretch(channel)
        if self._clock() - self._open.since >= INTERVAL:
            await self._end_stretch(channel)

    def _next_batch(self) -> _Batch:
        taken = [self._heard.popleft() for _ in range(min(_BATCH, len(self._heard)))]
        records = [record(at, event) for at, event in taken]
        number = next(self._numbers)
        publish = batch_publish(self._writer, number, round(self._clock() * 1000), records)
        marks = frozenset(mark(event.id) for _, event in taken if event.id is not None)
        return _Batch(number, publish, marks, len(taken))

    async def _end_stretch(self, channel: Channel, *, ended: bool = False) -> None:
        """Write the entry of what has been written since the last one, also where that is nothing.

        A reader looks through what a writer may have written after its last entry, so that must be little.
        """
        now, opened, lost = self._clock(), self._open, self._overflow
        stretch = Stretch(
            self._writer, round(opened.since * 1000), round(now * 1000), opened.first, opened.last,
            lost - self._indexed, ended,
        )  # fmt: skip
        await self._put(channel, entry_publish(stretch, opened.marks))
        self._indexed = lost
        self._open = _Open(now, opened.last + 1, opened.last)

    async def _put(self, channel: Channel, publish: Publish) -> None:
        """Publish one message, and wait for its confirm: so the broker never has more than one of ours."""
        try:
            async with asyncio.timeout(_CONFIRMING):
                await channel.publish(publish)
        except TimeoutError:
            stream = publish.routing_keys[0]
            raise NotKnown(f"{stream} did not confirm in {_CONFIRMING:g} s: has it a leader?") from None

    def _written(self) -> None:
        if self._failing:
            self._failing = False
            self._why = None
            self._backoff.reset()
            log.info("history: records are written again; %d were dropped in all", self._overflow)

    def _failed(self, error: Exception) -> None:
        why = self._why = told(error) if isinstance(error, Refused) else error
        if not self._failing:
            self._failing = True
            log.warning(
                "history: can't be written, %d records are kept and the rest is dropped; tasks go on: %s",
                KEPT,
                why,
            )
        else:
            log.debug("history: still not written: %s", why)

    async def _pause(self, seconds: float) -> None:
        """Wait, or until it is to stop."""
        self._report()
        if self._asked is not None and not self._stopping:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._asked.wait()

    def _report(self) -> None:
        lost = self._overflow - self._reported
        if lost > 0:
            self._reported += lost
            self._dropped(lost)
            if time.monotonic() - self._reminded > _REMINDER or not self._reminded:
                self._reminded = time.monotonic()
                log.warning("history: %d records were dropped so far", self._reported)
