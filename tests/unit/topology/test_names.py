"""Names: as people write a time, all under one permission pattern, and read back as they were written."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from tests.support.routing import ladders

QUEUES = st.text(st.characters(exclude_categories=["C", "Z"], include_characters=" "), min_size=1)
LADDERS = QUEUES.filter(lambda name: names.owner(name) is None)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("0.3", "0.3s"),
        ("1", "1s"),
        ("1.0", "1s"),
        ("20", "20s"),
        ("3000", "3000s"),
        ("9000000", "9000000s"),
        ("9E+12", "9000000000000s"),
        ("0.001", "0.001s"),
        ("0.250", "0.25s"),
    ],
)
def test_a_time_is_written_in_seconds_as_people_do(value: str, written: str) -> None:
    """No exponent, no zeros that say nothing."""
    assert names.seconds(Decimal(value)) == written


def test_the_names_of_a_queue_are_those_of_the_contract() -> None:
    """Operators have them in dashboards and permission patterns: they do not change."""
    assert names.wait("mails") == "mails.wait"
    assert names.due("mails") == "mails.wait.due"
    assert names.lost("mails") == "mails.wait.lost"
    assert names.level("mails", "10s") == "mails.wait.10s"
    assert names.rung("mails", "0.3s") == "mails.wait.0.3s"
    assert names.rung("mails", "0.3s", classic=True) == "mails.wait.0.3s.classic"
    assert names.dead("mails") == "mails.dead"
    assert names.moving("mails") == "mails.moving"
    assert names.paused("mails") == "mails.paused"
    assert names.hop(names.ENTRY, "0.3s") == "in>0.3s"
    assert names.hop("10s", "0.3s") == "10s>0.3s"
    assert names.last_hop("10s", "mails") == "10s>due:mails"
    assert names.astray("mails") == "astray>due:mails"


@pytest.mark.parametrize(
    ("key", "queue"),
    [
        ("0.1s>due:mails", "mails"),
        ("astray>due:mails", "mails"),
        ("10s>due:a>b", "a>b"),
        ("10s>due:due:x", "due:x"),
        ("10s>due:a>due:b", "a>due:b"),
        ("10s>due: ", " "),
        ("in>20s", None),
        ("10s>0.3s", None),
        ("10s>due", None),
        ("10s>due:", None),
        (">due:mails", None),
        ("due:mails", None),
        ("mails", None),
        ("", None),
    ],
)
def test_a_last_hop_tells_where_it_leads(key: str, queue: str | None) -> None:
    """And no other key does, not that of a former ladder either."""
    assert names.destination(key) == queue


@given(QUEUES, ladders, st.data())
def test_a_queue_is_read_from_every_last_hop_to_it_and_from_no_other_hop(
    queue: str, ladder: Ladder, data: st.DataObject
) -> None:
    """Whatever it is called."""
    *hops, last = ladder.itinerary(data.draw(st.integers(1, 10**14)), queue)
    assert names.destination(last) == names.destination(names.astray(queue)) == queue
    assert {names.destination(hop) for hop in hops} == {None}
    assert names.is_astray(names.astray(queue))
    assert not any(map(names.is_astray, (*hops, last)))


@given(name=LADDERS, ladder=ladders, classic=st.booleans())
def test_the_name_of_a_rung_says_its_ladder_its_ttl_and_its_level(
    name: str, ladder: Ladder, *, classic: bool
) -> None:
    """So `--prune` knows what a former ladder had, whatever its resolution was."""
    for leg in ladder.rungs():
        found = names.timed(names.rung(name, ladder.ttl(leg), classic=classic))
        assert found is not None
        assert (found.ladder, int(found.seconds * 1000)) == (name, ladder.ttl_ms(leg))
        assert found.level == names.level(name, ladder.unit(leg.level))


@pytest.mark.parametrize(
    "name",
    [
        "mails",
        "mails.dead",
        "mails.moving",
        "mails.wait",
        "mails.wait.due",
        "mails.wait.lost",
        "mails.wait.20",
        "mails.wait.s",
        "mails.wait.0.3s.quorum",
        "mails.wait.20s.",
        "mails.wait.-1s",
        "mails.wait.1e3s",
        ".wait.20s",
    ],
)
def test_what_is_no_rung_is_not_taken_for_one(name: str) -> None:
    """Nothing of anybody else's is pruned or counted."""
    assert names.timed(name) is None


@given(QUEUES)
def test_a_name_of_ours_tells_whose_it_is(queue: str) -> None:
    """Every kind of name, so that no queue can take one that is another's."""
    whose = names.owner(queue)
    whose = queue if whose is None else whose
    for name in (
        names.wait(queue),
        names.due(queue),
        names.lost(queue),
        names.level(queue, "10s"),
        names.rung(queue, "0.3s"),
        names.rung(queue, "0.3s", classic=True),
        names.dead(queue),
        names.moving(queue),
        names.paused(queue),
    ):
        assert names.owner(name) == whose


@pytest.mark.parametrize(
    "name",
    ["mails", "wait", "dead", "a.waiting", "a.deadline", "a.moving2", "a.b", "mails.due", "mails.lost"],
)
def test_a_name_that_could_be_a_queues_own_is_nobodys(name: str) -> None:
    """A queue may be called so."""
    assert names.owner(name) is None


@pytest.mark.parametrize(
    ("name", "queue"),
    [("a.dead", "a"), ("a.wait.b", "a"), ("a.wait.b.dead", "a"), (".dead", ""), ("a..wait", "a.")],
)
def test_the_shortest_possible_owner_is_taken(name: str, queue: str) -> None:
    """It is the one whose permission pattern covers the name."""
    assert names.owner(name) == queue
