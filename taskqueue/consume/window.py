"""How many deliveries of a queue may be out at once: a pure follower of how fast they are worked off."""

from __future__ import annotations

AHEAD = 0.25
"""Seconds of work that may stand behind what runs."""
MOST = 400
"""The most that may stand behind what runs."""
LARGEST = 16 * 2**20
"""The most bytes that may stand behind what runs, by the mean of what came lately."""
ROUND = 1.0
"""Seconds after which a round ends though not all of the window is worked off, and between two looks."""
HOARD = 2.0
"""Seconds of work that may stand there where receivers turn slow: what is more goes back."""
_PAUSE = 0.05
_GROWTH = 4
_ASIDE = 4
"""The share of what is out on top that gets room in the next window."""
_WORTH = 1.5
"""By how much a window changes at least, as a change costs three questions to the broker."""


class Window:
    """The window of one queue that runs `at_once` deliveries at a time.

    It is measured in rounds. A round lasts from one moment at which the window is full to the next, with at
    least `size` deliveries settled in between. Only then had the broker more to hand out, and the window was
    the limit. The window begins with what runs, and grows only by what was worked off.
    """

    def __init__(self, at_once: int) -> None:
        self.size = at_once
        self._at_once = at_once
        self._before = 0
        self._done = self._lately = 0
        self._since: float | None = None
        self._empty_since: float | None = None
        self._narrowed = False
        self._settled = 0
        self._arrived = 0.0
        self._bytes = 0.0

    @property
    def wide(self) -> bool:
        """Tell whether more may be out than what runs, or was at the last look."""
        return max(self.size, self._before) > self._at_once

    def arrived(self, size: int, now: float) -> None:
        """Note a delivery of so many bytes; `now` in seconds, of a clock that only goes on."""
        self._arrived += 1
        self._bytes += size
        if self._empty_since is not None and now - self._empty_since > _PAUSE:
            # There was nothing to do, so the time tells nothing.
            self._since = None
        self._empty_since = None

    def settled(self, count: int, now: float, *, out: int) -> bool:
        """Note that `count` of the `out` are settled; True where the window has another size from now on."""
        narrowed, self._narrowed = self._narrowed, False
        return self._followed(count, now, out) or narrowed

    def _followed(self, count: int, now: float, out: int) -> bool:
        self._done += count
        if out <= count:
            self._empty_since = now
        full = out >= self.size
        if self._since is None or out < self.size / 2:
            self._begin(now if full else None)
            return False
        self._settled += count
        elapsed = now - self._since
        if not full or elapsed <= 0 or (self._settled < self.size and elapsed < ROUND):
            return False
        wanted, former = self._wanted(self._settled / elapsed), self.size
        self._begin(now)
        if not former / _WORTH < wanted < former * _WORTH:
            self.size = wanted
        return self.size != former

    def watch(self) -> None:
        """Begin to count for the next look."""
        self._before = self._done = self._lately = 0

    def beside(self, aside: int) -> int:
        """Give the prefetch of a consumer that begins while so many are out on top of the window.

        Where they are many, the next ones have room in it, or each of them would call for another consumer;
        but no more than what is worked off in a ROUND.
        """
        return self.size + min(aside // _ASIDE, max(self._done, self._lately))

    def passed(self, count: int) -> None:
        """Note that so many are not to be worked off any more, although they are not settled."""
        self._done += count

    def hoards(self, out: int) -> bool:
        """Look whether what has stood for a ROUND will stand for long, so that it should go back.

        To be asked once in a ROUND with all that is `out`; narrows the window where it is so.
        """
        done, stood = self._done, self._before - self._done
        self._done, self._before, self._lately = 0, out, done
        if stood <= max(2 * self._at_once, done / ROUND * HOARD):
            return False
        self.size = min(self.size, self._wanted(done / ROUND))
        self._begin(None)
        return True

    def narrow(self, at_once: int) -> None:
        """Run so many at a time from now on; where the window has another size by that, `settled` says so."""
        former = self.size
        if at_once < self._at_once:
            self.size = min(self.size, at_once)
        self.size = max(self.size, at_once)
        self._at_once = at_once
        if self.size != former:
            self._narrowed = True
            self._begin(None)

    def lost(self) -> None:
        """Note that the channel is closed, and nothing out."""
        self._begin(None)
        self._empty_since = None
        self.watch()

    def _begin(self, now: float | None) -> None:
        self._since = now
        self._settled = 0

    def _wanted(self, rate: float) -> int:
        behind = min(rate * AHEAD, MOST)
        if self._bytes:
            behind = min(behind, LARGEST * self._arrived / self._bytes)
            self._arrived, self._bytes = self._arrived / 2, self._bytes / 2
        return min(self._at_once + round(behind), self.size * _GROWTH)
