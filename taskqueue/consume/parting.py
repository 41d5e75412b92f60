"""When a consumer can be cancelled without a count against what is on its way to it."""

from __future__ import annotations

from collections.abc import Callable

from taskqueue.broker.link import Link
from taskqueue.consume.room import Room

QUIET = 0.1
"""Seconds in which nothing has come, although there was room: the queue has no more for now."""
_DEADLINE = 2.0
"""Seconds after which it is cancelled all the same: one task too many may be counted then."""


class Parting:
    """Waits until nothing is on its way to the consumer of a queue, then calls `over`.

    A quorum queue takes back what is on its way to a consumer that is cancelled, and counts it as handed out
    (``rabbit_fifo_client``, handle_delivery). So no ack is sent meanwhile, and nothing goes back: the window
    fills up, or all that the queue had has come.
    """

    def __init__(self, link: Link, over: Callable[[], None]) -> None:
        self.waits = False
        """It waits: nothing is acked, and nothing put back."""
        self._link = link
        self._over = over
        self._put_off: list[Callable[[], None]] = []
        self._turn = 0

    def begin(self, room: Room) -> None:
        """Wait, or call `over` at once where the window is full."""
        self.waits = True
        self._turn += 1
        self._look(room, self._turn, None, self._link.monotonic() + _DEADLINE)

    def delivered(self, room: Room) -> None:
        """Note that something has come."""
        if self.waits and room.all_out:
            self._end()

    def after(self, function: Callable[[], None]) -> None:
        """Call a function that makes room in the window: at once, unless it waits."""
        if self.waits:
            self._put_off.append(function)
        else:
            function()

    def end(self) -> None:
        """Wait no more: the broker has cancelled it."""
        if self.waits:
            self._end()

    def lost(self) -> None:
        """Forget all: the channel is gone."""
        self.waits = False
        self._put_off.clear()

    def _look(self, room: Room, turn: int, seen: int | None, deadline: float) -> None:
        if not self.waits or turn != self._turn:
            return
        last = room.acks.last
        if room.all_out or last == seen or self._link.monotonic() > deadline:
            self._end()
        else:
            self._link.later(QUIET, lambda: self._look(room, turn, last, deadline))

    def _end(self) -> None:
        self.waits = False
        put_off, self._put_off = self._put_off, []
        self._over()
        for function in put_off:
            function()
