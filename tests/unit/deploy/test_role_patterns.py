"""The patterns of docs/permissions.md match names of the queue that they are for, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskqueue.settings import parse
from taskqueue.topology import names
from taskqueue.topology.plan import plan

DOCS = (Path(__file__).parents[3] / "docs" / "permissions.md").read_text(encoding="utf-8").replace(r"\|", "|")
_ROWS = re.findall(r"^\| ([a-z ]+) \| `\S+` \| `(\S+)` \| `(\S+)` \|", DOCS, re.MULTILINE)
WRITE, READ = ({role: patterns[of] for role, *patterns in _ROWS} for of in (0, 1))
LIMITS = ("rate = 1/s", "max_concurrency = 2")
SCHEDULE = ("[schedule:yearly]", "cron = @yearly", "queue = Q", "url = http://h/")
SENT = re.findall(r"as in\s+`(\S+)`", DOCS)
WHOLE = re.findall(r"declarer have `(\S+)`", DOCS)


def matched(pattern: str, *ladder: str) -> set[str]:
    """Give the names that a pattern allows, where another queue shares the ladder and one has a like name."""
    sections = ["[Q]", *ladder, *LIMITS, "[Qs]", *LIMITS, "[other]", *ladder, *SCHEDULE]
    planned = plan(
        parse("\n".join(["levels = 2", "history = 1d", *sections]), source="test", environ={}).layout
    )
    return {item.name for item in planned.items if re.search(pattern, item.name)}


def test_a_publisher_reaches_the_two_ways_in() -> None:
    """Of its queue alone; on a shared ladder, the way in of that too."""
    assert matched(WRITE["publisher"]) == {names.wait("Q"), names.due("Q")}
    assert matched(SENT[0], "ladder = L") == {names.wait("Q"), names.due("Q"), names.wait("L")}


@pytest.mark.parametrize("role", ["consumer", "declarer"])
def test_who_consumes_reaches_all_that_tasks_are_settled_by(role: str) -> None:
    """And nothing of another queue, whatever its name begins with."""
    found = matched(WRITE[role])
    assert found >= {names.wait("Q"), names.due("Q"), names.dead("Q")}
    assert not {name for name in found if name.startswith(("Qs", "other"))}


def test_on_a_shared_ladder_the_declarer_reaches_its_queue_and_the_ladder() -> None:
    """No other queue on it."""
    found = matched(WHOLE[0], "ladder = L")
    assert {names.wait("L"), names.lost("L"), names.rung("L", "9s"), "Q", names.dead("Q")} <= found
    assert not {name for name in found if name.startswith(("Qs", "other"))}


def test_a_consumer_reads_its_queue_and_what_schedules_and_limits_stand_on() -> None:
    """Each of these by its name, the probes of its ladder, and nothing that waits or is dead."""
    timed = {names.schedule("Q"), names.wake("Q")}
    limits = set(names.limits("Q", paced=True, capped=True))
    assert matched(READ["consumer"]) == {"Q", *timed, *limits, names.probe("Q")}
    assert re.search(READ["consumer"], names.pause_note("Q"))


def test_an_operator_and_a_declarer_reach_all_limits() -> None:
    """Of their queue alone."""
    limits = set(names.limits("Q", paced=True, capped=True))
    assert limits < matched(READ["operator"])
    assert limits < matched(WRITE["declarer"])


def test_the_history_takes_its_own_patterns() -> None:
    """Consumers and operators write by its exchange, who asks reads both streams; it is no queue's."""
    both = {names.HISTORY, names.HISTORY_INDEX}
    assert (
        matched(WRITE["consumer with history"]) == matched(WRITE["operator with history"]) == {names.HISTORY}
    )
    assert matched(READ["consumer with history"]) == set()
    assert matched(READ["operator with history"]) == matched(WRITE["declarer with history"]) == both
    assert not both & matched(WRITE["declarer"])
