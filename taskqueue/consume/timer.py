"""A look that comes when the next thing is due, and only then."""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.broker.link import Link


class Timer:
    """Calls `look` at the earliest moment that was asked for, once. On the I/O thread only."""

    def __init__(self, link: Link, look: Callable[[], None]) -> None:
        self._link = link
        self._look = look
        self._at = float("inf")

    def set(self, seconds: float) -> None:
        """Call it after so many seconds, unless it is called before."""
        at = self._link.monotonic() + seconds
        if at < self._at:
            self._at = at
            self._link.later(seconds, lambda: self._fire(at))

    def _fire(self, at: float) -> None:
        if at == self._at:
            self._at = float("inf")
            self._look()
