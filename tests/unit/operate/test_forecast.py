"""How late tasks will be at least, from what is due and what is run."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.operate.due import HOUR, Due, Span
from taskqueue.operate.forecast import forecast


def dues(*spans: tuple[float, int | None]) -> Due:
    """Make what waits."""
    return Due(tuple(Span(within, count) for within, count in spans))


def test_more_is_due_within_the_hour_than_can_run() -> None:
    """14,200 due within the hour, 10,000 an hour: the last are 25 minutes late."""
    found = forecast(0, dues((HOUR, 14_200)), settled=None, limit=10_000 / HOUR)
    assert found is not None
    assert (found.hour, found.by_rate, found.at) == (14_200, True, HOUR)
    assert found.late == pytest.approx(0.42 * HOUR)


def test_the_present_rate_tells_only_while_tasks_are_ready() -> None:
    """Else as many are run as come, which tells nothing about how many can be."""
    idle = forecast(0, dues((60, 10_000)), settled=1.0, limit=None)
    busy = forecast(600, dues((60, 600)), settled=1.0, limit=None)
    assert idle is not None
    assert busy is not None
    assert (idle.per_second, idle.late) == (None, None)
    assert (busy.per_second, busy.late, busy.at, busy.by_rate) == (1.0, 1140, 60, False)


def test_what_is_ready_now_may_be_the_latest() -> None:
    """At no time ahead it is worse."""
    found = forecast(600, dues((HOUR, 10)), settled=1.0, limit=None)
    assert found is not None
    assert (found.late, found.at) == (600, 0)


def test_what_keeps_up_is_not_late() -> None:
    """A few seconds are not worth a word."""
    found = forecast(10, dues((60, 10)), settled=1.0, limit=None)
    assert found is not None
    assert (found.late, found.at) == (None, None)


@pytest.mark.parametrize(("ready", "due"), [(None, dues((60, 1))), (1, dues((60, None))), (None, None)])
def test_what_is_not_known_gives_no_forecast(ready: int | None, due: Due | None) -> None:
    """A count that is missing is not taken for nothing."""
    assert forecast(ready, due, settled=1.0, limit=1.0) is None


def test_what_may_be_due_at_any_time_is_in_no_forecast() -> None:
    """Nor is what is due beyond a day: nobody knows what comes meanwhile."""
    found = forecast(0, dues((10 * 86_400, 10**9), (math.inf, 10**9)), settled=None, limit=1.0)
    assert found is not None
    assert (found.hour, found.late) == (0, None)


@given(
    st.integers(0, 5000),
    st.lists(st.tuples(st.integers(1, 86_400), st.floats(0, 1)), max_size=30),
    st.floats(0.01, 100),
)
def test_the_last_task_is_at_least_as_late_as_is_told(
    ready: int, tasks: Sequence[tuple[int, float]], per_second: float
) -> None:
    """Whenever each is due within its span, and however quickly those are run that are ready."""
    latest = sorted({within for within, _ in tasks})
    found = forecast(
        ready,
        dues(*((end, sum(within == end for within, _ in tasks)) for end in latest)),
        settled=None,
        limit=per_second,
    )
    assert found is not None
    if found.late is None:
        return
    arrivals = sorted([0.0] * ready + [within * share for within, share in tasks])
    free, worst = 0.0, 0.0
    for at in arrivals:
        free = max(free, at) + 1 / per_second
        worst = max(worst, free - at)
    assert worst >= found.late * (1 - 1e-9) - 1e-6
