"""`taskqueue waiting`: what waits on the ladder, and what an operator does with it."""

from __future__ import annotations

import time
from dataclasses import asdict, replace
from typing import Annotated, Any

import typer

from taskqueue import events
from taskqueue.broker.session import Session, connected, run
from taskqueue.cli import choosing, common, messages, tables
from taskqueue.cli.choosing import Deed
from taskqueue.errors import ConfigError
from taskqueue.operate import filters, waiting
from taskqueue.operate.acting import Acted, Note
from taskqueue.operate.browse import Progress
from taskqueue.operate.filters import Filter
from taskqueue.operate.waiting import Act, Shown, WaitingTask
from taskqueue.settings import Settings, load

_NAME = "taskqueue waiting"
_COLUMNS = {"id": 36, "due": 24, "url": 12, "error": 12, "runs": 4, "rung": 8}
commands = common.commands("List, show, cancel, hasten and move waiting tasks.")

Queue = Annotated[
    str, typer.Argument(metavar="QUEUE", help="The queue they will run in.", show_default=False)
]


@commands.command("list")
def list_(
    queue: Queue,
    *,
    ids: choosing.Ids = None,
    url: choosing.Url = None,
    due_after: choosing.DueAfter = None,
    due_before: choosing.DueBefore = None,
    status: choosing.Status = None,
    runs: choosing.Runs = None,
    limit: choosing.Limit = 100,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """List waiting tasks in the order in which they are due: those that are due next.

    A rung is the wait queue that holds a task at this moment; others may follow. A terminal gets what fits
    in a line.
    """
    found = choosing.chosen(ids, url=url, after=due_after, before=due_before, status=status, runs=runs)
    settings = common.only(load(config), [queue])
    shown = _shown(settings, queue, found or Filter(), limit)
    rows = [_row(task) for task, _ in shown.tasks]
    if as_json:
        common.emit(rows)
    else:
        tables.show_rows(rows, _COLUMNS, total=shown.acted.matched, kind="waiting")
    choosing.tell(shown.acted, _missing(settings, queue))


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
    """Show one waiting task in full: when it is due, its headers and its body."""
    settings = common.only(load(config), [queue])
    shown = _shown(settings, queue, Filter(ids=frozenset({task_id})), 1)
    for task, message in shown.tasks:
        messages.show(_row(task), message, body=body, as_json=as_json)
    choosing.tell(shown.acted, _missing(settings, queue))


@commands.command()
def cancel(
    queue: Queue,
    *,
    ids: choosing.Ids = None,
    url: choosing.Url = None,
    due_after: choosing.DueAfter = None,
    due_before: choosing.DueBefore = None,
    status: choosing.Status = None,
    runs: choosing.Runs = None,
    every: choosing.All = False,
    forget: Annotated[bool, typer.Option("--forget", help="Delete them: nothing undoes it.")] = False,
    dry_run: choosing.DryRun = False,
    yes: choosing.Yes = False,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Bring waiting tasks to the dead queue, reason cancelled, without a roll_back.

    `dead replay QUEUE --reason cancelled` undoes it. A task that is already on its way to the work queue may
    still run.
    """
    found = choosing.chosen(ids, url=url, after=due_after, before=due_before, status=status, runs=runs)
    wanted = choosing.required(found, every=every)
    settings = common.only(load(config), [queue])
    what = waiting.forgotten if forget else waiting.cancelled(queue)
    words = choosing.FORGET if forget else choosing.CANCEL
    deed = _deed(settings, queue, wanted, words, what)
    choosing.do(deed, settings, dry_run=dry_run, yes=yes, as_json=as_json)


@commands.command("run-now")
def run_now(
    queue: Queue,
    *,
    ids: choosing.Ids = None,
    url: choosing.Url = None,
    due_after: choosing.DueAfter = None,
    due_before: choosing.DueBefore = None,
    status: choosing.Status = None,
    runs: choosing.Runs = None,
    every: choosing.All = False,
    dry_run: choosing.DryRun = False,
    yes: choosing.Yes = False,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Have waiting tasks run at once, with the attempts that they have left."""
    found = choosing.chosen(ids, url=url, after=due_after, before=due_before, status=status, runs=runs)
    wanted = choosing.required(found, every=every)
    settings = common.only(load(config), [queue])
    words = ("run now", "sent to run now", events.HASTENED)
    deed = _deed(settings, queue, wanted, words, waiting.run_now(queue))
    choosing.do(deed, settings, dry_run=dry_run, yes=yes, as_json=as_json)


@commands.command()
def move(
    queue: Queue,
    *,
    to: Annotated[
        str | None, typer.Option("--to", metavar="TIME", help="When they are to run: +2h, ISO 8601, POSIX.")
    ] = None,
    to_queue: Annotated[
        str | None, typer.Option("--queue", "-q", metavar="OTHER", help="The queue they are to run in.")
    ] = None,
    ids: choosing.Ids = None,
    url: choosing.Url = None,
    due_after: choosing.DueAfter = None,
    due_before: choosing.DueBefore = None,
    status: choosing.Status = None,
    runs: choosing.Runs = None,
    every: choosing.All = False,
    dry_run: choosing.DryRun = False,
    yes: choosing.Yes = False,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Have waiting tasks run at another time, in another queue, or both."""
    if to is None and to_queue is None:
        raise ConfigError("where to? give --to TIME, --queue OTHER, or both")
    found = choosing.chosen(ids, url=url, after=due_after, before=due_before, status=status, runs=runs)
    wanted = choosing.required(found, every=every)
    at = None if to is None else filters.moment(to, now=time.time())
    every_queue = load(config)
    settings = common.only(every_queue, [queue])
    (target,) = common.limited(every_queue, [to_queue or queue])
    what = waiting.moved(every_queue.way(target.name), to=at, out_of=queue)
    deed = _deed(settings, queue, wanted, ("move", "moved", events.MOVED), what)
    deed = replace(deed, to=to_queue, at=at)
    choosing.do(deed, settings, dry_run=dry_run, yes=yes, as_json=as_json)


def _deed(settings: Settings, queue: str, wanted: Filter, words: tuple[str, str, str], what: Act) -> Deed:
    async def preview(session: Session, progress: Progress | None) -> tuple[list[dict[str, Any]], Acted]:
        shown = await waiting.due_next(
            session, queue, settings, wanted, limit=choosing.SHOWN, progress=progress
        )
        return [_row(task) for task, _ in shown.tasks], shown.acted

    async def act(session: Session, progress: Progress | None, note: Note) -> Acted:
        return await waiting.act(session, queue, settings, wanted, what, progress=progress, note=note)

    return Deed(_NAME, *words, "waiting", queue, _COLUMNS, preview, act)


def _shown(settings: Settings, queue: str, found: Filter, limit: int) -> Shown:
    async def work() -> Shown:
        async with connected(settings, name=_NAME) as session:
            with tables.progress("looking") as progress:
                return await waiting.due_next(session, queue, settings, found, limit=limit, progress=progress)

    return run(work())


def _missing(settings: Settings, queue: str) -> str:
    unlisted = (
        ""
        if settings.management_url
        else "; rungs that the ini no longer names are looked at only with management_url"
    )
    return f"does not wait in {queue}: it may have run, or still run from the work queue{unlisted}"


def _row(task: WaitingTask) -> dict[str, Any]:
    return asdict(task) | {"due": tables.moment(task.due)}
