"""A paused queue: no consumer begins a task of it. No command pauses one yet, so none is."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pause:
    """Who has paused a queue, and why; None where that is not known. Times are seconds since the epoch."""

    by: str | None
    reason: str | None
    since: float | None
    until: float | None
    """When it ends by itself; None where only `resume` ends it."""
