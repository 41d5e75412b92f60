"""The ladder: a delay is the sum of its legs, most digit first, rounded up, and never early."""

from __future__ import annotations

import math
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.topology.ladder import BASE, Ladder, Leg, Way
from tests.support.routing import RESOLUTIONS, ladders

LADDER = Ladder()
NOW = 1_700_000_000.0
NOW_MS = 1_700_000_000_000
TWENTY_YEARS_MS = 20 * 366 * 86_400_000
OWN, SHARED = Way("mails", "mails"), Way("mails", "crowd")


def test_every_delay_up_to_2000_seconds_is_the_sum_of_its_legs() -> None:
    """All 20,001 of them, each level once and most digit first."""
    for ticks in range(20_001):
        legs = LADDER.legs(ticks)
        assert sum(leg.ticks for leg in legs) == ticks
        assert [leg.level for leg in legs] == sorted({leg.level for leg in legs}, reverse=True)


@given(ladders, st.integers(0, 10**14))
def test_any_delay_is_the_sum_of_its_legs_or_takes_the_longest_rung(ladder: Ladder, ticks: int) -> None:
    """What is too long for the ladder makes the longest single stay and goes round again."""
    legs = ladder.legs(ticks)
    if ticks > ladder.longest:
        assert legs == (max(ladder.rungs(), key=lambda leg: leg.ticks),)
    else:
        assert sum(leg.ticks for leg in legs) == ticks
    assert set(legs) <= set(ladder.rungs())


@pytest.mark.parametrize(
    ("ticks", "legs"),
    [
        (99, (Leg(1, 9), Leg(0, 9))),
        (100, (Leg(1, 9),)),
        (10**20, (Leg(1, 9),)),
    ],
)
def test_the_longest_delay_is_the_last_that_takes_more_than_the_longest_rung(
    ticks: int, legs: tuple[Leg, ...]
) -> None:
    """The shorter legs of what goes round anyway would only cost hops."""
    assert Ladder(levels=2).legs(ticks) == legs


@given(ladders, st.data())
def test_what_is_left_behind_a_leg_is_less_than_its_unit(ladder: Ladder, data: st.DataObject) -> None:
    """So the rung that a task stands on tells when it is due."""
    legs = ladder.legs(data.draw(st.integers(1, ladder.longest)))
    for place, leg in enumerate(legs):
        assert sum(later.ticks for later in legs[place + 1 :]) < BASE**leg.level


@given(st.floats(0, TWENTY_YEARS_MS), st.sampled_from(RESOLUTIONS))
def test_a_delay_is_rounded_up_to_the_next_tick(delay_ms: float, resolution: Decimal) -> None:
    """Never early, and late by less than a tick."""
    ticks = Ladder(resolution).ticks(delay_ms)
    assert ticks * resolution * 1000 >= Decimal(delay_ms)
    assert (ticks - 1) * resolution * 1000 < Decimal(delay_ms)


@pytest.mark.parametrize("delay_ms", [0, -1, -1e18])
def test_what_is_due_already_waits_for_nothing(delay_ms: float) -> None:
    """No delay has no leg and no itinerary: it goes straight to the work queue."""
    assert LADDER.ticks(delay_ms) == 0
    assert LADDER.itinerary(0, "mails") == ()


@pytest.mark.parametrize(
    ("ticks", "keys"),
    [
        (1, ("in>0.1s", "0.1s>due:mails")),
        (200, ("in>20s", "10s>due:mails")),
        (253, ("in>20s", "10s>5s", "1s>0.3s", "0.1s>due:mails")),
        (1003, ("in>100s", "100s>0.3s", "0.1s>due:mails")),
        (30_000, ("in>3000s", "1000s>due:mails")),
        (10**8, ("in>9000000s", "1000000s>due:mails")),
    ],
)
def test_an_itinerary_names_each_hop_and_the_queue_at_its_end(ticks: int, keys: tuple[str, ...]) -> None:
    """Zero digits cost no hop; 25.3 s is the example of the contract."""
    assert LADDER.itinerary(ticks, "mails") == keys


@given(ladders, st.data())
def test_no_two_keys_of_an_itinerary_leave_from_the_same_place(ladder: Ladder, data: st.DataObject) -> None:
    """All of them ride to each exchange, and only one may match there."""
    keys = ladder.itinerary(data.draw(st.integers(1, 10**14)), "mails")
    places = [key.partition(">")[0] for key in keys]
    assert len(set(places)) == len(places)


@given(ladders)
def test_a_level_has_nine_rungs_and_each_its_own_name(ladder: Ladder) -> None:
    """The number of queues is bounded, and no two share a name."""
    rungs = list(ladder.rungs())
    assert len({ladder.ttl(rung) for rung in rungs}) == len(rungs) == 9 * ladder.levels


@given(ladders)
def test_the_ttl_of_a_rung_is_what_its_name_says(ladder: Ladder) -> None:
    """Nothing is lost on the way to whole milliseconds."""
    for rung in ladder.rungs():
        assert Decimal(ladder.ttl(rung).removesuffix("s")) * 1000 == ladder.ttl_ms(rung) > 0


@given(ladders, ladders)
def test_all_ladders_are_windows_of_one(one: Ladder, other: Ladder) -> None:
    """A rung's name says its TTL and its level, whatever the resolution: another one needs no migration."""

    def said(ladder: Ladder) -> dict[str, tuple[int, str]]:
        return {ladder.ttl(leg): (ladder.ttl_ms(leg), ladder.unit(leg.level)) for leg in ladder.rungs()}

    mine, theirs = said(one), said(other)
    assert all(mine[name] == theirs[name] for name in mine.keys() & theirs.keys())


@pytest.mark.parametrize("way", [OWN, SHARED])
@pytest.mark.parametrize("due", [NOW_MS, NOW_MS - 5000, 0])
def test_what_is_due_goes_straight_to_the_work_queue(way: Way, due: int) -> None:
    """Over an exchange of its own: nobody needs rights on the default exchange."""
    assert way.route(due, NOW) == ("mails.wait.due", ("mails",))


def test_a_way_enters_the_ladder_that_it_names() -> None:
    """On a shared one it also says where to go where no rung fits."""
    assert OWN.route(NOW_MS + 20_000, NOW) == ("mails.wait", ("in>20s", "10s>due:mails"))
    assert SHARED.route(NOW_MS + 20_000, NOW) == (
        "crowd.wait",
        ("in>20s", "10s>due:mails", "astray>due:mails"),
    )


def test_a_fraction_of_a_millisecond_costs_no_leg() -> None:
    """20 s is one leg, whenever in a millisecond it begins."""
    assert OWN.route(1_700_000_020_001, 1_700_000_000.0004)[1] == ("in>20s", "10s>due:mails")


@given(ladders, st.integers(0, TWENTY_YEARS_MS), st.floats(0, 0.999))
def test_a_way_lasts_from_now_until_it_is_due(ladder: Ladder, delay_ms: int, fraction: float) -> None:
    """To the tick, but for the fraction of a millisecond in which it begins."""
    now = NOW + fraction / 1000
    _, keys = Way("mails", "mails", ladder).route(NOW_MS + delay_ms, now)
    ticks = math.ceil(Decimal(max(0, NOW_MS + delay_ms - math.ceil(now * 1000))) / (ladder.resolution * 1000))
    assert keys == (ladder.itinerary(ticks, "mails") or ("mails",))
