"""What the channel of a queue is at, and what its consumer is asked for."""

from __future__ import annotations

import enum


class Phase(enum.Enum):
    """What the channel is at: each state follows from the one above it, and CLOSED from any."""

    CLOSED = "there is no channel"
    OPENING = "it is being opened, and what the queue needs is looked up"
    READY = "everything is there, and nothing is consumed"
    CONSUMING = "the broker hands messages out"
    PARTING = "the consumer is to be cancelled, as soon as nothing is on its way to it"
    LEAVING = "the consumer is cancelled, and what is on its way still comes; then READY, or CONSUMING anew"


class Asked(enum.Enum):
    """What the consumer is asked for; who was asked to leave is never asked to stay again."""

    TO_STAY = enum.auto()
    TO_PAUSE = enum.auto()
    TO_LEAVE = enum.auto()
