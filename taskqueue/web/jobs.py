"""What takes a while: each on a thread and an event loop of its own, so that no page waits for it.

A look through a million tasks takes all that one core has. Beside it the pages go on.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import threading
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from taskqueue.broker import session
from taskqueue.errors import NotKnown, TaskqueueError

log = logging.getLogger(__name__)
Result = TypeVar("Result")
_MOST, _KEPT = 16, 3600.0
"""Jobs at once, and seconds that one which has ended is kept."""
_ABANDONED = 20.0
"""Seconds after which nobody waits any more for a look: its page asks every second or two."""
_LEAVING = 10.0
_TICK = 0.1


class Stopped(TaskqueueError):
    """It was stopped before its end."""


class Job:
    """One of them. `work` gets the job, tells it how far it is, and runs what asks the broker by `run`.

    Jobs of the same `place` come one after the other: the broker hands a message out to one of them only.
    """

    def __init__(
        self,
        work: Callable[[Job], Any],
        place: threading.Lock,
        *,
        watched: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.id = secrets.token_urlsafe(9)
        self.looked = self.total = 0
        self.waits = True
        """Whether another one has its place."""
        self.result: Any = None
        self.error: TaskqueueError | None = None
        self.done = threading.Event()
        self.ended: float | None = None
        self._work = work
        self._place = place
        self._watched = watched
        self._clock = clock
        self._asked = clock()
        self._stopping = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._task: asyncio.Task[Any] | None = None
        self._woken: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._main, name=f"taskqueue-{self.id}", daemon=True)

    def start(self) -> None:
        """Start its thread."""
        self._thread.start()

    def tell(self, looked: int, total: int) -> None:
        """Say how far it is; called for every message."""
        self.looked, self.total = looked, total

    def run(self, work: Coroutine[Any, Any, Result]) -> Result:
        """Run what asks the broker, until it ends or the job is stopped; raises Stopped."""

        async def main() -> Result:
            with self._lock:
                self._loop, self._task = asyncio.get_running_loop(), asyncio.current_task()
                stopping = self._stopping
            if stopping:
                work.close()
                raise asyncio.CancelledError
            return await work

        try:
            return session.run(main())
        except asyncio.CancelledError:
            raise Stopped("it was stopped before its end") from None
        finally:
            with self._lock:
                self._loop = self._task = None

    def stop(self) -> None:
        """Have it end soon: what it holds goes back to its place."""
        with self._lock:
            self._stopping = True
            if self._loop is not None and self._task is not None:
                self._loop.call_soon_threadsafe(self._task.cancel)

    async def wait(self, seconds: float) -> bool:
        """Wait for its end, and tell whether it has come."""
        self._asked = self._clock()
        event = asyncio.Event()
        with self._lock:
            self._woken.append((asyncio.get_running_loop(), event))
        if not self.done.is_set():
            try:
                async with asyncio.timeout(seconds):
                    await event.wait()
            except TimeoutError:
                pass
        return self.done.is_set()

    def join(self, seconds: float) -> None:
        """Wait for the end of its thread."""
        self._thread.join(seconds)

    def is_abandoned(self, now: float) -> bool:
        """Tell whether nobody has asked for it lately, where somebody has to; `now` is monotonic."""
        return self._watched and not self.done.is_set() and now - self._asked > _ABANDONED

    def is_over(self, now: float) -> bool:
        """Tell whether it ended so long ago that nobody asks for it again; `now` is monotonic."""
        return self.ended is not None and now - self.ended > (_ABANDONED if self._watched else _KEPT)

    def _begin(self) -> None:
        while not self._place.acquire(timeout=_TICK):
            if self._stopping:
                raise Stopped("it was stopped before it began")
        self.waits = False

    def _main(self) -> None:
        try:
            self._begin()
            try:
                self.result = self._work(self)
            finally:
                self._place.release()
        except TaskqueueError as error:
            self.error = error
        except Exception:
            log.exception("unexpected error")
            self.error = TaskqueueError("an error of taskqueue itself: its log tells more")
        self.ended = self._clock()
        self.done.set()
        with self._lock:
            woken, self._woken = self._woken, []
        for loop, event in woken:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)


class Jobs:
    """Every job that there is, by its id or by what was asked for."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._places: dict[str, threading.Lock] = {}
        self._jobs: dict[str, Job] = {}

    def start(self, place: str, work: Callable[[Job], Any]) -> Job:
        """Start one that goes on though nobody looks at it; raises NotKnown where there are many."""
        job = self._new(place, work, watched=False)
        self._jobs[job.id] = job
        return job

    def look(self, key: str, place: str, work: Callable[[Job], Any]) -> Job:
        """Give the look that was begun for the same, or begin one; raises NotKnown where there are many."""
        found = self._jobs.get(key)
        if found is None:
            found = self._jobs[key] = self._new(place, work, watched=True)
        return found

    def get(self, job_id: str) -> Job | None:
        """Find one by its id."""
        return self._jobs.get(job_id)

    def forget(self, key: str) -> None:
        """Forget a look whose result was shown: the next one looks again."""
        self._jobs.pop(key, None)

    def tidy(self) -> None:
        """Stop what nobody waits for, and forget what ended long ago."""
        now = self._clock()
        for key, job in tuple(self._jobs.items()):
            if job.is_abandoned(now):
                job.stop()
            elif job.is_over(now):
                del self._jobs[key]

    async def close(self) -> None:
        """Stop all, and wait until what they held is back."""
        jobs = [job for job in self._jobs.values() if not job.done.is_set()]
        for job in jobs:
            job.stop()
        await asyncio.gather(*(asyncio.to_thread(job.join, _LEAVING) for job in jobs))

    def _new(self, place: str, work: Callable[[Job], Any], *, watched: bool) -> Job:
        self.tidy()
        if sum(not job.done.is_set() for job in self._jobs.values()) >= _MOST:
            raise NotKnown(f"{_MOST} looks or acts are under way: wait for one of them to end")
        job = Job(work, self._places.setdefault(place, threading.Lock()), watched=watched, clock=self._clock)
        job.start()
        return job
