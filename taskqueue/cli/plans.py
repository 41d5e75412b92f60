"""Shows a plan and what became of it: as lines to read and search, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any

from taskqueue.cron import moment
from taskqueue.declare.leftovers import Leftover
from taskqueue.declare.migrate import Replaced
from taskqueue.declare.schedules import KEPT, Written
from taskqueue.declare.verify import Conflict, Findings
from taskqueue.settings import Settings
from taskqueue.topology.plan import (
    Exchange,
    Plan,
    Queue,
    plan,
    plan_history,
    plan_ladder,
    plan_limits,
    plan_queue,
    plan_schedules,
)


@dataclasses.dataclass(frozen=True, slots=True)
class Outcome:
    """What `declare` has found and done; `findings` is None where nobody could look."""

    findings: Findings | None
    replaced: tuple[Replaced, ...] = ()
    moved: dict[str, int] | None = None
    """Messages that a migration has moved, by queue; None where none ran."""
    leftovers: tuple[Leftover, ...] = ()
    schedules: tuple[Written, ...] = ()
    done: bool = False


def lines(settings: Settings, outcome: Outcome, *, dry_run: bool) -> Iterator[str]:
    """Write the plan for a dry run, else what is now declared, moved and removed."""
    if dry_run:
        yield from _plan_lines(settings, outcome.findings)
    elif outcome.done and outcome.findings is not None:
        yield from _summary(settings, outcome.findings)
    for each in outcome.replaced:
        if outcome.moved is None:
            why = "an interrupted migration" if each.interrupted else f"is {each.current}"
            yield f"{'replace':<8} queue    {each.queue}  {why}, becomes {each.wanted}"
        else:
            yield f"{each.queue}: migrated to {each.wanted} ({outcome.moved[each.queue]} messages moved)"
    for left in outcome.leftovers:
        yield from _leftover_lines(left, done=outcome.done)
    for written in outcome.schedules:
        yield _schedule_line(written, done=outcome.done)


def document(settings: Settings, outcome: Outcome) -> dict[str, Any]:
    """Give the whole plan for JSON, and what became of it."""
    planned, findings, done = plan(settings.layout), outcome.findings, outcome.done
    return {
        "applied": done,
        "exchanges": [
            {
                "name": each.name,
                "type": each.type,
                "arguments": each.arguments,
                "state": _state(each, findings, done=done),
            }
            for each in planned.exchanges
        ],
        "queues": [
            {"name": each.name, "arguments": dict(each.arguments), "state": _state(each, findings, done=done)}
            for each in planned.queues
        ],
        "bindings": [dataclasses.asdict(each) for each in planned.bindings],
        "conflicts": [_conflict(each) for each in findings.conflicts] if findings else [],
        "migration": [
            dataclasses.asdict(each) | {"moved": None if outcome.moved is None else outcome.moved[each.queue]}
            for each in outcome.replaced
        ],
        "leftovers": [
            {
                "owner": left.owner,
                "queues": left.queues,
                "exchanges": left.exchanges,
                "busy": left.busy,
                "removed": done and left.busy is None,
            }
            for left in outcome.leftovers
        ],
        "schedules": [dataclasses.asdict(each) | {"next": _time(each.next)} for each in outcome.schedules],
    }


def _plan_lines(settings: Settings, findings: Findings | None) -> Iterator[str]:
    planned = plan(settings.layout)
    for item in planned.items:
        yield f"{_state(item, findings):<8} {item.kind:<8} {item.name}  {_detail(item)}"
    for binding in planned.bindings:
        yield f"{'':<8} binding  {binding.exchange} --{binding.routing_key}--> {binding.queue}"


def _leftover_lines(left: Leftover, *, done: bool) -> Iterator[str]:
    if left.busy:
        yield f"{left.owner}: no longer in the configuration, and kept: {left.busy}"
        return
    for kind, names in (("exchange", left.exchanges), ("queue", left.queues)):
        for name in names:
            yield f"{'removed' if done else 'remove':<8} {kind:<8} {name}"


def _schedule_line(written: Written, *, done: bool) -> str:
    following = f", next {at}" if (at := _time(written.next)) else ""
    state = written.state if done or written.state == KEPT else f"to be {written.state}"
    return f"schedule {written.name} in {written.queue}: {state}{following}"


def _time(seconds: int | None) -> str | None:
    return None if seconds is None else moment(seconds)


def _summary(settings: Settings, findings: Findings) -> Iterator[str]:
    """Write a line for each task queue, and for each ladder that several share."""
    layout = settings.layout
    for queue in settings.queues.values():
        own = plan_queue(queue.name, layout)
        parts = (own, plan_ladder(queue.name, layout)) if queue.ladder == queue.name else (own,)
        if queue.name in settings.scheduled:
            parts = (*parts, plan_schedules(queue.name, layout))
        parts = (*parts, plan_limits(queue.name, layout))
        yield _declared(queue.name, parts, findings)
    for ladder in dict.fromkeys(queue.ladder for queue in settings.queues.values()):
        if ladder not in settings.queues:
            yield _declared(f"ladder {ladder}", (plan_ladder(ladder, layout),), findings)
    if layout.history is not None:
        yield _declared("history", (plan_history(layout.history),), findings)


def _declared(name: str, parts: tuple[Plan, ...], findings: Findings) -> str:
    items = [item for part in parts for item in part.items]
    queues = sum(isinstance(item, Queue) for item in items)
    created = sum(item not in findings.existing for item in items)
    bindings = sum(len(part.bindings) for part in parts)
    news = f"{created} of {len(items)} created" if created else f"all {len(items)} existed"
    counts = f"{queues} queues, {len(items) - queues} exchanges, {bindings} bindings"
    return f"{name}: declared ({counts}; {news})"


def _conflict(conflict: Conflict) -> dict[str, Any]:
    return {
        "kind": conflict.item.kind,
        "name": conflict.item.name,
        "differences": [dataclasses.asdict(each) for each in conflict.differences],
        "broker": conflict.told,
        "advice": conflict.advice,
    }


def _state(item: Exchange | Queue, findings: Findings | None, *, done: bool = False) -> str:
    if findings is None:
        return "unknown"
    if any(conflict.item == item for conflict in findings.conflicts):
        return "conflict"
    if item in findings.existing:
        return "exists"
    return "created" if done else "missing"


def _detail(item: Exchange | Queue) -> str:
    told = " ".join(f"{key}={value}" for key, value in item.arguments.items())
    return f"{item.type} {told}".strip() if isinstance(item, Exchange) else told
