"""From the workers to the I/O thread: many results cost one wake-up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from taskqueue.broker.link import Link
from taskqueue.consume.workers import Attempt
from taskqueue.task.result import Result

LINGER = 0.004
"""Seconds after which an I/O thread that had results looks for more, unasked."""


class Results:
    """The results that wait for the I/O thread: there, `each` is called with every one, and `then` once."""

    def __init__(
        self, link: Link, *, each: Callable[[Attempt, Result], None], then: Callable[[], None]
    ) -> None:
        self._link = link
        self._each = each
        self._then = then
        self._waiting: deque[tuple[Attempt, Result]] = deque()
        self._draining = False

    def add(self, attempt: Attempt, result: Result) -> None:
        """Bring a result to the I/O thread; from any thread."""
        self._waiting.append((attempt, result))
        if not self._draining:
            self._draining = True
            self._link.call(self.drain)

    def drain(self) -> None:
        """Take what is there; on the I/O thread."""
        if not self._waiting:
            self._draining = False
            # A result that came between the two lines above woke nobody.
            if not self._waiting:
                return
            self._draining = True
        # Looking again by itself spares the wake-ups and most acks of a consumer that is busy.
        self._link.later(LINGER, self.drain)
        for _ in range(len(self._waiting)):
            self._each(*self._waiting.popleft())
        self._then()
