"""When a task that fails would run: the same arithmetic as the consumer's."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from pathlib import Path

import pytest

from taskqueue.cli.retries import times
from taskqueue.settings import QueueSettings, Settings
from tests.support import command

CLOUD_TASKS = QueueSettings(
    "q", min_backoff_seconds=10.0, max_backoff_seconds=300.0, max_doublings=3, jitter=0.0
)


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    """Give an ini with a queue that has a limit, and one that has none."""
    path = tmp_path / "taskqueue.ini"
    path.write_text("jitter = 0\n[some]\nretry_limit = 3\n[endless]\njitter = 0.5\n")
    return path


def test_the_waits_are_those_of_the_backoff() -> None:
    """As the documentation of Cloud Tasks has them."""
    found = list(islice(times(CLOUD_TASKS, Settings(), 1000.0), 9))
    assert [each.wait for each in found] == [0, 10, 20, 40, 80, 160, 240, 300, 300]
    assert [each.after for each in found] == [0, 10, 30, 70, 150, 310, 550, 850, 1150]
    assert [each.at for each in found] == [1000 + each.after for each in found]
    assert all(each.earliest == each.after == each.latest for each in found)


def test_the_jitter_and_the_ticks_are_in_it() -> None:
    """The earliest and the latest that a task could run; a tick is the least that it waits."""
    queue = QueueSettings("q", min_backoff_seconds=10.0, jitter=0.1)
    _, second, third = islice(times(queue, Settings(), 0.0), 3)
    assert (second.earliest, second.latest) == (9, 11)
    assert (third.earliest, third.latest) == (27, 33)
    slow = Settings(resolution=Decimal(10))
    assert [each.wait for each in islice(times(QueueSettings("q", jitter=0), slow, 0.0), 3)] == [0, 10, 10]


def test_a_limit_ends_the_list(ini: Path) -> None:
    """That of the queue, or that of the task; without one it is for ever."""
    assert [each["attempt"] for each in command.read(ini, "retries", "some")["retries"]] == [1, 2, 3]
    own = command.read(ini, "retries", "some", "--max-retries", "0")
    assert (own["attempts"], [each["after"] for each in own["retries"]]) == (1, [0])
    endless = command.read(ini, "retries", "endless", "--limit", "2")
    assert (endless["attempts"], len(endless["retries"])) == (None, 2)


def test_people_get_a_table(ini: Path) -> None:
    """With the range of the jitter where there is one."""
    lines = command.ran(ini, "retries", "some").splitlines()
    assert lines[0].split() == ["attempt", "wait", "after", "at"]
    assert lines[3].split()[:5] == ["3", "2.0", "s", "3.0", "s"]
    assert "earliest" in command.ran(ini, "retries", "endless")
    command.ran(ini, "retries", "nobody", code=2)
