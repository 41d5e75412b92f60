"""What becomes of a publish."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass

from taskqueue.task.message import Publish


class Outcome(enum.Enum):
    """What became of a publish."""

    CONFIRMED = "confirmed"
    RETURNED = "returned: no queue is bound for its routing key"
    NACKED = "refused by the broker (nack): a queue is full or its leader unavailable"
    LOST = "not confirmed: the channel was closed, or the confirm did not come in time"
    UNFIT = "not publishable: its headers can't be encoded"
    TOO_LARGE = "not publishable: its headers are too large for a frame of the broker (frame_max), or at all"


@dataclass(slots=True)
class Pending:
    """A publish that has no outcome yet."""

    publish: Publish
    done: Callable[[Outcome], None]
    since: float
    returned: bool = False
    """It has come back, and only its confirm is missing."""
