"""Whose clock counts where both tell something else."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from taskqueue.schedule.clocks import broker_time, present

TOLD = 1_800_000_000.0


@pytest.mark.parametrize("own", [TOLD - 0.9, TOLD, TOLD + 0.5, TOLD + 1.9])
def test_our_own_clock_counts_where_that_of_the_broker_agrees(own: float) -> None:
    """It has fractions of a second; the broker's has none."""
    assert present(own, TOLD, None) == own


def test_where_no_answer_tells_our_own_clock_counts() -> None:
    """It was on no rung either: asked again, it would come back at once, without end."""
    assert present(TOLD, None, TOLD - 0.1) == TOLD


@pytest.mark.parametrize("off", [-3600, -5, 5, 3600, 7 * 86_400])
def test_where_they_differ_the_broker_is_asked_and_then_its_clock_counts(off: float) -> None:
    """A wake-up that stood in the queue for a week looks the same at first; the answer tells them apart."""
    own = TOLD + off
    assert present(own, TOLD, None) is None
    assert present(own + 0.2, TOLD, own) == TOLD


def test_after_an_outage_the_answer_agrees_and_our_clock_counts() -> None:
    """The first message was old, and the clock is right."""
    week = 7 * 86_400
    assert present(TOLD + week, TOLD, None) is None
    assert present(TOLD + week + 0.3, TOLD + week, TOLD + week) == TOLD + week + 0.3


def test_an_answer_that_took_long_is_no_difference_and_one_that_is_old_is_asked_again() -> None:
    """A busy machine, and an answer that nobody has fetched for an hour."""
    assert present(TOLD + 20, TOLD, TOLD) == TOLD + 20
    assert present(TOLD + 7200, TOLD, TOLD + 3600) is None
    assert present(TOLD - 50, TOLD, TOLD) is None


def test_without_the_brokers_word_it_is_asked() -> None:
    """A message that was on no rung tells nothing."""
    assert present(TOLD, None, None) is None


def test_the_last_rung_that_was_left_tells_the_time() -> None:
    """Whatever else a header holds."""
    times = [datetime(2026, 1, 1, 0, 0, second, tzinfo=UTC) for second in (5, 9, 7)]
    deaths = [*({"queue": "q", "time": time} for time in times), {"time": "x"}, 3]
    assert broker_time({"x-death": deaths}) == times[1].timestamp()
    assert broker_time({"x-death": "x"}) is None
    assert broker_time({}) is None
