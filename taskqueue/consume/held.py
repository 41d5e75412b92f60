"""Settlements that the broker refuses for now: who tries again, when, and what follows once it is taken."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from taskqueue.broker.link import Link
from taskqueue.tries import Backoff

log = logging.getLogger(__name__)

_RETRY = 1.0
_LONGEST_RETRY = 30.0

Address = tuple[str, str]
"""An exchange, and the routing key of the next thing that is to go there."""


class Refused(Protocol):
    """A settlement whose next successor is refused."""

    @property
    def address(self) -> Address:
        """Where its next successor is to go."""

    @property
    def overdue(self) -> bool:
        """Its delivery must not stay unacked any longer."""

    @property
    def orphaned(self) -> bool:
        """Its delivery can't be acked any more."""

    def start(self) -> None:
        """Publish it, or wait behind others."""

    def publish(self) -> None:
        """Publish it, whoever waits."""


T = TypeVar("T", bound=Refused)


@dataclass(slots=True, eq=False)
class _Line(Generic[T]):
    """Those that go to one address."""

    told: bool = False
    waiting: deque[T] = field(default_factory=deque)
    probe: T | None = None
    in_vain: bool = False
    timer: object = None
    backoff: Backoff = field(default_factory=lambda: Backoff(_RETRY, _LONGEST_RETRY))


class Held(Generic[T]):
    """The settlements of one queue that are held.

    Of those for one address, one at a time is tried again. Once it is taken, all others follow. So a
    thousand that are refused cost the broker no more than one.

    `overdue` is called with each that has been held for too long, `changed` after a try in vain.
    """

    def __init__(
        self,
        queue: str,
        link: Link,
        *,
        overdue: Callable[[T], None],
        changed: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._link = link
        self._overdue = overdue
        self._changed = changed
        self._stopping = False
        self._lines: dict[Address, _Line[T]] = {}

    @property
    def in_vain(self) -> int:
        """How many are refused although the consumer is about to end, and has tried once more."""
        return sum(len(line.waiting) for line in self._lines.values() if line.in_vain and line.probe is None)

    def joins(self, settlement: T) -> bool:
        """Have a new one wait where others are refused; False where none is."""
        line = self._lines.get(settlement.address)
        if line is None:
            return False
        line.waiting.append(settlement)
        return True

    def add(self, settlement: T, why: str) -> None:
        """Hold one that was refused; `why`, if given, is logged for the first and at each further try."""
        address = settlement.address
        line = self._lines.setdefault(address, _Line())
        line.told |= bool(why)
        if line.probe is settlement:
            line.probe = None
        # At the end, so that one that is refused for its own sake holds up no others.
        line.waiting.append(settlement)
        if line.probe is None and line.timer is None:
            delay = line.backoff.next()
            self._schedule(address, line, delay)
            if why:
                log.error("%s: %s; nothing is lost, next try in %.0f s", self._queue, why, delay)
        if self._stopping:
            line.in_vain = True
        self._changed()

    def taken(self, address: Address) -> None:
        """Let all others follow: the broker takes what goes there."""
        line = self._lines.pop(address, None)
        if line is None:
            return
        if line.told:
            log.warning("%s: %s takes what is to go there again", self._queue, address[0] or address[1])
        for settlement in line.waiting:
            settlement.start()

    def ended(self, settlement: T) -> None:
        """Forget one that will not be tried again; the next one is tried in its place."""
        line = self._lines.get(settlement.address)
        if line is None or line.probe is not settlement:
            return
        line.probe = None
        if line.waiting:
            self._schedule(settlement.address, line, 0.0)
        else:
            del self._lines[settlement.address]

    def drop_orphans(self) -> list[T]:
        """Give those that wait and whose delivery can't be acked any more; they are not held any longer."""
        return self._drop(lambda settlement: settlement.orphaned)

    def stop(self) -> None:
        """Try all addresses once more, at once."""
        self._stopping = True
        for address, line in tuple(self._lines.items()):
            if line.probe is None:
                self._schedule(address, line, 0.0)

    def _drop(self, which: Callable[[T], bool]) -> list[T]:
        dropped: list[T] = []
        for address, line in tuple(self._lines.items()):
            dropped += [settlement for settlement in line.waiting if which(settlement)]
            line.waiting = deque(settlement for settlement in line.waiting if not which(settlement))
            if not line.waiting and line.probe is None:
                del self._lines[address]
        return dropped

    def _schedule(self, address: Address, line: _Line[T], delay: float) -> None:
        timer = line.timer = object()

        def due() -> None:
            if line.timer is timer and self._lines.get(address) is line:
                line.timer = None
                self._try(address, line)

        self._link.later(delay, due)

    def _try(self, address: Address, line: _Line[T]) -> None:
        for settlement in self._drop(lambda settlement: settlement.overdue):
            self._overdue(settlement)
        if self._lines.get(address) is line and line.probe is None:
            line.probe = line.waiting.popleft()
            line.probe.publish()
