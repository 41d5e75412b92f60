"""The threads that make one queue's requests: as many as there is work for."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

from taskqueue.execute import Executor, Result
from taskqueue.link import ConfirmChannel
from taskqueue.message import Message
from taskqueue.task import Task

_IDLE = 10.0
"""Seconds without work after which a thread ends."""


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message that the broker has handed out, and the channel on which it can be acked."""

    channel: ConfirmChannel
    tag: int
    message: Message
    redelivered: bool = False
    """The broker has handed it out before."""


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A delivery whose task is due."""

    delivery: Delivery
    task: Task


class Workers:
    """Threads that take attempts from one line and hand their results to `finished`.

    There are as many as there is work for, up to `count`; one that has had nothing to do for a while ends.
    """

    def __init__(
        self, executor: Executor, name: str, count: int, finished: Callable[[Attempt, Result], None]
    ) -> None:
        self._executor = executor
        self._name = name
        self._count = count
        self._finished = finished
        self._line: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._threads: set[threading.Thread] = set()
        self._made = 0
        self._spare = 0
        """Threads that wait less the attempts that are in the line; below zero where there are too few."""

    def submit(self, attempt: Attempt) -> None:
        """Put an attempt in the line, and make a thread for it where none waits."""
        with self._lock:
            if self._spare <= 0 and len(self._threads) < self._count:
                self._made += 1
                thread = threading.Thread(target=self._work, name=f"{self._name}-{self._made}", daemon=True)
                self._threads.add(thread)
                thread.start()
            else:
                self._spare -= 1
        self._line.put(attempt)

    def drop(self) -> list[Attempt]:
        """Empty the line and give what was in it; what runs already goes on."""
        dropped = []
        with suppress(queue.Empty):
            while (attempt := self._line.get_nowait()) is not None:
                dropped.append(attempt)
        with self._lock:
            self._spare += len(dropped)
        return dropped

    def end(self, timeout: float) -> None:
        """Let every thread end, and wait `timeout` seconds for those that are in a request."""
        with self._lock:
            threads = tuple(self._threads)
        for _ in threads:
            self._line.put(None)
        deadline = time.monotonic() + timeout
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._executor.close()

    def _work(self) -> None:
        while (attempt := self._next()) is not None:
            self._finished(attempt, self._executor.run(attempt.task, queue=self._name))
            with self._lock:
                self._spare += 1
        with self._lock:
            self._threads.discard(threading.current_thread())

    def _next(self) -> Attempt | None:
        while True:
            try:
                return self._line.get(timeout=_IDLE)
            except queue.Empty:
                with self._lock:
                    # Otherwise one is about to come, and it was counted on this thread.
                    if self._spare > 0:
                        self._spare -= 1
                        return None
