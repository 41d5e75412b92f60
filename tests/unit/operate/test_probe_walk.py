"""The way of a probe: a delay like any other, an end of its own, and no way to a work queue."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.operate.probe import ahead, walk
from taskqueue.operate.rungs import rest_ms
from taskqueue.task.astray import is_marker
from taskqueue.task.message import Message
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import plan
from tests.support.routing import SHAPES, configured, ladders, shapes


def test_the_way_is_that_of_a_delay_with_another_end() -> None:
    """Most digit first; the last key leads where nothing is kept."""
    way = walk("mail", Ladder(), 1.1)
    assert (way.stays, way.seconds, way.end) == (("1s", "0.1s"), 1.1, "0.1s>probe")
    assert way.keys == ("in>1s", "1s>0.1s", "0.1s>probe", "look")


@given(ladders, st.floats(0.001, 60))
def test_it_is_never_shorter_than_it_was_asked_for_unless_the_ladder_is(
    ladder: Ladder, countdown: float
) -> None:
    """Rounded up to a tick, as a task is."""
    way = walk("mail", ladder, countdown)
    longest = sum(map(ladder.ttl_ms, ladder.legs(ladder.longest + 1))) / 1000
    assert way.seconds >= min(countdown, longest)
    assert way.keys[-2:] == (way.end, names.LOOK)


@given(shapes, ladders, st.floats(0.001, 60))
def test_it_comes_to_its_own_queue_and_drops_what_it_leaves(
    shape: str, ladder: Ladder, countdown: float
) -> None:
    """Followed through the plan as RabbitMQ routes: every hop finds its rung, and the end finds its queue."""
    name = SHAPES[shape]
    planned = plan(configured(shape, ladder).layout)
    way = walk(name, ladder, countdown)
    bindings = {(each.exchange, each.routing_key): each.queue for each in planned.bindings}
    place = names.wait(name)
    stays: list[str] = []
    while place != names.level(name, way.last) or len(stays) < len(way.stays):
        (found,) = {bindings[place, key] for key in way.keys[:-1] if (place, key) in bindings}
        timed = names.timed(found)
        assert timed is not None
        stays.append(names.seconds(timed.seconds))
        place = timed.level
    assert tuple(stays) == way.stays
    assert not {bindings.get((place, key)) for key in way.keys} - {None, names.looked(name)}


@given(shapes, ladders, st.floats(0.001, 60))
def test_a_probe_that_was_killed_never_comes_to_a_work_queue(
    shape: str, ladder: Ladder, countdown: float
) -> None:
    """At each level at least one of its keys finds a queue, so the alternate exchange never takes it."""
    name = SHAPES[shape]
    planned = plan(configured(shape, ladder).layout)
    bound = {(each.exchange, each.routing_key) for each in planned.bindings}
    for unit in map(ladder.unit, range(ladder.levels)):
        assert (names.level(name, unit), walk(name, ladder, countdown).keys[-1]) in bound


def test_a_look_knows_one_that_was_killed() -> None:
    """It takes it for no task; and what others write with a body stays a task."""
    keys = list(walk("mail", Ladder(), 1.1).keys[1:])
    assert is_marker(Message(b"", {"CC": keys}))
    assert not is_marker(Message(b"{}", {"CC": keys}))
    assert not is_marker(Message(b"", {"CC": [*keys, "0.1s>due:mail"]}))
    assert rest_ms(keys, "1s") == 100


@pytest.mark.parametrize(
    ("told", "own", "lateness", "by"),
    [
        (None, 1000.0, 0.0, None),
        (1000.0, 1000.9, 0.0, 0.0),
        (1000.0, 1001.9, 0.0, 0.0),
        (1000.0, 999.1, 0.0, 0.0),
        (1000.0, 1008.0, 7.0, 0.0),
        (1000.0, 1008.0, 0.0, -8.0),
        (1060.0, 1000.0, 0.0, 60.0),
        (1060.0, 1000.0, 7.0, 60.0),
    ],
)
def test_clocks_that_differ_are_told_from_a_probe_that_is_late(
    told: float | None, own: float, lateness: float, by: float | None
) -> None:
    """The broker's time is in whole seconds; a lateness may lie behind it, and never before."""
    assert ahead(told, own, lateness) == by
