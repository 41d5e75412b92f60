"""How a plan is shown: as lines to read and search, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from typing import Any

from taskqueue.settings import Settings
from taskqueue.topology.migrate import Migrated
from taskqueue.topology.plan import Exchange, Queue, plan, plan_queue
from taskqueue.topology.prune import Leftover
from taskqueue.topology.survey import Work
from taskqueue.topology.verify import Conflict, Findings


def lines(settings: Settings, findings: Findings | None) -> Iterator[str]:
    """Write a line for each exchange, queue and binding; `findings` is None where nobody could look."""
    planned = plan(settings)
    items: tuple[Exchange | Queue, ...] = planned.exchanges + planned.queues
    for item in items:
        yield f"{_state(item, findings):<8} {item.kind:<8} {item.name}  {_detail(item)}"
    for binding in planned.bindings:
        yield f"{'':<8} binding  {binding.exchange} --{binding.routing_key}--> {binding.queue}"


def leftover_lines(leftovers: Iterable[Leftover], *, done: bool) -> Iterator[str]:
    """Write a line for each thing that is no longer named, and for each task queue that has to stay."""
    for left in leftovers:
        if left.busy:
            yield f"{left.owner}: no longer in the configuration, and kept: {left.busy}"
            continue
        for kind, names in (("exchange", left.exchanges), ("queue", left.queues)):
            for name in names:
                yield f"{'removed' if done else 'remove':<8} {kind:<8} {name}"


def summary(settings: Settings, findings: Findings) -> Iterator[str]:
    """Write a line for each task queue that is declared now."""
    for queue in settings.queues.values():
        own = plan_queue(queue, settings.ladder, settings.queue_type)
        items: tuple[Exchange | Queue, ...] = own.exchanges + own.queues
        created = sum(item not in findings.existing for item in items)
        news = f"{created} of {len(items)} created" if created else f"all {len(items)} existed"
        counts = f"{len(own.queues)} queues, {len(own.exchanges)} exchanges, {len(own.bindings)} bindings"
        yield f"{queue.name}: declared ({counts}; {news})"


def move_lines(works: Iterable[Work], migrated: Iterable[Migrated] | None) -> Iterator[str]:
    """Write what has moved, or with `migrated` None a line for each queue that would be emptied."""
    if migrated is not None:
        for each in migrated:
            yield f"{each.work.queue.name}: migrated ({len(each.work.emptied)} queues, {each.moved} moves)"
        return
    for work in works:
        for emptied in work.emptied:
            yield f"{'move':<8} queue    {emptied.name}  {emptied.messages} messages: {emptied.why}"
        for exchange in work.obsolete:
            yield f"{'remove':<8} exchange {exchange}"


def moves(works: Iterable[Work], migrated: Iterable[Migrated] | None) -> dict[str, Any]:
    """Give for JSON what `--migrate` empties; `moved` is None for each task queue where it did not run."""
    moved = {each.work.queue.name: each.moved for each in migrated or ()}
    return {
        "migration": [
            {
                "queue": work.queue.name,
                "moved": moved.get(work.queue.name),
                "replaces_work_queue": work.work is not None,
                "emptied": [dataclasses.asdict(each) for each in work.emptied],
                "removed_exchanges": list(work.obsolete),
            }
            for work in works
        ]
    }


def document(
    settings: Settings, findings: Findings | None, leftovers: Iterable[Leftover], *, done: bool
) -> dict[str, Any]:
    """Give the whole plan for JSON; `done` tells whether it has been applied."""
    planned = plan(settings)
    return {
        "applied": done,
        "exchanges": [
            {"name": each.name, "type": each.type, "state": _state(each, findings, done=done)}
            for each in planned.exchanges
        ],
        "queues": [
            {"name": each.name, "arguments": dict(each.arguments), "state": _state(each, findings, done=done)}
            for each in planned.queues
        ],
        "bindings": [dataclasses.asdict(each) for each in planned.bindings],
        "conflicts": [_conflict(each) for each in findings.conflicts] if findings else [],
        "leftovers": [
            {**dataclasses.asdict(left), "removed": done and left.busy is None} for left in leftovers
        ],
    }


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
    if isinstance(item, Exchange):
        return item.type
    return " ".join(f"{key}={value}" for key, value in item.arguments.items())
