"""What runs at a receiver at the same time, counted there."""

from __future__ import annotations

import threading
import time

from sandbox.receiver import Answer, Receiver, Request


class Crowd:
    """Answers each request after `seconds`, and counts how many are there at once."""

    def __init__(self, receiver: Receiver, path: str, seconds: float) -> None:
        self.seconds = seconds
        self._receiver = receiver
        self._lock = threading.Lock()
        self._now = 0
        self._most = 0
        self.begun: list[float] = []
        receiver.answer(path, self._answer)

    def most(self) -> int:
        """Give the most that were there at once since the last look."""
        with self._lock:
            most, self._most = self._most, self._now
            return most

    def _answer(self, _request: Request) -> Answer:
        with self._lock:
            self._now += 1
            self._most = max(self._most, self._now)
            self.begun.append(time.monotonic())
        self._receiver.closing.wait(self.seconds)
        with self._lock:
            self._now -= 1
        return Answer()
