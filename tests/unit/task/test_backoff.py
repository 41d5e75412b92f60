"""The waits between attempts."""

from __future__ import annotations

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.settings import QueueSettings
from taskqueue.task.backoff import backoff, retry_after
from taskqueue.topology.ladder import Ladder

NOW = 1_700_000_000.0
WIDE = Ladder(levels=12)


def policy(low: float = 10, high: float = 300, doublings: int = 3, jitter: float = 0.0) -> QueueSettings:
    """Make the settings of a queue with this backoff."""
    return QueueSettings(
        "q", min_backoff_seconds=low, max_backoff_seconds=high, max_doublings=doublings, jitter=jitter
    )


def test_backoff_doubles_then_grows_linearly_up_to_its_maximum() -> None:
    """10/300/3 is the example of the Cloud Tasks documentation."""
    waits = [backoff(policy(), failures, 0) for failures in range(1, 10)]
    assert waits == [10, 20, 40, 80, 160, 240, 300, 300, 300]


def test_no_doublings_is_linear_from_the_start() -> None:
    """max_doublings = 0 adds min_backoff_seconds each time."""
    assert [backoff(policy(doublings=0), failures, 0) for failures in (1, 2, 3)] == [10, 20, 30]


def test_jitter_spreads_to_both_sides() -> None:
    """A spread of 1 is the end of the range."""
    assert [backoff(policy(jitter=0.2), 1, spread) for spread in (-1, 0, 1)] == [8, 10, 12]


@given(
    low=st.floats(0.1, 1e6), factor=st.floats(1, 1e3), doublings=st.integers(0, 10_000),
    jitter=st.floats(0, 1), failures=st.integers(1, 2**31), spread=st.floats(-1, 1),
)  # fmt: skip
def test_any_backoff_stays_in_its_bounds_and_takes_two_legs(
    *, low: float, factor: float, doublings: int, jitter: float, failures: int, spread: float
) -> None:
    """Two significant digits of at least a second are two legs, whatever the settings."""
    settings = policy(low, low * factor, doublings, jitter)
    wait = backoff(settings, failures, spread)
    assert 0 <= wait <= settings.max_backoff_seconds * (1 + jitter) * 1.05
    if wait >= 1:
        assert len(WIDE.legs(WIDE.ticks(wait * 1000))) <= 2


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, 0), ("", 0), ("7", 7), (" 120 ", 120), ("125", 130), ("0", 0), ("-5", 0), ("soon", 0),
        ("1.5", 0), ("99999999999999999999999", 300), ("٣", 0),
        (formatdate(NOW + 30, usegmt=True), 30), (formatdate(NOW - 30, usegmt=True), 0),
        ("Wed, 99 Foo 2099 99:99:99 GMT", 0),
    ],
)  # fmt: skip
def test_retry_after_takes_seconds_and_dates_and_ignores_the_rest(header: str | None, seconds: float) -> None:
    """Capped at max_backoff_seconds, rounded up to two digits."""
    assert retry_after(header, policy(), NOW) == pytest.approx(seconds)


@given(st.text())
def test_no_retry_after_raises(header: str) -> None:
    """A receiver may answer anything."""
    assert 0 <= retry_after(header, policy(), NOW) <= 300
