"""The rungs of a ladder in the order in which they are looked through, and what a waiting message tells."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from taskqueue.inspect import Due, due
from taskqueue.message import Message
from taskqueue.topology.ladder import Ladder
from taskqueue.waiting import read, rungs

LADDER = Ladder(Decimal("0.1"), 8)


def test_rungs_go_from_the_shortest_to_the_longest() -> None:
    """Every one, by the name of its queue."""
    found = rungs("mail", LADDER)
    assert (len(found), found[0].queue, found[-1].queue) == (72, "mail.wait.0.1s", "mail.wait.9000000s")
    assert [rung.ttl_ms for rung in found] == sorted(rung.ttl_ms for rung in found)


@given(st.integers(min_value=1, max_value=LADDER.longest))
def test_a_task_only_ever_moves_on_to_a_longer_rung(ticks: int) -> None:
    """So a look from the shortest rung to the longest can't miss one that moves meanwhile."""
    walk = [LADDER.ttl_ms(leg) for leg in LADDER.legs(ticks)]
    assert walk == sorted(walk)


def test_a_waiting_task_tells_when_it_is_due_and_why_it_failed() -> None:
    """From the headers, the url from the body."""
    headers = {"taskqueue-due": 1_764_074_365_500, "taskqueue-runs": 2, "taskqueue-error": "status 500"}
    task = read(Message(b'{"url": "/x"}', headers, {"message_id": "a"}), "20s")
    assert (task.id, task.url, task.due, task.runs) == ("a", "/x", 1_764_074_365.5, 2)
    assert (task.error, task.rung) == ("status 500", "20s")


def test_a_waiting_message_that_tells_nothing_is_read_all_the_same() -> None:
    """Others can publish onto the ladder, too."""
    task = read(
        Message(b"\xff", {"taskqueue-due": "soon", "taskqueue-runs": -1, "taskqueue-error": 7}), "20s"
    )
    assert (task.id, task.url, task.due, task.runs, task.error) == (None, None, None, 0, None)


def test_waiting_tasks_are_sorted_by_the_ttl_of_their_rung() -> None:
    """Up to a minute, up to an hour, longer: both ends belong to the shorter one."""
    counts = [(100, 1), (60_000, 2), (60_001, 4), (3_600_000, 8), (3_600_001, 16), (9_000_000_000, 32)]
    assert due(counts) == Due(minute=3, hour=12, later=48)
