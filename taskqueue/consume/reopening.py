"""How long a queue waits until its channel is opened again. Pure: `now` is an argument."""

from __future__ import annotations

from taskqueue.tries import Backoff

_REOPEN = 1.0
_LONGEST_REOPEN = 10.0
_HEALTHY = 30.0
"""Seconds of consuming after which a channel that is lost is opened again soon."""


class Reopening:
    """Waits longer each time, until the queue was consumed well for a while.

    A broker that refuses our publishes would have every task run again each time the channel is opened.
    """

    def __init__(self) -> None:
        self.ever_consumed = False
        """Everything that the queue needs was there once."""
        self._backoff = Backoff(_REOPEN, _LONGEST_REOPEN, jitter=0.5)
        self._consuming_since: float | None = None

    def connected(self) -> None:
        """Begin anew: the connection is another one."""
        self._backoff.reset()

    def consuming(self, now: float) -> None:
        """Note that the broker has agreed to a consumer; `now` is in seconds of any clock that only grows."""
        self.ever_consumed = True
        self._consuming_since = now

    def delay(self, now: float) -> float:
        """Give the seconds until the channel that was just closed is to be opened again."""
        if self._consuming_since is not None and now - self._consuming_since > _HEALTHY:
            self._backoff.reset()
        self._consuming_since = None
        return self._backoff.next()
