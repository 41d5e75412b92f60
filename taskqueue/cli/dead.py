"""`taskqueue dead`: list, show, replay and purge what has failed for good."""

from __future__ import annotations

import sys
from typing import Annotated, Any

import typer

from taskqueue.broker.management import Management
from taskqueue.broker.session import connected, run
from taskqueue.cli import common, console, messages, tables
from taskqueue.errors import ConfigError
from taskqueue.history import acts
from taskqueue.operate import dead
from taskqueue.operate.dead import DeadTask, Handled, Selection
from taskqueue.settings import Settings, load

_NAME = "taskqueue dead"
_COLUMNS = {"id": 36, "reason": 6, "url": 12, "error": 12, "at": 24, "attempts": 8}
commands = common.commands("List, show, replay and purge dead tasks.")

Queue = Annotated[str, typer.Argument(metavar="QUEUE", help="The queue they died in.", show_default=False)]
Ids = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[ID]...", help="Only these. Of several with one id it is the oldest.", show_default=False
    ),
]
All = Annotated[bool, typer.Option("--all", help="All that are dead at this moment.")]
Reason = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help="Only those of one reason: failed, expired, invalid, unknown_queue, delivery_limit.",
    ),
]


@commands.command("list")
def list_(
    queue: Queue,
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many, oldest first.")] = 100,
    reason: Reason = None,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """List dead tasks, oldest first: reason, url, last error, when and attempts.

    A terminal gets what fits in a line.
    """
    settings = common.only(load(config), [queue])
    rows, total = run(_listed(settings, queue, limit, reason))
    if as_json:
        common.emit(rows)
        return
    tables.show_rows(rows, _COLUMNS, right="attempts", total=total, kind="dead")


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
    task = run(_found(settings, queue, task_id))
    if task is None:
        common.say(f"{task_id} is not in the dead queue of {queue}", "yellow")
        raise typer.Exit(common.FAILED)
    if body:
        sys.stdout.buffer.write(task.message.body)
        sys.stdout.buffer.flush()
    elif as_json:
        common.emit(_row(task) | messages.document(task.message))
    else:
        for name, value in (*_row(task).items(), *messages.lines(task.message)):
            console.out.print(tables.cell(f"{name:<12} ", "bold") + tables.cell(value), soft_wrap=True)


@commands.command()
def replay(
    queue: Queue,
    ids: Ids = None,
    *,
    every: All = False,
    reason: Reason = None,
    config: common.Config = None,
) -> None:
    """Run dead tasks again at once, with all their attempts. Other tasks stay in the dead queue."""
    selection = _selection(ids, every=every, reason=reason)
    settings = common.only(load(config), [queue])
    Management(settings).require_no_alarm()

    with acts.noted(settings, acts.REPLAYED, queue) as acted:

        async def work() -> Handled:
            async with connected(settings, name=_NAME) as session:
                with tables.progress("replaying") as progress:
                    return await dead.replay(session, queue, selection, progress=progress, acted=acted)

        handled = run(work())
    _report(handled, "replayed", queue)


@commands.command()
def purge(
    queue: Queue,
    ids: Ids = None,
    *,
    every: All = False,
    reason: Reason = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    config: common.Config = None,
) -> None:
    """Delete dead tasks for good."""
    selection = _selection(ids, every=every, reason=reason)
    settings = common.only(load(config), [queue])
    if not yes and not sys.stdin.isatty():
        raise ConfigError("purge deletes for good and can't ask here: add --yes")
    if not yes:
        what = ", ".join(ids) if ids else f"all of reason {reason}" if reason else "all"
        _, total = run(_listed(settings, queue, 0, reason))
        typer.confirm(f"Delete {what} of {total} dead tasks of {queue} for good?", abort=True, err=True)

    with acts.noted(settings, acts.PURGED, queue) as acted:

        async def work() -> Handled:
            async with connected(settings, name=_NAME) as session:
                with tables.progress("purging") as progress:
                    return await dead.purge(session, queue, selection, progress=progress, acted=acted)

        handled = run(work())
    _report(handled, "purged", queue)


async def _listed(
    settings: Settings, queue: str, limit: int, reason: str | None
) -> tuple[list[dict[str, Any]], int]:
    """Give a row for each of the oldest tasks, and the number of all."""
    async with connected(settings, name=_NAME) as session:
        total = await dead.count(session, queue)
        if not limit or not total:
            return [], total
        # Make rows at once, so that no body stays in memory.
        return [_row(task) async for task in dead.entries(session, queue, limit=limit, reason=reason)], total


async def _found(settings: Settings, queue: str, task_id: str) -> DeadTask | None:
    async with connected(settings, name=_NAME) as session:
        return await dead.find(session, queue, task_id)


def _selection(ids: list[str] | None, *, every: bool, reason: str | None) -> Selection:
    if ids and every:
        raise ConfigError("give either ids or --all")
    if not ids and not every and reason is None:
        raise ConfigError("which tasks? give ids, --reason or --all")
    return Selection(frozenset(ids) if ids else None, reason)


def _report(handled: Handled, done: str, queue: str) -> None:
    common.line(f"{handled.count} {done}")
    for task_id in handled.missing:
        common.say(f"{task_id} is not in the dead queue of {queue}", "yellow")
    if handled.missing:
        raise typer.Exit(common.FAILED)


def _row(task: DeadTask) -> dict[str, Any]:
    return {
        "id": task.id,
        "reason": task.reason,
        "url": task.url,
        "attempts": task.attempts,
        "error": task.error,
        "at": tables.moment(task.at),
        "first_seen": tables.moment(task.first_seen),
    }
