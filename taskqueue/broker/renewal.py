"""Another channel in place of one on which the broker refuses publishes by a nack.

A quorum queue that is full tells each channel that has published to it to stop, and to go on once it has
room. It never tells it to go on where the limit was raised or taken away (``rabbit_fifo:evaluate_limit/5``):
such a channel gets nacks for ever. A new channel asks anew.
"""

from __future__ import annotations

from taskqueue.broker.channel import ConfirmChannel

_PAUSE = 1.0
"""Seconds between two renewals: a queue may stay full."""


class Renewal:
    """Keeps the former channels until each of their publishes has an outcome."""

    def __init__(self) -> None:
        self._former: set[ConfirmChannel] = set()
        self._last = float("-inf")

    def retire(self, channel: ConfirmChannel, now: float) -> bool:
        """Have a channel that got a nack closed after the outcome of its last publish.

        False, and nothing is done, where one was closed a moment ago (`now` is monotonic).
        """
        if now - self._last < _PAUSE:
            return False
        self._last = now
        self._former.add(channel)
        channel.retire()
        return True

    def closed(self, channel: ConfirmChannel) -> None:
        """Forget a channel that has ended."""
        self._former.discard(channel)

    def abandon(self, reason: str) -> None:
        """End all of them, as their connection is gone."""
        for channel in tuple(self._former):
            channel.abandon(reason)
