"""The threads that make the requests, and the line of each queue."""

from __future__ import annotations

import queue
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from taskqueue.broker.delivery import Delivery
from taskqueue.request.execute import Executor
from taskqueue.task.decode import Task
from taskqueue.task.result import Result

_IDLE = 10.0
"""Seconds without work after which a thread ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A delivery and the task in it, to be run once."""

    delivery: Delivery
    task: Task

    @property
    def earlier_deliveries(self) -> int:
        """How often the task was handed out before without an answer."""
        return self.delivery.earlier_deliveries + self.task.crashes

    @property
    def identity(self) -> tuple[str, int, bytes]:
        """What identifies a task and its attempt, however often it is handed out."""
        return self.task.id, self.task.runs, self.delivery.message.body


class Pool:
    """The threads of one process: as many as there is work for, and none for long without work.

    A thread that begins starts the next one where more jobs wait. So the I/O thread never starts more than
    one, and a few threads do many short requests of many queues that are due at once.
    """

    def __init__(self, name: str = "taskqueue-worker") -> None:
        self._name = name
        self._lock = threading.Lock()
        self._jobs: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._threads: set[threading.Thread] = set()
        self._made = 0
        self._starting = False
        self._spare = 0
        """Waiting threads minus the jobs in the line; below zero where there are too few threads."""

    def run(self, job: Callable[[], None]) -> None:
        """Have a thread do a job, soon."""
        self._jobs.put(job)
        with self._lock:
            self._spare -= 1
            make = self._is_short()
        if make:
            self._make()

    def end(self, timeout: float) -> None:
        """Let every thread end, and wait `timeout` seconds for those that have something to do."""
        with self._lock:
            threads = tuple(self._threads)
        for _ in threads:
            self._jobs.put(None)
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))

    def _is_short(self) -> bool:
        if self._spare >= 0 or self._starting:
            return False
        self._starting = True
        return True

    def _make(self) -> None:
        thread = threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True)
        self._made += 1
        with self._lock:
            self._threads.add(thread)
        thread.start()

    def _work(self) -> None:
        with self._lock:
            self._starting = False
            self._spare += 1
            make = self._is_short()
        if make:
            self._make()
        while (job := self._next()) is not None:
            job()
            with self._lock:
                self._spare += 1
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _next(self) -> Callable[[], None] | None:
        while True:
            try:
                return self._jobs.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    # Otherwise a job is about to come that counts on this thread.
                    if self._spare > 0:
                        self._spare -= 1
                        return None


class Workers:
    """Runs the attempts of one queue, `count` at a time, and hands their results to `finished`."""

    def __init__(
        self,
        executor: Executor,
        name: str,
        count: int,
        finished: Callable[[Attempt, Result], None],
        pool: Pool,
    ) -> None:
        self._executor = executor
        self._name = name
        self._count = count
        self._finished = finished
        self._pool = pool
        self._lock = threading.Lock()
        self._line: deque[Attempt] = deque()
        self._serving = 0

    def submit(self, attempt: Attempt) -> None:
        """Put an attempt in the line."""
        with self._lock:
            self._line.append(attempt)
            if self._serving == self._count:
                return
            self._serving += 1
        self._pool.run(self._serve)

    def drop(self) -> list[Attempt]:
        """Empty the line and give what was in it. What runs already goes on."""
        with self._lock:
            dropped = list(self._line)
            self._line.clear()
        return dropped

    def close(self) -> None:
        """Close the connections to receivers."""
        self._executor.close()

    def take(self) -> Attempt | None:
        """Take the next attempt out of the line; None where a thread that serves it has nothing to do."""
        with self._lock:
            if self._line:
                return self._line.popleft()
            self._serving -= 1
            return None

    def _serve(self) -> None:
        while (attempt := self.take()) is not None:
            self._finished(attempt, self._executor.run(attempt.task, queue=self._name))
