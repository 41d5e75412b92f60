"""`taskqueue declare`: create what the configuration needs in the broker."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from taskqueue.cli import app, frame
from taskqueue.errors import BrokerUnreachable, TopologyConflict
from taskqueue.settings import Settings, load
from taskqueue.topology import crew
from taskqueue.topology.declare import apply, silent, verify
from taskqueue.topology.plan import CLASSIC, Exchange, Queue, plan, plan_queue
from taskqueue.topology.verify import Conflict, Findings


@app.command()
def declare(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")] = False,
    queues: frame.Queues = None,
    as_json: frame.Json = False,
    config: frame.Config = None,
) -> None:
    """Create every queue, exchange and binding that the configuration needs; again changes nothing."""
    settings = frame.only(load(config), queues)
    if settings.queue_type == CLASSIC:
        frame.say(
            "warning: queue_type = classic: a broker that crashes loses waiting tasks; quorum queues do not",
            "yellow",
        )
    with _progress(shown=not as_json) as progress:
        findings = _look(settings, progress, needed=not dry_run)
        if findings and not findings.conflicts and not dry_run:
            apply(settings, findings, progress=progress)
    if as_json:
        frame.emit(_document(settings, findings, dry_run=dry_run))
    elif dry_run:
        _print_plan(settings, findings)
    elif findings and not findings.conflicts:
        _print_summary(settings, findings)
    if findings:
        _report(findings)


def _look(settings: Settings, progress: crew.Progress, *, needed: bool) -> Findings | None:
    """Look at what exists; None where the broker is not reachable and need not be."""
    try:
        return verify(settings, progress=progress)
    except BrokerUnreachable as error:
        if needed:
            raise
        frame.say(f"{error}; so the plan can't say what exists already", "yellow")
        return None


@contextmanager
def _progress(*, shown: bool) -> Iterator[crew.Progress]:
    """Show how far it is: bars on a terminal, and a line for each finished step elsewhere."""
    if not shown:
        yield silent
    elif not frame.err.is_terminal:
        yield lambda step, done, total: frame.say(f"{step}: {total}") if done == total else None
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=frame.err, transient=True) as bars:
            steps: dict[str, TaskID] = {}

            def show(step: str, done: int, total: int) -> None:
                if step not in steps:
                    steps[step] = bars.add_task(step, total=total)
                bars.update(steps[step], completed=done)

            yield show


def _print_plan(settings: Settings, findings: Findings | None) -> None:
    """Print a line for each exchange, queue and binding: easy to read, and to search."""
    planned = plan(settings)
    items: tuple[Exchange | Queue, ...] = planned.exchanges + planned.queues
    for item in items:
        typer.echo(f"{_state(item, findings):<8} {item.kind:<8} {item.name}  {_detail(item)}")
    for binding in planned.bindings:
        typer.echo(f"{'':<8} binding  {binding.exchange} --{binding.routing_key}--> {binding.queue}")


def _print_summary(settings: Settings, findings: Findings) -> None:
    for queue in settings.queues.values():
        own = plan_queue(queue, settings.ladder, settings.queue_type)
        items = (*own.exchanges, *own.queues)
        created = sum(item not in findings.existing for item in items)
        news = f"{created} of {len(items)} created" if created else f"all {len(items)} existed"
        counts = f"{len(own.queues)} queues, {len(own.exchanges)} exchanges, {len(own.bindings)} bindings"
        typer.echo(f"{queue.name}: declared ({counts}; {news})")


def _report(findings: Findings) -> None:
    """List every conflict and what to do about it."""
    for conflict in findings.conflicts:
        frame.say(str(conflict), "yellow")
    for advice in dict.fromkeys(conflict.advice for conflict in findings.conflicts):
        frame.say(f"what to do: {advice}", "yellow")
    if findings.conflicts:
        msg = f"nothing was changed: {len(findings.conflicts)} of what exists has other settings"
        raise TopologyConflict(msg)


def _document(settings: Settings, findings: Findings | None, *, dry_run: bool) -> dict[str, Any]:
    planned = plan(settings)
    done = not dry_run and findings is not None and not findings.conflicts
    return {
        "dry_run": dry_run,
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
