"""`taskqueue declare`: create what the configuration needs in the broker."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from taskqueue.cli import app, frame, plans
from taskqueue.errors import BrokerUnreachable, ConfigError, TopologyConflict
from taskqueue.settings import Settings, load
from taskqueue.topology import crew
from taskqueue.topology import prune as pruning
from taskqueue.topology.declare import apply, silent, verify
from taskqueue.topology.declare import crew as crew_of
from taskqueue.topology.migrate import Migrated, examine, migrate
from taskqueue.topology.plan import CLASSIC
from taskqueue.topology.prune import Leftover
from taskqueue.topology.survey import Work
from taskqueue.topology.verify import Findings

_PRUNE_HELP = (
    "Also remove, where it is empty and unused, what the virtual host has under our naming scheme and the "
    "configuration no longer names. Needs management_url."
)
_MIGRATE_HELP = (
    "Also replace what exists with other settings: what waits there moves, each task with its own due time. "
    "Interrupted, run it again."
)
_YES_HELP = "Do not ask before work queues are replaced."


@app.command()
def declare(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help=_PRUNE_HELP)] = False,
    migrating: Annotated[bool, typer.Option("--migrate", help=_MIGRATE_HELP)] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help=_YES_HELP)] = False,
    queues: frame.Queues = None,
    as_json: frame.Json = False,
    config: frame.Config = None,
) -> None:
    """Create every queue, exchange and binding that the configuration needs; again changes nothing."""
    whole = load(config)
    settings = frame.only(whole, queues)
    _warn(settings)
    with _progress(shown=not as_json) as progress:
        findings = _look(settings, progress, needed=not dry_run)
        works = examine(settings, findings, progress=progress) if migrating and findings is not None else ()
    migrated = None if dry_run else _migrate(settings, works, as_json=as_json, yes=yes)
    if migrated:
        findings = Findings(findings.plan, findings.existing, ()) if findings is not None else None
    with _progress(shown=not as_json) as progress:
        leftovers = pruning.leftovers(whole, queues) if prune else ()
        done = findings is not None and not findings.conflicts and not dry_run
        if findings is not None and done:
            if not migrated:
                apply(settings, findings, progress=progress)
            leftovers = _prune(settings, leftovers, progress)
    if as_json:
        document = plans.document(settings, findings, leftovers, done=done)
        frame.emit(document | plans.moves(works, migrated) if migrating else document)
    else:
        _print(settings, findings, leftovers, dry_run=dry_run, done=done)
        for line in plans.move_lines(works, migrated):
            typer.echo(line)
    if findings is not None and not (migrating and dry_run):
        _report(findings)


def _warn(settings: Settings) -> None:
    if settings.queue_type == CLASSIC:
        frame.say(
            "warning: queue_type = classic: a broker that crashes loses waiting tasks; quorum queues do not",
            "yellow",
        )


def _migrate(
    settings: Settings, works: tuple[Work, ...], *, as_json: bool, yes: bool
) -> tuple[Migrated, ...] | None:
    """Migrate what there is to migrate, after a question where a work queue is replaced."""
    if not works:
        return None
    replaced = ", ".join(work.queue.name for work in works if work.work is not None)
    if replaced and not yes:
        warning = (
            f"{replaced}: the work queue is replaced. Consumers let go by themselves; programs that publish "
            "straight to it, other than with the Client and a countdown, must pause meanwhile"
        )
        if as_json or not sys.stdin.isatty():
            raise ConfigError(f"{warning}: add --yes")
        typer.confirm(f"{warning}. Go on?", abort=True, err=True)
    with _progress(shown=not as_json) as progress:
        return migrate(settings, works, progress=progress)


def _look(settings: Settings, progress: crew.Progress, *, needed: bool) -> Findings | None:
    """Look at what exists; None where the broker is not reachable and need not be."""
    try:
        return verify(settings, progress=progress)
    except BrokerUnreachable as error:
        if needed:
            raise
        frame.say(f"{error}; so the plan can't say what exists already", "yellow")
        return None


def _prune(
    settings: Settings, leftovers: tuple[Leftover, ...], progress: crew.Progress
) -> tuple[Leftover, ...]:
    """Remove what can go; gives all of them as they are then."""
    busy = tuple(left for left in leftovers if left.busy is not None)
    return pruning.prune(crew_of(settings, progress), leftovers) + busy


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
                bars.update(steps[step], completed=done, total=total)

            yield show


def _print(
    settings: Settings,
    findings: Findings | None,
    leftovers: tuple[Leftover, ...],
    *,
    dry_run: bool,
    done: bool,
) -> None:
    if dry_run:
        for line in plans.lines(settings, findings):
            typer.echo(line)
    elif findings is not None and done:
        for line in plans.summary(settings, findings):
            typer.echo(line)
    for line in plans.leftover_lines(leftovers, done=done):
        typer.echo(line)


def _report(findings: Findings) -> None:
    """List every conflict and what to do about it; raises TopologyConflict where there is one."""
    for conflict in findings.conflicts:
        frame.say(str(conflict), "yellow")
    for advice in dict.fromkeys(conflict.advice for conflict in findings.conflicts):
        frame.say(f"what to do: {advice}", "yellow")
    if findings.conflicts:
        count = len(findings.conflicts)
        raise TopologyConflict(f"nothing was changed: {count} of what exists has other settings, see above")
