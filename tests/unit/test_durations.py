"""Lengths of time, as people write them."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.durations import duration

MINUTE, HOUR, DAY, YEAR = 60, 3600, 86_400, 365 * 86_400


@pytest.mark.parametrize(
    ("seconds", "written"),
    [
        (-0.04, "0.0 s"),
        (0, "0.0 s"),
        (0.04, "0.0 s"),
        (0.25, "0.2 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (20, "20 s"),
        (59.6, "1 min"),
        (MINUTE + 1, "1 min 1 s"),
        (4 * HOUR + 12 * MINUTE + 59, "4 h 12 min"),
        (HOUR, "1 h"),
        (2 * DAY - 1, "1 d 23 h"),
        (364 * DAY, "364 d"),
        (YEAR, "1 year"),
        (56.9 * YEAR, "56 years"),
        (1e300, "over 1000 years"),
        (math.inf, "over 1000 years"),
    ],
)
def test_a_length_of_time_has_two_units_at_most(seconds: float, written: str) -> None:
    """Nobody counts hours in seconds."""
    assert duration(seconds) == written


@given(st.floats(min_value=0))
def test_no_length_of_time_is_absurd(seconds: float) -> None:
    """It fits into a line, whatever it is."""
    assert len(duration(seconds)) <= len("over 1000 years")
