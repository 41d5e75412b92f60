"""The rate limit: kept exactly, with waits of over a second left to the broker."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.consume.rate import LONGEST_HOLD, Pace


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


def test_a_clock_that_is_set_back_does_not_stop_the_queue() -> None:
    """What was reserved moves back with it: the next run is one interval away, not an hour."""
    pace = Pace(1 / 6)
    pace.hold(10_000.0, has_slot=False)
    assert pace.slot(10_000.0) == pytest.approx(10_006)
    assert pace.hold(6_400.0, has_slot=False) is None
    assert pace.slot(6_400.0) == pytest.approx(6_412)
    assert pace.hold(6_406.0, has_slot=True) == pytest.approx(0)


@given(st.floats(0, 1e6), st.lists(st.tuples(st.floats(0, 2), st.floats(0, 1e5), st.booleans()), max_size=60))
def test_a_clock_that_jumps_about_never_lets_more_run_than_the_rate(
    start: float, arrivals: list[tuple[float, float, bool]]
) -> None:
    """Measured by a clock that does not jump; `back` is by how much the other one is set back each time."""
    pace = Pace(1.0)
    real, offset, runs = 0.0, start, []
    for gap, back, has_slot in arrivals:
        real, offset = real + gap, offset - back
        hold = pace.hold(real + offset, has_slot=has_slot)
        if hold is None:
            pace.slot(real + offset)
        else:
            runs.append(real + hold)
    for first in range(len(runs)):
        for last in range(first, len(runs)):
            assert last - first <= runs[last] - runs[first] + 1.0 + 1e-3


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


def test_a_share_spends_that_part_of_the_tokens_and_nothing_before_it_is_known() -> None:
    """Two of a second among ten; one that joins others begins later."""
    pace = Pace(2, counted=False)
    assert pace.hold(0.0, has_slot=True) is None
    pace.share(10, 0.0, after=1.5)
    assert pace.hold(0.0, has_slot=True) is None
    assert pace.hold(1.0, has_slot=True) == pytest.approx(0.5)
    assert pace.hold(6.4, has_slot=True) == pytest.approx(0.1)


def test_a_share_that_grows_does_not_wait_for_the_token_of_the_former_one() -> None:
    """One an hour among six: when the others are gone it is the next hour's, and not that of the sixth."""
    pace = Pace(1 / 3600)
    pace.share(6, 0.0)
    assert pace.hold(0.0, has_slot=True) == 0
    pace.share(1, 0.0)
    assert pace.hold(3599.5, has_slot=True) == pytest.approx(0.5)


def test_a_token_that_was_not_spent_is_the_next_one() -> None:
    """As if it had not been taken."""
    pace = Pace(1)
    assert pace.hold(0.0, has_slot=True) == 0
    pace.refund()
    assert pace.hold(0.0, has_slot=True) == 0
    assert pace.hold(0.0, has_slot=True) == pytest.approx(1)


def test_a_task_whose_slot_came_in_vain_does_not_go_to_the_end_of_the_line() -> None:
    """As others have spent what it was to have; those that come later have their slots behind it."""
    pace = Pace(1)
    assert pace.hold(0.0, has_slot=False) == 0
    assert [pace.slot(0.0) for _ in range(60)][-1] == pytest.approx(60)
    assert [pace.slot(0.0, has_slot=True) for _ in range(3)] == pytest.approx([1, 2, 3])


def test_fresh_tasks_spend_the_tokens_that_nobody_with_a_slot_comes_for() -> None:
    """Those with slots stand behind a backlog; once they come they are first again, and the fresh line up."""
    pace = Pace(10)
    ran = 0
    for number in range(1000):
        if pace.hold(number / 100, has_slot=False) is None:
            pace.slot(number / 100)
        else:
            ran += 1
    assert 80 < ran <= 101
    assert pace.hold(10.0, has_slot=True) is not None
    assert pace.hold(10.3, has_slot=False) is None


def test_slots_that_a_smaller_share_has_given_leave_no_token_unspent() -> None:
    """One of five has put some on the ladder, and is alone now: what is fresh comes in between."""
    pace = Pace(2)
    pace.share(5, 0.0)
    assert pace.hold(0.0, has_slot=False) == 0
    slots = [pace.slot(0.0) for _ in range(8)]
    pace.share(1, 2.0)
    ran = 0
    for number in range(180):
        now = 2 + number / 10
        has_slot = bool(slots) and slots[0] <= now
        del slots[:has_slot]
        held = pace.hold(now, has_slot=has_slot)
        assert held is not None or not has_slot
        ran += held is not None
    assert 26 < ran <= 37
