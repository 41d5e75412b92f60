"""`taskqueue dead`: list, show, replay and purge what has failed for good."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from taskqueue import events
from taskqueue.broker.management import Management
from taskqueue.broker.session import Session, connected, run
from taskqueue.cli import choosing, common, messages, tables
from taskqueue.cli.choosing import Deed
from taskqueue.operate import dead, filters
from taskqueue.operate.acting import Acted, Note
from taskqueue.operate.browse import Progress
from taskqueue.operate.dead import DeadTask
from taskqueue.operate.filters import Filter
from taskqueue.settings import load

_NAME = "taskqueue dead"
_COLUMNS = {"id": 36, "reason": 6, "url": 12, "error": 12, "at": 24, "attempts": 8}
commands = common.commands("List, show, replay and purge dead tasks.")

Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue they died in.", show_default=False)]


@commands.command("list")
def list_(
    queue: Queue,
    *,
    ids: choosing.Ids = None,
    url: choosing.Url = None,
    died_after: choosing.DiedAfter = None,
    died_before: choosing.DiedBefore = None,
    reason: choosing.Reason = None,
    status: choosing.Status = None,
    runs: choosing.Runs = None,
    limit: choosing.Limit = 100,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """List dead tasks, oldest first: reason, url, last error, when and attempts.

    A terminal gets what fits in a line.
    """
    found = choosing.chosen(
        ids, url=url, after=died_after, before=died_before, reason=reason, status=status, runs=runs
    )
    settings = common.only(load(config), [queue])

    async def work() -> tuple[list[dict[str, Any]], int]:
        async with connected(settings, name=_NAME) as session:
            total = await dead.count(session, queue)
            if not total:
                return [], total
            with tables.progress("looking") as progress:
                listed = dead.entries(session, queue, found or Filter(), limit=limit, progress=progress)
                # Make rows at once, so that no body stays in memory.
                return [_row(task) async for task in listed], total

    rows, total = run(work())
    if as_json:
        common.emit(rows)
        return
    tables.show_rows(rows, _COLUMNS, total=total, kind="dead")


@commands.command()
def show(
    queue: Queue,
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.", show_default=False)],
    *,
    body: Annotated[
        bool, typer.Option("--body", help="Print exactly the bytes of its body, logins in URLs and all.")
    ] = False,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Show one dead task in full: what became of it, its headers and its body, without logins in URLs."""
    settings = common.only(load(config), [queue])

    async def work() -> DeadTask | None:
        async with connected(settings, name=_NAME) as session:
            # To its end, so that what was looked at is back before the next command.
            found = [
                task async for task in dead.entries(session, queue, Filter(ids=frozenset({task_id})), limit=1)
            ]
            return found[0] if found else None

    task = run(work())
    if task is None:
        common.say(f"{task_id} is not among the dead tasks of {queue}", "yellow")
        raise typer.Exit(common.FAILED)
    messages.show(_row(task), task.message, body=body, as_json=as_json)


@commands.command()
def replay(
    queue: Queue,
    *,
    ids: choosing.Ids = None,
    url: choosing.Url = None,
    died_after: choosing.DiedAfter = None,
    died_before: choosing.DiedBefore = None,
    reason: choosing.Reason = None,
    status: choosing.Status = None,
    runs: choosing.Runs = None,
    every: choosing.All = False,
    rate: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="So many at a time: 5/s, 10/m, 1/h. They wait in the broker."),
    ] = None,
    dry_run: choosing.DryRun = False,
    yes: choosing.Yes = False,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Run dead tasks again, with all their attempts: at once, or spread over time by --rate.

    What was cancelled while it waited runs when it was due. Other tasks stay in the dead queue.
    """
    found = choosing.chosen(
        ids, url=url, after=died_after, before=died_before, reason=reason, status=status, runs=runs
    )
    wanted = choosing.required(found, every=every)
    seconds = None if rate is None else filters.interval(rate)
    settings = common.only(load(config), [queue])
    if not dry_run:
        Management(settings).require_no_alarm()

    async def act(session: Session, progress: Progress | None, note: Note) -> Acted:
        way = settings.way(queue)
        return await dead.replay(session, way, wanted, every=seconds, progress=progress, note=note)

    words = ("replay", "replayed", events.REPLAYED)
    deed = Deed(_NAME, *words, "dead", queue, _COLUMNS, _previewed(queue, wanted), act)
    choosing.do(deed, settings, dry_run=dry_run, yes=yes, as_json=as_json)


@commands.command()
def purge(
    queue: Queue,
    *,
    ids: choosing.Ids = None,
    url: choosing.Url = None,
    died_after: choosing.DiedAfter = None,
    died_before: choosing.DiedBefore = None,
    reason: choosing.Reason = None,
    status: choosing.Status = None,
    runs: choosing.Runs = None,
    every: choosing.All = False,
    dry_run: choosing.DryRun = False,
    yes: choosing.Yes = False,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Delete dead tasks for good."""
    found = choosing.chosen(
        ids, url=url, after=died_after, before=died_before, reason=reason, status=status, runs=runs
    )
    wanted = choosing.required(found, every=every)
    settings = common.only(load(config), [queue])

    async def act(session: Session, progress: Progress | None, note: Note) -> Acted:
        return await dead.purge(session, queue, wanted, progress=progress, note=note)

    words = ("delete for good", "purged", events.PURGED)
    deed = Deed(_NAME, *words, "dead", queue, _COLUMNS, _previewed(queue, wanted), act)
    choosing.do(deed, settings, dry_run=dry_run, yes=yes, as_json=as_json)


def _previewed(queue: str, wanted: Filter) -> Any:
    async def preview(session: Session, progress: Progress | None) -> tuple[list[dict[str, Any]], Acted]:
        first, seen = await dead.counted(session, queue, wanted, limit=choosing.SHOWN, progress=progress)
        return [_row(task) for task in first], seen

    return preview


def _row(task: DeadTask) -> dict[str, Any]:
    return {
        "id": task.id,
        "reason": task.reason,
        "url": task.url,
        "attempts": task.attempts,
        "replays": task.replays,
        "error": task.error,
        "at": tables.moment(task.at),
        "first_seen": tables.moment(task.first_seen),
    }
