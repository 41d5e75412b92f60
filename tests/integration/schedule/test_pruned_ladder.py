"""Schedules of a consumer whose ladder was pruned: its wake-ups go astray, and its schedules go on."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from sandbox.receiver import Receiver
from taskqueue.consume.wakeup import WakeUp
from taskqueue.declare.apply import declare
from taskqueue.settings import parse
from taskqueue.settings.schedules import Definition, ScheduleSettings
from taskqueue.topology import names
from tests.support.admin import Admin
from tests.support.command import ran
from tests.support.stage import PATIENCE, Stage, eventually
from tests.support.timetable import HOURLY, NAME, configure, lateness, occurrences

LATE = 15.0
"""Seconds by which an occurrence may be late here: far more than the one that is promised, as CI is busy."""
STEP = 3
"""Seconds between two occurrences."""


@pytest.fixture
def woken(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Give the times of all wake-ups that consumers of this test work off."""
    times: list[float] = []

    def counted(*given: Any, **named: Any) -> WakeUp:
        times.append(named["now"])
        return WakeUp(*given, **named)

    monkeypatch.setattr("taskqueue.consume.timekeeper.WakeUp", counted)
    return times


def prune(stage: Stage, admin: Admin, folder: Path, *, levels: int, resolution: str) -> None:
    """Declare another ladder and prune the former one; the schedule is due each few seconds from then on."""
    text = stage.path.read_text().replace("levels = 3", f"levels = {levels}")
    text = text.replace("resolution = 0.1", f"resolution = {resolution}")
    path = folder / "new.ini"
    path.write_text(f"management_url = {admin.management_url}\n{text}")
    ran(path, "declare", "--prune")
    often = ScheduleSettings(NAME, stage.name, Definition(f"*/{STEP} * * * * *", "/fast"))
    declare(replace(parse(path.read_text(), source=str(path), environ={}), schedules={NAME: often}))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("ladder", "levels", "resolution"),
    [("own", 2, "1"), ("own", 1, "10"), ("headed", 2, "1"), ("shared", 1, "0.1")],
)
def test_schedules_go_on_though_a_consumer_still_has_the_former_ladder(
    admin: Admin, staged: Callable[..., Stage], receiver: Receiver, tmp_path: Path, *, woken: list[float],
    caplog: pytest.LogCaptureFixture, ladder: str, levels: int, resolution: str,
) -> None:  # fmt: skip
    """None is missing, early, twice or buried, and the consumer does not spin; whoever owns the ladder."""
    caplog.set_level(logging.INFO)
    stage = staged(admin.url)
    head = f"{stage.name}-{ladder}"
    sections: dict[str, dict[str, Any]] = {f"schedule:{NAME}": {"queue": stage.name, **HOURLY}}
    sections |= {head: {"base_url": receiver.url}} if ladder == "headed" else {}
    stage.configure(sections, **({} if ladder == "own" else {"ladder": head}))
    declare(stage.settings)
    stage.consume()
    eventually(lambda: "heeding the schedules" in caplog.text, "it heeds them")
    prune(stage, admin, tmp_path, levels=levels, resolution=resolution)
    requests = receiver.wait_for(5, timeout=PATIENCE)
    seen = occurrences(requests)
    assert all(later - earlier == STEP for earlier, later in pairwise(sorted(seen)))
    assert max(Counter(seen).values()) == 1
    assert min(lateness(requests)) >= 0
    assert max(lateness(requests)[1:]) < LATE
    assert len(woken) < 10 * len(requests)
    stage.stop()
    assert stage.depth(f"{stage.name}.dead") == 0
    if ladder == "headed":
        assert stage.depth(f"{head}.dead") == 0


def stray(stage: Stage, wake: str, at: int) -> None:
    """Have a wake-up come to the work queue, as one does that has found no way."""
    stage.publish({"wake": at, "asked": None}, headers={"CC": ["in>7777s", f"1000s>due:{wake}"]})


def test_a_wake_up_that_went_astray_comes_home_by_a_consumer_without_schedules(stage: Stage) -> None:
    """Its ini names none; those who have the schedules get it."""
    configure(stage)
    declare(stage.settings)
    configure(stage, {})
    stage.consume()
    stray(stage, names.wake(stage.name), 5)
    eventually(lambda: stage.depth(names.wake(stage.name)) == 1, "it has come")
    stage.stop()
    assert stage.depth() == 0
    assert stage.depth(names.dead(stage.name)) == 0


@pytest.mark.parametrize("place", ["gone.schedule.due", f"{'long' * 60}.schedule.due"])
def test_a_wake_up_to_which_no_way_leads_is_dead_and_says_so(stage: Stage, place: str) -> None:
    """The queue of schedules is gone, or never was."""
    stage.consume()
    stray(stage, place, 5)
    ((headers, body, _),) = stage.dead()
    assert (headers["taskqueue-reason"], json.loads(body)) == ("invalid", {"wake": 5, "asked": None})
    if place.startswith("gone"):
        assert (
            "no way leads there; where there are schedules, run 'taskqueue declare'"
            in headers["taskqueue-error"]
        )
    # It goes on.
    stage.send("/x")
    stage.receiver.wait_for(1, timeout=PATIENCE)


def test_what_only_looks_like_a_wake_up_is_none(stage: Stage) -> None:
    """Without a way to a queue of wake-ups, or with another body."""
    configure(stage)
    declare(stage.settings)
    stage.consume()
    stage.publish({"wake": 5, "asked": None})
    stage.publish({"url": 5}, headers={"CC": [f"1000s>due:{names.wake(stage.name)}"]})
    assert {headers["taskqueue-error"].partition(":")[0] for headers, _, _ in stage.dead(2)} == {"url"}
