"""How much of a queue may be out at once, and when it has to be consumed anew for that."""

from __future__ import annotations

import logging
from dataclasses import dataclass

from taskqueue.consume.acks import Ack, Acks
from taskqueue.consume.window import Window

log = logging.getLogger(__name__)

TAKEN = 0.25
"""Seconds in which the broker gets to all acks."""
_MANY = 16
"""Deliveries that are acked at a time; each may be an ack of its own to the broker."""
_ROOM = 0.5
"""How full of held tasks a queue that has stood still may be when it goes on."""


@dataclass(frozen=True, slots=True)
class Look:
    """What a look has shown: that another consumer is to begin, that more is out than is soon worked off."""

    anew: bool
    hoards: bool


class Room:
    """The window of one queue, and on top of it what is held, up to a bound.

    A broker never changes the window of a consumer that there is, and counts in it what is held. So
    another consumer takes the place of the present one: as soon as half of the window is held, and after a
    look where less is. Only when all of the window is out, as nothing is on its way to it then (`Parting`).
    """

    def __init__(self, queue: str, window: Window) -> None:
        self.acks = Acks()
        """What is out on the present channel."""
        self._queue = queue
        self._window = window
        self._prefetch = 0
        self._narrow = False
        self._acked = float("-inf")
        self.full = False
        """As much is held as may be: no other consumer begins until there is room again."""

    def opened(self) -> None:
        """Begin with nothing: the channel is another one."""
        self.acks = Acks()
        self.full = False

    def begin(self) -> int:
        """Give the prefetch of a consumer that begins."""
        self.acks.begin()
        self._narrow = False
        self._prefetch = self._window.beside(self.acks.aside)
        return self._prefetch

    def set_aside(self, tag: int, size: int) -> bool:
        """Note that a delivery of so many bytes is held; False where that was known."""
        if not self.acks.set_aside(tag, size):
            return False
        self._window.passed(1)
        if self.acks.fullness >= 1 and not self.full:
            self.full = True
            log.error(
                "%s: %d tasks are held, as many as may be, as the broker refuses what is to follow from "
                "them: the queue stands still as soon as its window is full of them too",
                self._queue,
                self.acks.aside,
            )
        return True

    def is_short(self) -> bool:
        """Tell whether what is held takes so much of the window that another consumer is to begin."""
        held, size = self.acks.aside_in_window, self._window.size
        if not held or not self.all_out:
            return False
        return 2 * (self._prefetch - held) <= size or self._narrow

    def resized(self, now: float) -> bool:
        """Tell, before what is settled is acked, whether another window is worth another consumer."""
        return self._window.settled(self.acks.settled, now, out=self.acks.out)

    def flush(self, now: float) -> list[Ack]:
        """Take out what may be acked."""
        if self.acks.settled >= _MANY:
            self._acked = now
        return self.acks.flush()

    def just_acked(self, now: float) -> bool:
        """Tell whether so much was acked a moment ago that the broker may not have got to all of it.

        A quorum queue's client puts off acks while 32 others are under way, and forgets them when the
        channel is closed (``rabbit_fifo_client``, SOFT_LIMIT).
        """
        return now - self._acked < TAKEN

    def goes_on(self) -> bool:
        """Tell, after acks, whether there is room again where the queue was full of what is held."""
        if not self.full or self.acks.fullness > _ROOM:
            return False
        self.full = False
        log.warning("%s: there is room for more tasks that are held: it goes on", self._queue)
        return True

    def look(self) -> Look:
        """Look at what is out, once in a ROUND."""
        size = self._window.size
        hoards = self._window.hoards(len(self.acks) - self.acks.aside)
        self._narrow = self._prefetch - self.acks.aside_in_window < self._window.size
        return Look(anew=self._window.size != size or self.is_short(), hoards=hoards)

    @property
    def all_out(self) -> bool:
        """Tell whether all of the window is out, so that nothing is on its way."""
        return self.acks.in_window >= self._prefetch

    @property
    def needs_looks(self) -> bool:
        """Tell whether there is something to look at."""
        return self._window.wide or self.acks.aside > 0
