"""How long to wait before what has failed is tried again; that of the tasks themselves is task/backoff.py."""

from __future__ import annotations

import random


class Backoff:
    """Waits between tries, in seconds: `first`, then each twice as long as the one before, up to `longest`.

    Each wait is taken for `tries` tries, as where there are several hosts, and is shorter by up to `jitter`
    of it, so that many who fail together do not try together.
    """

    __slots__ = ("_first", "_jitter", "_left", "_longest", "_tries", "_wait")

    def __init__(self, first: float, longest: float, *, jitter: float = 0.0, tries: int = 1) -> None:
        self._first = first
        self._longest = longest
        self._jitter = jitter
        self._tries = tries
        self.reset()

    def reset(self) -> None:
        """Begin with the first wait again."""
        self._wait = self._first
        self._left = self._tries

    def next(self) -> float:
        """Give the wait before the next try."""
        if self._left == 0:
            self._wait = min(self._longest, 2 * self._wait)
            self._left = self._tries
        self._left -= 1
        return self._wait * random.uniform(1 - self._jitter, 1)
