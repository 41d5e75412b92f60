"""A stop that is asked for while somebody waits for it."""

from __future__ import annotations

from contextlib import suppress
from queue import Empty, SimpleQueue

_LOOK = 1.0
"""Seconds after which a signal is heeded that has not interrupted the wait, as another thread got it."""


class Stop:
    """Asked for by any thread, or by a signal handler in the very thread that waits.

    An Event would not do: a handler that interrupts `wait` at the wrong moment waits for ever in `set`, for a
    lock that its own thread has. ``SimpleQueue.put`` may interrupt its own thread in `get`.
    """

    def __init__(self) -> None:
        self.asked = False
        self._wake: SimpleQueue[None] = SimpleQueue()

    def ask(self) -> None:
        """Ask for it, maybe again."""
        self.asked = True
        self._wake.put(None)

    def wait(self) -> None:
        """Wait until it is asked for."""
        while not self.asked:
            with suppress(Empty):
                self._wake.get(timeout=_LOOK)
