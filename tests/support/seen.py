"""A consumer's metrics that note the probes which have come to it."""

from __future__ import annotations

import threading

from taskqueue.consume.metrics import NullMetrics
from tests.support.stage import PATIENCE


class Seen(NullMetrics):
    """Notes each probe that came to this consumer."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self._changed = threading.Condition()

    def probed(self, ladder: str, lateness: float) -> None:
        """Note it."""
        assert ladder
        with self._changed:
            self.late.append(lateness)
            self._changed.notify_all()

    def wait_for(self, count: int) -> None:
        """Wait until so many have come."""
        with self._changed:
            assert self._changed.wait_for(lambda: len(self.late) >= count, PATIENCE), self.late
