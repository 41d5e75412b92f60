"""`taskqueue waiting`: list and cancel what waits on the ladder."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated

import typer

from taskqueue.broker.session import connected, run
from taskqueue.cli import common, tables
from taskqueue.history import acts
from taskqueue.operate import waiting
from taskqueue.operate.waiting import WaitingTask
from taskqueue.settings import Settings, load

_NAME = "taskqueue waiting"
_COLUMNS = {"id": 36, "due": 24, "url": 12, "error": 12, "runs": 4, "rung": 8}
commands = common.commands("List and cancel waiting tasks.")

Queue = Annotated[
    str, typer.Argument(metavar="QUEUE", help="The queue they will run in.", show_default=False)
]


@commands.command("list")
def list_(
    queue: Queue,
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many.")] = 100,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """List waiting tasks in the order in which they are due.

    A rung is the wait queue that holds a task at this moment; others may follow. A terminal gets what fits
    in a line.
    """
    settings = common.only(load(config), [queue])
    tasks, total = run(_listed(settings, queue, limit))
    rows = [asdict(task) | {"due": tables.moment(task.due)} for task in tasks]
    if as_json:
        common.emit(rows)
        return
    tables.show_rows(rows, _COLUMNS, right="runs", total=total, kind="waiting")


@commands.command()
def cancel(
    queue: Queue,
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="The ids of the tasks.", show_default=False)
    ],
    *,
    config: common.Config = None,
) -> None:
    """Take tasks off the ladder, so that they never run. Of several with one id it is the first one found.

    A task that is already on its way to the work queue may still run.
    """
    settings = common.only(load(config), [queue])

    with acts.noted(settings, acts.CANCELLED, queue) as acted:

        async def work() -> frozenset[str]:
            async with connected(settings, name=_NAME) as session:
                with tables.progress("looking") as progress:
                    return await waiting.cancel(session, queue, settings, ids, progress=progress, acted=acted)

        missing = run(work())
    common.line(f"{len(set(ids)) - len(missing)} cancelled")
    for task_id in sorted(missing):
        common.say(
            f"{task_id} does not wait in {queue}: it may have run, or still run from the work queue",
            "yellow",
        )
    if missing:
        raise typer.Exit(common.FAILED)


async def _listed(settings: Settings, queue: str, limit: int) -> tuple[list[WaitingTask], int]:
    async with connected(settings, name=_NAME) as session:
        total = await waiting.count(session, queue, settings)
        return await waiting.due_next(session, queue, settings, limit=limit), total
