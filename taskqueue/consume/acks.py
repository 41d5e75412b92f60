"""Which deliveries one frame can ack, and how many are out: pure bookkeeping of delivery tags."""

from __future__ import annotations

from dataclasses import dataclass

MOST_ASIDE = 1000
"""Deliveries of a queue that may be held on top of its window."""
LARGEST_ASIDE = 16 * 2**20
"""Bytes of their bodies."""
_NEAR, _SHARE = 1.0, 0.1
"""Seconds, and the share of its time, by which what was handed out with the eldest may have come later."""


@dataclass(frozen=True, slots=True)
class Ack:
    """One ``basic.ack``; `multiple` takes every earlier tag of the channel with it."""

    tag: int
    multiple: bool


class Acks:
    """The deliveries of one channel, in the order in which they came.

    Those that can't be settled for now are set aside. The broker counts them against the window of the
    consumer that got them, so another consumer has to follow for the next ones.
    """

    def __init__(self) -> None:
        self.settled = 0
        """How many may be acked."""
        self.in_window = 0
        """How many of the present consumer's are not acked."""
        self.aside_in_window = 0
        """How many of the present consumer's are set aside."""
        self._open: dict[int, bool] = {}
        self._since: dict[int, float] = {}
        self._aside: dict[int, int] = {}
        self._bytes = 0
        self.last = 0
        """The last that came."""
        self._former = 0
        """The last that an earlier consumer got."""

    def __len__(self) -> int:
        return len(self._open)

    @property
    def out(self) -> int:
        """How many of the present consumer's are not acked, without those that are set aside."""
        return self.in_window - self.aside_in_window

    @property
    def aside(self) -> int:
        """How many are set aside, whichever consumer got them."""
        return len(self._aside)

    @property
    def fullness(self) -> float:
        """How much of what may be set aside is, in number or in bytes; 1 is all of it."""
        return max(len(self._aside) / MOST_ASIDE, self._bytes / LARGEST_ASIDE)

    @property
    def eldest_is_aside(self) -> bool:
        """Tell whether the one that is out for the longest time is set aside."""
        return next(iter(self._open), 0) in self._aside

    def begin(self) -> None:
        """Note that another consumer gets what comes from now on."""
        self._former = self.last
        self.in_window = self.aside_in_window = 0

    def delivered(self, tag: int, now: float = 0.0) -> None:
        """Note a delivery, at a time in seconds; tags of a channel only grow."""
        self._open[tag] = False
        self._since[tag] = now
        self.last = tag
        self.in_window += 1

    def set_aside(self, tag: int, size: int) -> bool:
        """Note that a delivery of so many bytes can't be settled for now; False where that was known."""
        if tag in self._aside:
            return False
        self._aside[tag] = size
        self._bytes += size
        self.aside_in_window += tag > self._former
        return True

    def settle(self, tag: int) -> bool:
        """Note that a delivery may be acked; True for the first one since the last flush."""
        if self._open[tag]:
            return False
        self._open[tag] = True
        self.settled += 1
        return self.settled == 1

    def forget(self, tag: int) -> None:
        """Note that a delivery was given back: nobody acks it any more."""
        self.settled -= self._remove(tag)

    def eldest(self, now: float) -> list[int]:
        """Give those that are not settled and out for about as long as the eldest, with it.

        The broker does not say which it has taken back for being out too long: one that is given up for
        nothing runs again, one that is kept though it is gone would go on twice.
        """
        longest = now - self._since[next(iter(self._open))] if self._open else 0.0
        least = longest - max(_NEAR, _SHARE * longest)
        return [tag for tag, settled in self._open.items() if not settled and now - self._since[tag] >= least]

    def flush(self) -> list[Ack]:
        """Take out what may be acked: the settled head in one frame, the rest one by one.

        A long request at the head delays no other: what is settled behind it is acked alone.
        """
        if not self.settled:
            return []
        head = 0
        count = 0
        for tag, settled in self._open.items():
            if not settled:
                break
            head = tag
            count += 1
        acks = [Ack(head, multiple=count > 1)] if count else []
        if count < self.settled:
            acks += [
                Ack(tag, multiple=False) for tag, settled in self._open.items() if settled and tag > head
            ]
        for tag in [tag for tag, settled in self._open.items() if settled]:
            self._remove(tag)
        self.settled = 0
        return acks

    def _remove(self, tag: int) -> bool:
        present = tag > self._former
        self.in_window -= present
        if tag in self._aside:
            self._bytes -= self._aside.pop(tag)
            self.aside_in_window -= present
        del self._since[tag]
        return self._open.pop(tag)
