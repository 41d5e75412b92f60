"""Looks once in a while at what is out of a queue, as long as there is reason to."""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.broker.link import Link
from taskqueue.consume.room import Room
from taskqueue.consume.window import ROUND, Window


class Looks:
    """Calls `anew` where another consumer is to begin, `hoarding` where what is out will stand for long."""

    def __init__(
        self,
        link: Link,
        window: Window,
        room: Room,
        *,
        anew: Callable[[], None],
        hoarding: Callable[[], None],
    ) -> None:
        self._link = link
        self._window = window
        self._room = room
        self._anew = anew
        self._hoarding = hoarding
        self._watching = False

    def watch(self) -> None:
        """Look from now on, once in a ROUND, unless nothing is worth it."""
        if not self._watching and self._room.needs_looks:
            self._watching = True
            self._window.watch()
            self._link.later(ROUND, self._look)

    def _look(self) -> None:
        seen = self._room.look()
        if seen.anew:
            self._anew()
        if seen.hoards:
            self._hoarding()
        self._watching = len(self._room.acks) > 0 and self._room.needs_looks
        if self._watching:
            self._link.later(ROUND, self._look)
