"""The rate limit: kept exactly, with waits of over a second left to the broker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.pace import LONGEST_HOLD, Pace


def test_runs_are_spaced_at_the_rate() -> None:
    """Ten a second: one every 100 ms from the first on."""
    pace = Pace(10)
    assert [pace.hold(0.0, has_slot=False) for _ in range(4)] == pytest.approx([0, 0.1, 0.2, 0.3], abs=1e-9)


def test_a_wait_of_over_a_second_is_left_to_the_broker() -> None:
    """One every six seconds: the second task takes a slot, the third the next one."""
    pace = Pace(1 / 6)
    assert pace.hold(0.0, has_slot=False) == 0
    assert pace.hold(0.0, has_slot=False) is None
    assert [pace.slot(0.0), pace.slot(0.0)] == pytest.approx([6, 12])


def test_a_task_that_comes_back_at_its_slot_runs_and_a_fresh_one_lines_up_behind() -> None:
    """Nobody jumps the line."""
    pace = Pace(1 / 6)
    pace.hold(0.0, has_slot=False)
    pace.slot(0.0)
    pace.slot(0.0)
    assert pace.hold(6.05, has_slot=False) is None
    assert pace.hold(6.05, has_slot=True) == 0


@given(
    st.sampled_from([0.1, 1.0, 7.0, 50.0, 2000.0]),
    st.lists(st.tuples(st.floats(0, 2), st.booleans()), min_size=1, max_size=200),
)
def test_no_order_of_arrivals_passes_the_rate(rate: float, arrivals: list[tuple[float, bool]]) -> None:
    """In any span of time at most rate times the span, and a burst of a tenth of a second."""
    pace = Pace(rate)
    now = 0.0
    runs = []
    for gap, has_slot in arrivals:
        now += gap
        hold = pace.hold(now, has_slot=has_slot)
        if hold is None:
            pace.slot(now)
        else:
            assert hold <= LONGEST_HOLD
            runs.append(now + hold)
    for first in range(len(runs)):
        for last in range(first, len(runs)):
            assert last - first <= rate * (runs[last] - runs[first]) + max(1.0, rate * 0.1) + 1e-6
