"""`taskqueue declare`: create what the configuration needs in the broker."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars

from taskqueue.broker.management import Management
from taskqueue.broker.session import Progress, Session, connected, run
from taskqueue.cli import common, console, plans
from taskqueue.cli.plans import Outcome
from taskqueue.declare import limits, schedules
from taskqueue.declare import migrate as migration
from taskqueue.declare.apply import NAME, apply, verify
from taskqueue.declare.leftovers import leftovers as left_over
from taskqueue.declare.prune import prune
from taskqueue.declare.verify import Findings
from taskqueue.errors import BrokerUnreachable, ConfigError, NotKnown
from taskqueue.settings import Settings, load
from taskqueue.topology.plan import CLASSIC

commands = common.commands()
_PRUNE_HELP = (
    "Also remove, where it is empty and unused, what the virtual host has under our naming scheme and the "
    "configuration no longer names. Needs management_url."
)
_MIGRATE_HELP = (
    "Also replace work queues that are of the other queue_type, with what is in them. Stop their consumers "
    "first. Interrupted, run it again."
)
_YES_HELP = "Do not ask before work queues are replaced."


@commands.command()
def declare(
    *,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print the plan and change nothing.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help=_PRUNE_HELP)] = False,
    migrating: Annotated[bool, typer.Option("--migrate", help=_MIGRATE_HELP)] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help=_YES_HELP)] = False,
    queues: common.Queues = None,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Create every queue, exchange and binding that the configuration needs; again changes nothing."""
    whole = load(config)
    only = tuple(queues) if queues else None
    wanted = _Wanted(whole, common.only(whole, queues), only, dry_run, prune, migrating, yes, as_json)
    _warn(wanted.settings)
    outcome = run(_declare(wanted))
    _show(wanted, outcome)
    _require_done(wanted, outcome)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What the command line asks for; `whole` has all queues, `settings` those that are meant."""

    whole: Settings
    settings: Settings
    only: tuple[str, ...] | None
    dry_run: bool
    prune: bool
    migrate: bool
    yes: bool
    as_json: bool


async def _declare(wanted: _Wanted) -> Outcome:
    with _progress(shown=not wanted.as_json) as progress:
        try:
            async with connected(wanted.settings, name=NAME) as session:
                return await _in_session(session, wanted, progress)
        except BrokerUnreachable as error:
            if not wanted.dry_run:
                raise
            common.say(f"{error}; so the plan can't say what exists already", "yellow")
            return Outcome(None)


async def _in_session(session: Session, wanted: _Wanted, progress: Progress) -> Outcome:
    findings = await verify(session, wanted.settings, progress)
    replaced = await migration.examine(session, wanted.settings, findings) if wanted.migrate else ()
    leftovers = left_over(wanted.whole, wanted.only) if wanted.prune else ()
    found = Outcome(findings, replaced, None, leftovers)
    if findings.conflicts and not replaced and not wanted.dry_run:
        return found
    # Nothing is changed where somebody holds a book and stands still.
    await limits.settle(session, wanted.settings, findings, dry_run=True)
    written = await schedules.settle(session, wanted.settings, findings, dry_run=True)
    if wanted.dry_run:
        return replace(found, schedules=written)
    return await _change(session, wanted, findings, found, progress)


async def _change(
    session: Session, wanted: _Wanted, findings: Findings, found: Outcome, progress: Progress
) -> Outcome:
    """Migrate or declare, and prune: whatever was found that there is to do."""
    moved: dict[str, int] = {}
    if found.replaced:
        _ask(found.replaced, yes=wanted.yes)
        await asyncio.to_thread(Management(wanted.settings).require_no_alarm)
        moved = await migration.migrate(session, wanted.settings, findings, found.replaced, progress)
        findings = Findings(findings.plan, findings.existing, ())
    else:
        await apply(session, wanted.settings, findings, progress)
    removed = await prune(session, wanted.whole, found.leftovers, progress)
    await limits.settle(session, wanted.settings, findings)
    # Last, as it sends anew what a prune may have led astray.
    written = await schedules.settle(session, wanted.settings, findings, progress)
    busy = tuple(left for left in found.leftovers if left.busy is not None)
    return Outcome(findings, found.replaced, moved, (*removed, *busy), written, done=True)


def _ask(replaced: tuple[migration.Replaced, ...], *, yes: bool) -> None:
    """Ask before a work queue is replaced."""
    if yes:
        return
    warning = (
        f"{', '.join(each.queue for each in replaced)}: the work queue is replaced. Stop its consumers "
        "first; programs that publish straight to it, other than with the Client, must pause meanwhile"
    )
    if not sys.stdin.isatty():
        raise ConfigError(f"{warning}: add --yes")
    typer.confirm(f"{warning}. Go on?", abort=True, err=True)


def _warn(settings: Settings) -> None:
    if settings.queue_type == CLASSIC:
        common.say(
            "warning: queue_type = classic: a broker that crashes loses waiting tasks; quorum queues do not",
            "yellow",
        )


@contextmanager
def _progress(*, shown: bool) -> Iterator[Progress]:
    """Show how far it is: bars on a terminal, and a line for each finished step elsewhere."""
    if not shown:
        yield lambda _step, _done, _total: None
    elif not console.err.is_terminal:
        yield lambda step, done, total: common.say(f"{step}: {total}") if done == total else None
    else:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Bars(*columns, console=console.err, transient=True) as bars:
            steps: dict[str, TaskID] = {}

            def show(step: str, done: int, total: int) -> None:
                if step not in steps:
                    steps[step] = bars.add_task(step, total=total)
                bars.update(steps[step], completed=done, total=total)

            yield show


def _show(wanted: _Wanted, outcome: Outcome) -> None:
    """Print the plan, or what became of it."""
    if wanted.as_json:
        common.emit(plans.document(wanted.settings, outcome))
        return
    common.lines(plans.lines(wanted.settings, outcome, dry_run=wanted.dry_run))


def _require_done(wanted: _Wanted, outcome: Outcome) -> None:
    """Raise TopologyConflict where anything conflicts, NotKnown where a leftover could not be looked at."""
    # What a migration would replace is a conflict too.
    if outcome.findings is not None and not (wanted.migrate and wanted.dry_run):
        _require_no_conflict(outcome.findings, every=wanted.dry_run)
    if any(not left.known for left in outcome.leftovers):
        raise NotKnown("not everything that is left over could be looked at: what was not is kept, try again")


def _require_no_conflict(findings: Findings, *, every: bool) -> None:
    """Raise TopologyConflict where anything conflicts, or list `every` conflict, first how many there are."""
    if not every:
        findings.require_none()
    elif findings.conflicts:
        count = len(findings.conflicts)
        common.say(f"taskqueue: {count} of what exists has other settings", "red")
        for conflict in findings.conflicts:
            common.say(str(conflict), "yellow")
        for advice in dict.fromkeys(conflict.advice for conflict in findings.conflicts):
            common.say(f"what to do: {advice}", "yellow")
        raise typer.Exit(common.FAILED)
