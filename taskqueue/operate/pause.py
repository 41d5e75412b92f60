"""A paused queue: no consumer begins a task of it, until it is resumed or its time is over."""

from __future__ import annotations

from dataclasses import dataclass

from taskqueue.broker.session import Session


@dataclass(frozen=True, slots=True)
class Pause:
    """Who has paused a queue, and why; None where that is not known. Times are seconds since the epoch."""

    by: str | None
    reason: str | None
    since: float | None
    until: float | None
    """When it ends by itself; None where only `resume` ends it."""


async def paused(session: Session, queue: str) -> Pause | None:
    """Tell whether a queue is paused, None where it is not.

    Raises NotKnown where that can't be told, as during an alarm of the broker, and NotDeclared.
    """
    raise NotImplementedError(session, queue)
