"""When waiting tasks come due, told from counts of rungs: no claim is ever false."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.operate.due import EDGES, Due, Span, document, due, joined
from taskqueue.operate.rungs import Rung, rungs
from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology.ladder import Ladder
from tests.support.routing import ladders

SETTINGS = Settings(queues={"mail": QueueSettings("mail")})


def rung(ttl: str, settings: Settings = SETTINGS) -> Rung:
    """Find a rung by its TTL."""
    return next(each for each in rungs("mail", settings) if each.ttl == ttl)


def three(found: Due | None) -> tuple[int | None, int | None, int | None]:
    """Give the three sums of the table."""
    assert found is not None
    return found.minute, found.hour, found.later


@pytest.mark.parametrize(
    ("ttl", "sums"),
    [
        ("0.1s", (7, 0, 0)),
        ("9s", (7, 0, 0)),
        ("50s", (7, 0, 0)),
        ("60s", (0, 7, 0)),
        ("900s", (0, 7, 0)),
        ("2000s", (0, 7, 0)),
        ("3000s", (0, 0, 7)),
        ("9000000s", (0, 0, 7)),
    ],
)
def test_tasks_are_sorted_by_when_the_last_of_their_rung_is_due(ttl: str, sums: tuple[int, int, int]) -> None:
    """From 50 s on a task may wait 9.9 s more: it is due within the minute, one on 60 s maybe is not."""
    assert three(due([(rung(ttl).within_ms, 7)])) == sums


@given(ladders, st.data())
def test_a_task_is_due_within_the_span_that_is_told(ladder: Ladder, data: st.DataObject) -> None:
    """Wherever it stands on its way, however long it has stood there, and however far away it is."""
    settings = replace(SETTINGS, resolution=ladder.resolution, levels=ladder.levels)
    tick_ms = float(ladder.resolution) * 1000
    delay_ms = data.draw(st.floats(0.001, float(ladder.longest) * tick_ms * 3))
    legs = ladder.legs(ladder.ticks(delay_ms))
    place = data.draw(st.integers(0, len(legs) - 1))
    stay_ms = ladder.ttl_ms(legs[place])
    stood_ms = data.draw(st.floats(0, stay_ms))
    passed_ms = sum(ladder.ttl_ms(leg) for leg in legs[:place]) + stood_ms
    found = due([(rung(ladder.ttl(legs[place]), settings).within_ms, 1)])
    assert found is not None
    (span,) = found.spans
    left = (delay_ms - passed_ms) / 1000
    # In its last tick it is due already, as no task is ever early.
    assert -tick_ms / 1000 <= left <= span.within
    for bar in found.bars():
        assert bar.count == 0 or left <= bar.within


@given(st.dictionaries(st.sampled_from(rungs("mail", SETTINGS)), st.integers(0, 10**6)))
def test_the_bars_and_the_sums_are_all_there_is(counts: dict[Rung, int]) -> None:
    """Each task is in one of them."""
    found = due((step.within_ms, count) for step, count in counts.items())
    if found is None:
        assert not counts
        return
    assert found.total == sum(counts.values()) == sum(bar.count or 0 for bar in found.bars())
    assert sum(each or 0 for each in three(found)) == found.total
    assert [bar.within for bar in found.bars()] == [*EDGES, math.inf]


def test_a_rung_that_does_not_answer_makes_its_part_unknown() -> None:
    """And no other; what is not known is never taken for nothing."""
    found = [(1000, 1), (66_000, None), (66_000, 2)]
    for steps in (found, found[::-1]):
        told = due(steps)
        assert three(told) == (1, None, 0)
        assert told is not None
        assert told.total is None


def test_no_rung_at_all_is_no_count() -> None:
    """Where nothing is declared, nothing is due: that is another word than zero."""
    assert due([]) is joined([]) is joined([None]) is None
    assert document(None) == {"minute": None, "hour": None, "later": None, "spans": None}


def test_the_longest_rung_is_never_due_within_an_hour() -> None:
    """However short it is: what is due in a year goes round on it."""
    short = replace(SETTINGS, resolution=Decimal("0.1"), levels=1)
    assert three(due((each.within_ms, 1) for each in rungs("mail", short))) == (8, 0, 1)


def test_ladders_are_put_together() -> None:
    """Span by span; JSON leaves out what is empty, and has null for an end that nobody knows."""
    one, two = due([(1000, 1), (2000, 0)]), due([(1000, 2), (2**63, 5)])
    found = joined([one, None, two])
    assert found is not None
    assert found.spans == (Span(1, 3), Span(2, 0), Span(math.inf, 5))
    assert document(found)["spans"] == [
        {"from": 0, "to": 1, "count": 3},
        {"from": 0, "to": None, "count": 5},
    ]
