"""The window of deliveries follows how fast they are worked off."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.consume.window import AHEAD, LARGEST, MOST, Window


@dataclass
class Crew:
    """Works off a queue that never ends, `at_once` at a time, each in `seconds`; the broker fills it up."""

    window: Window
    at_once: int
    seconds: float
    bytes: int = 100
    now: float = 0.0
    out: int = 0

    def fill(self) -> None:
        """Hand out what the window allows."""
        while self.out < self.window.size:
            self.window.arrived(self.bytes, self.now)
            self.out += 1

    def work(self, steps: int) -> list[int]:
        """Settle `at_once` with each step; gives the sizes that the window had."""
        sizes = []
        for _ in range(steps):
            self.fill()
            self.now += self.seconds
            done = min(self.at_once, self.out)
            self.window.settled(done, self.now, out=self.out)
            self.out -= done
            sizes.append(self.window.size)
        return sizes


def crew(at_once: int, seconds: float, size: int = 100) -> Crew:
    """Make one with a fresh window."""
    return Crew(Window(at_once), at_once, seconds, size)


@pytest.mark.parametrize("at_once", [1, 8, 500])
def test_slow_requests_keep_it_at_what_runs(at_once: int) -> None:
    """Nothing stands behind requests of 3 seconds, from the first one on."""
    sizes = crew(at_once, 3.0).work(20)
    assert max(sizes) <= at_once * 1.5


@pytest.mark.parametrize("at_once", [1, 8, 100])
def test_quick_requests_widen_it_to_a_few_hundred(at_once: int) -> None:
    """As much as is worked off in a quarter of a second, and no more than the most."""
    at_work = crew(at_once, 0.001)
    at_work.work(2000)
    assert at_work.window.size >= at_once + min(MOST, at_once / 0.001 * AHEAD) / 2
    assert at_work.window.size <= at_once + MOST


def test_it_grows_by_what_was_worked_off_only() -> None:
    """One quick answer is no reason to take hundreds."""
    sizes = crew(1, 0.001).work(60)
    for earlier, later in pairwise(sizes):
        assert later <= 4 * earlier
    assert sizes[2] <= 4


def test_receivers_that_turn_slow_narrow_it_within_rounds() -> None:
    """And tell that what is out is a hoard."""
    at_work = crew(8, 0.002)
    at_work.work(1000)
    assert at_work.window.size > 100
    at_work.fill()
    assert not at_work.window.hoards(at_work.out)
    at_work.seconds = 3.0
    at_work.work(2)
    assert at_work.window.size <= 12
    assert at_work.window.hoards(at_work.out)


@pytest.mark.parametrize("out", [17, 100, 408])
def test_what_stands_still_goes_back_without_any_answer(out: int) -> None:
    """Requests that hang settle nothing, however much of the window is out."""
    at_work = crew(8, 0.002)
    at_work.work(1000)
    at_work.window.hoards(out)
    assert at_work.window.hoards(out)
    assert at_work.window.size == 8


@pytest.mark.parametrize("at_once", [1, 8, 500])
def test_what_runs_is_no_hoard(at_once: int) -> None:
    """However long it does."""
    at_work = crew(at_once, 3.0)
    at_work.fill()
    assert not any(at_work.window.hoards(at_once) for _ in range(60))


def test_what_is_set_aside_is_no_hoard() -> None:
    """It holds up nobody, as it is not in the window."""
    at_work = crew(8, 3.0)
    at_work.window.hoards(100)
    at_work.window.passed(90)
    assert not at_work.window.hoards(10)


def test_what_is_worked_off_is_no_hoard() -> None:
    """Neither a full window nor a late look."""
    at_work = crew(8, 0.02)
    for _ in range(20):
        at_work.work(50)
        at_work.fill()
        assert not at_work.window.hoards(at_work.out)


def test_an_idle_queue_is_not_taken_for_a_slow_one() -> None:
    """Neither when all is done, nor when there is a little to do."""
    at_work = crew(8, 0.002)
    at_work.work(1000)
    wide = at_work.window.size
    at_work.window.settled(at_work.out, at_work.now, out=at_work.out)
    at_work.now, at_work.out = at_work.now + 60, 0
    at_work.work(10)
    assert at_work.window.size >= wide / 1.5
    for _ in range(100):
        at_work.now += 1
        at_work.window.arrived(100, at_work.now)
        at_work.window.settled(1, at_work.now, out=3)
    at_work.work(10)
    assert at_work.window.size >= wide / 1.5


def test_large_bodies_bound_it() -> None:
    """By their mean, beside what runs."""
    at_work = crew(8, 0.001, size=LARGEST // 20)
    at_work.work(1000)
    assert at_work.window.size <= 8 + 20


@given(
    st.integers(1, 1000),
    st.lists(
        st.tuples(st.integers(0, 2000), st.floats(0, 100), st.integers(0, 2000), st.integers(0, 2**24)),
        max_size=60,
    ),
)
def test_whatever_happens_it_is_between_what_runs_and_the_most(
    at_once: int, events: list[tuple[int, float, int, int]]
) -> None:
    """And says that it has changed where it has."""
    window, now = Window(at_once), 0.0
    for count, seconds, more, size in events:
        now += seconds
        window.arrived(size, now)
        former = window.size
        assert window.settled(count, now, out=count + more) == (window.size != former)
        former = window.size
        window.hoards(more)
        assert window.size <= former
        assert at_once <= window.size <= at_once + MOST
        assert window.wide == (max(window.size, more) > at_once)


def test_a_window_for_another_number_at_once_is_told_with_the_next_acks() -> None:
    """Narrow at once where fewer run, and wide enough where more do."""
    window = Window(1)
    window.narrow(5)
    assert window.size == 5
    assert window.settled(0, 0.0, out=1)
    assert not window.settled(0, 0.0, out=1)
    window.narrow(2)
    assert window.size == 2
    assert window.settled(0, 0.0, out=1)
    window.narrow(2)
    assert not window.settled(0, 0.0, out=1)
