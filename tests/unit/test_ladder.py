"""The ladder: a delay is the sum of its legs, rounded up, and never early."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.topology.ladder import Ladder

LADDER = Ladder()
TICKS_IN_20_YEARS = 20 * 366 * 86_400 * 10
RESOLUTIONS = st.sampled_from([Decimal(text) for text in ("0.001", "0.01", "0.1", "0.25", "1", "60")])


def test_every_delay_up_to_2000_seconds_is_the_sum_of_its_legs() -> None:
    """All 20,001 of them, each leg once and least digit first."""
    for ticks in range(20_001):
        legs = LADDER.legs(ticks)
        assert sum(leg.ticks for leg in legs) == ticks
        assert [leg.level for leg in legs] == sorted({leg.level for leg in legs})


@given(st.integers(0, TICKS_IN_20_YEARS), st.integers(1, 10))
def test_any_delay_is_the_sum_of_its_legs_or_takes_the_longest_itinerary(ticks: int, levels: int) -> None:
    """Up to 20 years: what is too long for the ladder goes round again."""
    ladder = Ladder(levels=levels)
    assert sum(leg.ticks for leg in ladder.legs(ticks)) == min(ticks, ladder.longest)


@given(st.floats(0, 20 * 366 * 86_400_000), RESOLUTIONS)
def test_a_delay_is_rounded_up_to_the_next_tick(delay_ms: float, resolution: Decimal) -> None:
    """Never early, and late by less than a tick."""
    ticks = Ladder(resolution).ticks(delay_ms)
    assert ticks * resolution * 1000 >= Decimal(delay_ms)
    assert (ticks - 1) * resolution * 1000 < Decimal(delay_ms)


@pytest.mark.parametrize("delay_ms", [0, -1, -1e18])
def test_what_is_due_already_waits_for_nothing(delay_ms: float) -> None:
    """No delay has no leg and no itinerary: it is published to the work queue itself."""
    assert LADDER.ticks(delay_ms) == 0
    assert LADDER.itinerary(0) == ()


@pytest.mark.parametrize(
    ("ticks", "keys"),
    [
        (1, ("in>0.1s", "0.1s>due")),
        (200, ("in>20s", "10s>due")),
        (253, ("in>0.3s", "0.1s>5s", "1s>20s", "10s>due")),
        (1003, ("in>0.3s", "0.1s>100s", "100s>due")),
        (30_000, ("in>3000s", "1000s>due")),
    ],
)
def test_an_itinerary_names_each_hop(ticks: int, keys: tuple[str, ...]) -> None:
    """Zero digits cost no hop; 25.3 s is the example of the contract."""
    assert LADDER.itinerary(ticks) == keys


@given(RESOLUTIONS, st.integers(1, 9))
def test_a_level_has_at_most_nine_rungs_and_each_its_own_name(resolution: Decimal, levels: int) -> None:
    """The number of queues is bounded, and no two share a name."""
    ladder = Ladder(resolution, levels)
    rungs = list(ladder.rungs())
    assert len({ladder.ttl(rung) for rung in rungs}) == len(rungs) == 9 * levels


@given(RESOLUTIONS, st.integers(1, 9))
def test_the_ttl_of_a_rung_is_what_its_name_says(resolution: Decimal, levels: int) -> None:
    """Nothing is lost on the way to whole milliseconds."""
    ladder = Ladder(resolution, levels)
    for rung in ladder.rungs():
        assert Decimal(ladder.ttl(rung).removesuffix("s")) * 1000 == ladder.ttl_ms(rung) > 0
