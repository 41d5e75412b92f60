"""What `inspect --prometheus` prints, read as Prometheus reads it; what is not known is not there."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from prometheus_client.parser import text_string_to_metric_families

from taskqueue.operate.due import Due, Span
from taskqueue.operate.exposition import FAMILIES, exposition
from taskqueue.operate.overview import Overview
from taskqueue.operate.pause import Pause
from taskqueue.operate.schedules import NOT_DECLARED, PAUSED, RUNNING, ScheduleState
from taskqueue.settings.schedules import Definition
from tests.support.views import view

DEFINITION = Definition("@daily", "/x")
DUE = Due((Span(1.0, 2), Span(90.0, 3), Span(math.inf, 4)))


def shown(overview: Overview, *schedules: ScheduleState) -> dict[tuple[str, ...], float]:
    """Give the values by the name of a sample and its labels, in the order of their names."""
    return {
        (sample.name.removeprefix("taskqueue_"), *(sample.labels[each] for each in sorted(sample.labels))): (
            sample.value
        )
        for family in text_string_to_metric_families(exposition(overview, schedules))
        for sample in family.samples
    }


def overview(*changes: dict[str, Any], alarms: tuple[str, ...] | None = None) -> Overview:
    """Give a look at queues of which something is changed."""
    views = tuple(view(**each) for each in changes)
    return Overview(1_800_000_000.25, views, {each.ladder.name: each.ladder for each in views}, alarms=alarms)


def test_all_that_is_known_is_there() -> None:
    """Each family with the labels that it names, and due times that hold those before them."""
    seen = overview(
        {
            "ready": 12, "unacked": 3, "dead": 1, "consumers": 2, "pause": Pause(by="ann"),
            "ladder_due": DUE, "ladder_held": 5, "ladder_lost": 6, "ladder_lateness": 0.0126,
        },
        alarms=("memory",),
    )  # fmt: skip
    running = ScheduleState("nightly", "mail", RUNNING, DEFINITION, (1_800_000_600, 1_800_087_000))
    found = shown(seen, running)
    assert found["inspected_timestamp_seconds",] == 1_800_000_000.25
    assert found["broker_alarms",] == 1
    states = {key[-1]: value for key, value in found.items() if key[0] == "queue_tasks"}
    assert states == {"ready": 12, "unacked": 3, "dead": 1}
    states = {key[-1]: value for key, value in found.items() if key[0] == "ladder_tasks"}
    assert states == {"waiting": 9, "held": 5, "lost": 6}
    due = {key[-1]: value for key, value in found.items() if key[0] == "ladder_due_tasks"}
    assert (due["10"], due["60"], due["600"], due["604800"], due["+Inf"]) == (2, 2, 5, 5, 9)
    assert found["ladder_late_seconds", "mail"] == 0.013
    assert (found["queue_paused", "mail"], found["queue_consumers", "mail"]) == (1, 2)
    assert found["queue_known", "mail"] == 1
    assert found["schedule_next_timestamp_seconds", "mail", "nightly"] == 1_800_000_600
    assert found["schedule_paused", "mail", "nightly"] == 0
    assert {key[0] for key in found} == {each.name.removeprefix("taskqueue_") for each in FAMILIES}


def test_what_is_not_known_is_left_out_and_never_zero() -> None:
    """And what can't be known at all of a queue is told once."""
    seen = overview(
        {
            "ready": None, "unacked": None, "dead": None, "consumers": None, "pause_known": False,
            "ladder_due": Due((Span(1.0, None),)), "ladder_held": None, "unknown": ("mail",),
        }
    )  # fmt: skip
    found = shown(seen, ScheduleState("nightly", "mail", NOT_DECLARED, DEFINITION))
    assert found == {("inspected_timestamp_seconds",): 1_800_000_000.25, ("queue_known", "mail"): 0}


def test_a_schedule_that_is_paused_has_no_next_occurrence() -> None:
    """Or it would be overdue for as long."""
    paused = ScheduleState("nightly", "mail", PAUSED, DEFINITION, (1, 2), paused=1)
    found = shown(overview({}), paused)
    assert found["schedule_paused", "mail", "nightly"] == 1
    assert ("schedule_next_timestamp_seconds", "mail", "nightly") not in found


def test_a_ladder_that_is_shared_is_told_once() -> None:
    """By its own name, so that sums are right."""
    one, two = view(name="a", on="L", ladder_due=DUE), view(name="b", on="L", ladder_due=DUE)
    found = shown(replace(overview(), views=(one, two), ladders={"L": one.ladder}))
    assert [key for key in found if key[0] == "ladder_tasks" and key[-1] == "waiting"] == [
        ("ladder_tasks", "L", "waiting")
    ]
    assert {key[1] for key in found if key[0] == "queue_tasks"} == {"a", "b"}


def test_a_queue_of_any_name_has_its_numbers() -> None:
    """Quotes, line ends and backslashes in a name break nothing."""
    name = 'a"b\\c\nd}é'
    assert shown(overview({"name": name}))["queue_known", name] == 1
