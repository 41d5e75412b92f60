"""The fixed pool of threads that makes one queue's requests."""

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
    """Threads that take attempts from one line and hand their results to `finished`."""

    def __init__(
        self, executor: Executor, name: str, count: int, finished: Callable[[Attempt, Result], None]
    ) -> None:
        self._executor = executor
        self._name = name
        self._finished = finished
        self._line: queue.SimpleQueue[Attempt | None] = queue.SimpleQueue()
        self._threads = [
            threading.Thread(target=self._work, name=f"{name}-{number}", daemon=True)
            for number in range(count)
        ]

    def start(self) -> None:
        """Start the threads."""
        for thread in self._threads:
            thread.start()

    def submit(self, attempt: Attempt) -> None:
        """Put an attempt in the line."""
        self._line.put(attempt)

    def drop(self) -> list[Attempt]:
        """Empty the line and give what was in it; what runs already goes on."""
        dropped = []
        with suppress(queue.Empty):
            while (attempt := self._line.get_nowait()) is not None:
                dropped.append(attempt)
        return dropped

    def end(self, timeout: float) -> None:
        """Let every thread end, and wait `timeout` seconds for those that are in a request."""
        for _ in self._threads:
            self._line.put(None)
        deadline = time.monotonic() + timeout
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        self._executor.close()

    def _work(self) -> None:
        while (attempt := self._line.get()) is not None:
            self._finished(attempt, self._executor.run(attempt.task, queue=self._name))
