"""The tokens of a rate: no more in any time, no fewer while tasks wait."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.consume.rate import Pace


def spend(pace: Pace, now: float, *, since: float | None = None) -> float:
    """Spend the next token as soon as it comes, and give when."""
    at = now + pace.wait(now)
    pace.take(at, since=now if since is None else since)
    return at


def test_runs_are_spaced_at_the_rate() -> None:
    """Ten a second: one every 100 ms from the first on."""
    pace = Pace(10)
    assert [spend(pace, 5.0) for _ in range(4)] == pytest.approx([5.0, 5.1, 5.2, 5.3], abs=1e-9)


def test_a_token_that_is_spent_late_puts_off_none() -> None:
    """Each is spent 30 ms late, as a task has waited for it, and they stay 200 ms apart."""
    pace = Pace(5)
    pace.take(10.0, since=10.0)
    for number in range(1, 20):
        due = 10.0 + number * 0.2
        assert pace.wait(due - 0.01) == pytest.approx(0.01)
        pace.take(due + 0.03, since=0.0)


def test_tokens_of_a_time_without_tasks_are_gone() -> None:
    """An hour of nothing is no burst of thousands."""
    pace = Pace(1)
    pace.take(0.0, since=0.0)
    pace.take(3600.0, since=3600.0)
    assert pace.wait(3600.0) == pytest.approx(1)


@given(
    st.sampled_from([0.1, 1.0, 7.0, 50.0, 2000.0]),
    st.lists(st.tuples(st.floats(0, 2), st.floats(0, 3)), min_size=1, max_size=100),
)
def test_no_order_of_arrivals_and_no_lateness_passes_the_rate(
    rate: float, arrivals: list[tuple[float, float]]
) -> None:
    """In any span of time at most rate times the span, and what a tenth of a second each of two causes gives.

    One is the burst, the other what was spent late.
    """
    pace = Pace(rate)
    came = now = 0.0
    runs: list[float] = []
    for gap, late in arrivals:
        came += gap
        now = max(now, came)
        now += pace.wait(now) + late
        pace.take(now, since=came)
        runs.append(now)
    for first in range(len(runs)):
        for last in range(first, len(runs)):
            assert last - first <= rate * (runs[last] - runs[first] + 0.2) + 1 + 1e-6


def test_a_share_spends_that_part_of_the_tokens_and_nothing_before_it_is_known() -> None:
    """Two of a second among ten; one that joins others begins later."""
    pace = Pace(2, counted=False)
    assert pace.wait(0.0) == float("inf")
    pace.share(10, 0.0, after=1.5)
    assert [spend(pace, 0.0) for _ in range(3)] == pytest.approx([1.5, 6.5, 11.5])


def test_a_share_that_grows_does_not_wait_for_the_token_of_the_former_one() -> None:
    """One an hour among six: when the others are gone it is the next hour's, and not that of the sixth."""
    pace = Pace(1 / 3600)
    pace.share(6, 0.0)
    spend(pace, 0.0)
    pace.share(1, 0.0)
    assert pace.wait(0.0) == pytest.approx(3600)


def test_a_token_that_was_not_spent_is_the_next_one() -> None:
    """As if it had not been taken."""
    pace = Pace(1)
    spend(pace, 0.0)
    pace.refund()
    assert pace.wait(0.0) == 0
    spend(pace, 0.0)
    assert pace.wait(0.0) == pytest.approx(1)
