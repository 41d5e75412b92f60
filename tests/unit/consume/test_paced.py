"""Where tasks wait for the tokens of a rate: how many here, when none is taken, and what goes back."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from types import SimpleNamespace
from typing import cast

import pytest

from taskqueue.broker.link import Link
from taskqueue.consume.paced import LONGEST_HOLD, Paced
from taskqueue.consume.rate import Pace
from taskqueue.consume.workers import Attempt


class Site:
    """A consumer with a rate, whose time a test passes; `began` has when each attempt did."""

    def __init__(self, rate: float, *, concurrency: int = 8) -> None:
        self.now = 1000.0
        self.running = self.looks = 0
        self.began: list[float] = []
        self.returned: list[Attempt] = []
        self.changes: list[tuple[bool, int]] = []
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = count()
        self.paced = Paced(
            Pace(rate, counted=False),
            link=cast("Link", SimpleNamespace(monotonic=lambda: self.now, later=self._later)),
            concurrency=concurrency,
            running=lambda: self.running,
            changed=lambda: self.changes.append((self.paced.near, self.paced.room)),
            give_back=self.returned.append,
            used=self._used,
        )

    def add(self) -> Attempt:
        """Take a task."""
        attempt = cast("Attempt", SimpleNamespace())
        self.paced.add(attempt, lambda: self.began.append(self.now))
        return attempt

    def ran_after(self, seconds: float) -> list[float]:
        """Let so many seconds pass, and give when attempts have begun since."""
        self.began.clear()
        began, end = self.now, self.now + seconds
        while self._timers and self._timers[0][0] <= end:
            self.now, _, function = heapq.heappop(self._timers)
            function()
        self.now = end
        return [at - began for at in self.began]

    @property
    def timers(self) -> int:
        """Count those that are set."""
        return len(self._timers)

    def _later(self, seconds: float, function: Callable[[], None]) -> None:
        heapq.heappush(self._timers, (self.now + seconds, next(self._order), function))

    def _used(self) -> None:
        self.looks += 1


def test_tasks_begin_at_the_rate_in_their_order() -> None:
    """Those that are here wait for their tokens, and the link is asked for one timer at a time."""
    site = Site(4)
    site.paced.share(1, 0.0)
    for _ in range(4):
        site.add()
    assert site.timers == 1
    assert [*site.began, *(1000 + at for at in site.ran_after(2.0))] == pytest.approx(
        [1000.0, 1000.25, 1000.5, 1000.75], abs=0.01
    )
    assert site.timers == 0
    assert site.paced.idle


def test_nothing_is_taken_before_it_is_known_how_many_share() -> None:
    """What comes all the same goes back."""
    site = Site(4)
    assert site.paced.near is False
    came = site.add()
    assert site.returned == [came]
    site.paced.share(2, 0.8)
    assert site.paced.near is False
    site.ran_after(0.7)
    assert site.paced.near


def test_of_a_slow_rate_one_is_taken_shortly_before_its_token() -> None:
    """It waits in the work queue, where whoever has a token before may take it."""
    site = Site(1 / 60)
    site.paced.share(1, 0.0)
    assert site.changes == [(True, 1)]
    site.add()
    assert len(site.began) == 1
    looks = site.looks
    site.ran_after(59.7)
    assert site.changes == [(True, 1), (False, 1)]
    assert site.looks > looks + 20, "others may be gone meanwhile"
    site.ran_after(0.2)
    assert site.changes[2:] == [(True, 1)]
    site.add()
    assert site.ran_after(1.0) == pytest.approx([0.1], abs=0.01)


def test_a_share_that_grows_is_spent_at_once() -> None:
    """The others of a slow rate are gone."""
    site = Site(0.5)
    site.paced.share(10, 0.0)
    site.add()
    assert site.paced.near is False
    site.ran_after(2.0)
    site.paced.share(1, 0.0)
    assert site.paced.near is False
    site.ran_after(1.75)
    assert site.paced.near


def test_what_has_to_wait_for_too_long_goes_back() -> None:
    """A share has shrunk: those that wait here are for others."""
    site = Site(5)
    site.paced.share(1, 0.0)
    came = [site.add() for _ in range(5)]
    site.paced.share(100, 0.0)
    assert site.returned == came[1:]
    assert site.paced.near is False


def test_a_token_that_is_not_spent_is_for_the_next_one() -> None:
    """No permit came for its task."""
    site = Site(2)
    site.paced.share(1, 0.0)
    site.add()
    site.paced.refund()
    site.add()
    assert site.began == [1000.0, 1000.0]


def test_a_token_that_a_pause_comes_before_is_not_spent() -> None:
    """What waits for it goes back, and the next task has it after the pause."""
    site = Site(2)
    site.paced.share(1, 0.0)
    site.add()
    waits = site.add()
    assert site.paced.withdraw() == [waits]
    site.ran_after(0.5)
    site.add()
    assert site.began == [site.now]


def test_as_many_are_out_as_run_and_as_there_are_tokens_for_in_a_second() -> None:
    """Requests that take long get room for more; it shrinks again later, and never passes the concurrency."""
    site = Site(10, concurrency=40)
    site.paced.share(1, 0.0)
    most = 0
    for _ in range(100):
        site.add()
        site.ran_after(0.1)
        site.running += 1
        assert site.running + 5 * LONGEST_HOLD <= site.paced.room + 2 or site.paced.room == 40
        most = max(most, site.paced.room)
    assert most == 40
    changes = len(site.changes)
    site.running = 0
    for _ in range(100):
        site.add()
        site.ran_after(0.1)
    assert site.paced.room == 10
    assert len(site.changes) == changes + 1
