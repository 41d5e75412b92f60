"""The waits between tries of what fails."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from taskqueue.tries import Backoff

shares = st.floats(0, 1)
counts = st.integers(1, 5)


def waits(backoff: Backoff, count: int) -> list[float]:
    """Take so many waits."""
    return [backoff.next() for _ in range(count)]


def test_each_wait_is_twice_the_one_before_up_to_the_longest() -> None:
    """And stays there, however often it fails."""
    assert waits(Backoff(1, 30), 8) == [1, 2, 4, 8, 16, 30, 30, 30]
    assert waits(Backoff(0.2, 10), 5000)[-1] == 10


def test_each_wait_is_taken_for_as_many_tries_as_there_are_hosts() -> None:
    """Each host is tried before the wait grows."""
    assert waits(Backoff(1, 3, tries=3), 8) == [1, 1, 1, 2, 2, 2, 3, 3]


@given(counts, counts)
def test_after_a_success_it_begins_anew(failures: int, tries: int) -> None:
    """Whatever came before."""
    backoff = Backoff(1, 30, tries=tries)
    waits(backoff, failures)
    backoff.reset()
    assert waits(backoff, 12) == waits(Backoff(1, 30, tries=tries), 12)


@given(shares, counts)
def test_jitter_only_shortens_a_wait(jitter: float, tries: int) -> None:
    """By no more than its part of it."""
    whole = waits(Backoff(0.2, 10, tries=tries), 20)
    for spread, wait in zip(waits(Backoff(0.2, 10, jitter=jitter, tries=tries), 20), whole, strict=True):
        assert (1 - jitter) * wait <= spread <= wait
    assert all(before <= after for before, after in pairwise(whole))
