"""The patterns of docs/permissions.md match names of the queue that they are for, and of no other."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from taskqueue.settings import parse
from taskqueue.topology import names
from taskqueue.topology.plan import plan

DOCS = (Path(__file__).parents[3] / "docs" / "permissions.md").read_text(encoding="utf-8").replace(r"\|", "|")
WRITE = dict(re.findall(r"^\| (\w+) \| `\S+` \| `(\S+)` \|", DOCS, re.MULTILINE))
SENT = re.findall(r"as in\s+`(\S+)`", DOCS)
WHOLE = re.findall(r"declarer have `(\S+)`", DOCS)


def matched(pattern: str, *ladder: str) -> set[str]:
    """Give the names that a pattern allows, where another queue shares the ladder and one has a like name."""
    sections = ["[Q]", *ladder, "[Qs]", "[other]", *ladder]
    planned = plan(parse("\n".join(["levels = 2", *sections]), source="test", environ={}).layout)
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
