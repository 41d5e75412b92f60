"""What one look has found, as text for Prometheus (its text format, 0.0.4). Pure.

Who consumes can't tell this: depths are known while no consumer runs, and several that told the same number
would be summed. So one command tells it of all queues. What is not known is left out, and never zero.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from taskqueue.operate.due import EDGES
from taskqueue.operate.inspect import LadderState
from taskqueue.operate.overview import Overview, View
from taskqueue.operate.schedules import PAUSED, RUNNING, ScheduleState


@dataclass(frozen=True, slots=True)
class Family:
    """One metric, a gauge: its name, its labels, and what it says."""

    name: str
    labels: tuple[str, ...]
    about: str


FAMILIES = tuple(
    Family(f"taskqueue_{name}", labels, about)
    for name, labels, about in (
        ("inspected_timestamp_seconds", (), "When the broker was looked at."),
        ("queue_known", ("queue",), "1 where all is declared and answers, 0 where something is not known."),
        ("queue_tasks", ("queue", "state"), "Tasks that are ready, unacked or dead."),
        ("queue_consumers", ("queue",), "Consumers of the queue, as the broker counts them."),
        ("queue_paused", ("queue",), "1 while the queue is paused."),
        (
            "ladder_tasks",
            ("ladder", "state"),
            "Tasks that wait, are held though their wait is over, or are lost.",
        ),
        ("ladder_due_tasks", ("ladder", "within"), "Waiting tasks due in so many seconds at the latest."),
        (
            "ladder_late_seconds",
            ("ladder",),
            "How late the ladder is, as the last probe of a consumer saw it.",
        ),
        ("broker_alarms", (), "Alarms of the broker."),
        ("schedule_next_timestamp_seconds", ("queue", "schedule"), "The occurrence that is enqueued next."),
        ("schedule_paused", ("queue", "schedule"), "1 while the schedule is paused."),
    )
)
_Sample = tuple[str, tuple[str, ...], float | None]


def exposition(overview: Overview, schedules: Iterable[ScheduleState]) -> str:
    """Write it; `schedules` are those that stand in the broker."""
    found: dict[str, list[str]] = {}
    for name, values, number in _samples(overview, schedules):
        if number is not None:
            found.setdefault(f"taskqueue_{name}", []).append(_labelled(f"taskqueue_{name}", values, number))
    lines: list[str] = []
    for family in FAMILIES:
        if family.name in found:
            lines += (f"# HELP {family.name} {family.about}", f"# TYPE {family.name} gauge")
            lines += found[family.name]
    return "".join(f"{line}\n" for line in lines)


def _samples(overview: Overview, schedules: Iterable[ScheduleState]) -> Iterator[_Sample]:
    yield "inspected_timestamp_seconds", (), overview.at
    if overview.alarms is not None:
        yield "broker_alarms", (), len(overview.alarms)
    for view in overview.views:
        yield from _of_queue(view)
    for ladder in overview.ladders.values():
        yield from _of_ladder(ladder)
    for each in schedules:
        if each.state in {RUNNING, PAUSED}:
            named = (each.queue, each.name)
            yield "schedule_paused", named, each.state == PAUSED
            # What a paused one leaves out is not missed.
            upcoming = next(iter(each.next), None) if each.state == RUNNING else None
            yield "schedule_next_timestamp_seconds", named, upcoming


def _of_queue(view: View) -> Iterator[_Sample]:
    state, ladder = view.state, view.ladder
    amiss = (state.missing, state.unknown, state.looked, ladder.missing, ladder.unknown, ladder.looked)
    yield "queue_known", (view.name,), view.pause_known and not any(amiss)
    for name in ("ready", "unacked", "dead"):
        yield "queue_tasks", (view.name, name), getattr(state, name)
    yield "queue_consumers", (view.name,), state.consumers
    if view.pause_known:
        yield "queue_paused", (view.name,), view.pause is not None


def _of_ladder(ladder: LadderState) -> Iterator[_Sample]:
    for name in ("waiting", "held", "lost"):
        yield "ladder_tasks", (ladder.name, name), getattr(ladder, name)
    for edge in (*EDGES, math.inf):
        within = "+Inf" if math.isinf(edge) else str(edge)
        yield "ladder_due_tasks", (ladder.name, within), ladder.due.between(0, edge) if ladder.due else None
    yield "ladder_late_seconds", (ladder.name,), ladder.lateness


def _labelled(name: str, values: Sequence[str], number: float) -> str:
    (family,) = (each for each in FAMILIES if each.name == name)
    pairs = (f'{label}="{_escaped(value)}"' for label, value in zip(family.labels, values, strict=True))
    labels = ",".join(pairs)
    told = int(number) if number == int(number) else round(number, 3)
    return f"{name}{{{labels}}} {told}" if labels else f"{name} {told}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
