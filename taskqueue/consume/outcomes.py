"""What a consumer remembers of tasks whose delivery was lost before they were settled. Pure."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

T = TypeVar("T")

KEPT = 600.0
"""Seconds: a lost delivery is handed out again at once; later on another task may look the same."""
MOST = 2000
"""Outcomes of a queue that are remembered; more than may be out."""


class Outcomes(Generic[T]):
    """Outcomes by what identifies a task and its attempt; each is used once."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[float, T]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def keep(self, key: Hashable, outcome: T, now: float) -> None:
        """Remember one, and forget the eldest of too many; `now` in seconds, of a clock that only goes on."""
        self._kept.pop(key, None)
        self._kept[key] = (now, outcome)
        if len(self._kept) > MOST:
            del self._kept[next(iter(self._kept))]

    def take(self, key: Hashable, now: float) -> T | None:
        """Give the outcome and forget it; None where there is none, or only an old one."""
        since, outcome = self._kept.pop(key, (now, None))
        return outcome if now - since <= KEPT else None
