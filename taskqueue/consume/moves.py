"""Which queues do not take what is to be moved there, and when that is tried again."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field

from taskqueue.tries import Backoff

log = logging.getLogger(__name__)

_RETRY = 1.0
_LONGEST_RETRY = 30.0


@dataclass(slots=True)
class _Refusing:
    """A queue that has refused a move, and the time (monotonic) of the next try."""

    next: float = 0.0
    backoff: Backoff = field(default_factory=lambda: Backoff(_RETRY, _LONGEST_RETRY))


class Moves:
    """The queues to which tasks of one queue can't be moved for now.

    One move is tried now and then, and all others wait on the ladder meanwhile: a queue without a leader
    gives no answer for half a minute, and each move that waits for one takes the place of a task that could
    run. `monotonic` gives seconds, of a clock that only goes on.
    """

    def __init__(self, queue: str, monotonic: Callable[[], float]) -> None:
        self._queue = queue
        self._monotonic = monotonic
        self._refusing: dict[str, _Refusing] = {}

    def may_try(self, target: str) -> bool:
        """Tell whether a task is to be moved now, and have the next ones wait if so."""
        refusing = self._refusing.get(target)
        if refusing is None:
            return True
        now = self._monotonic()
        if now < refusing.next:
            return False
        refusing.next = now + refusing.backoff.next()
        return True

    def refused(self, target: str, why: str) -> None:
        """Note that a queue did not take a task; logged until it takes one again."""
        if target in self._refusing:
            return
        refusing = self._refusing[target] = _Refusing()
        refusing.next = self._monotonic() + refusing.backoff.next()
        log.error(
            "%s: what names queue %s can't be moved there (%s): nothing is lost, it waits on the ladder, "
            "and is tried again with the backoff of %s",
            self._queue,
            target,
            why,
            self._queue,
        )

    def taken(self, target: str) -> None:
        """Note that a queue has taken a task."""
        if self._refusing.pop(target, None) is not None:
            log.warning("%s: queue %s takes tasks again", self._queue, target)
