"""What an operator of a queue is told once, however many tasks show it."""

from __future__ import annotations

import logging

log = logging.getLogger(__name__)

_MOST = 1000


class Notices:
    """The warnings of one queue, each logged once."""

    def __init__(self, queue: str) -> None:
        self._queue = queue
        self._given: set[str] = set()

    def give(self, text: str, *, once_for: str = "") -> None:
        """Log a warning, unless the same one was logged before, or another that was `once_for` the same."""
        about = once_for or text
        if about not in self._given and len(self._given) < _MOST:
            self._given.add(about)
            log.warning("%s: %s", self._queue, text)
