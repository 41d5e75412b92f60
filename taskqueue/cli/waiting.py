"""`taskqueue waiting`: list and cancel what waits on the ladder."""

from __future__ import annotations

import math
from dataclasses import asdict
from typing import Annotated

import typer

from taskqueue import waiting
from taskqueue.browse import connect
from taskqueue.cli import app, cells, frame
from taskqueue.settings import load

_NAME = "taskqueue waiting"
_COLUMNS = ("id", "url", "due", "runs", "error", "rung")
commands = typer.Typer(cls=frame.Commands, no_args_is_help=True, help="List and cancel waiting tasks.")
app.add_typer(commands, name="waiting")

Queue = Annotated[
    str, typer.Argument(metavar="QUEUE", help="The queue they will run in.", show_default=False)
]


@commands.command("list")
def list_(
    queue: Queue,
    *,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many.")] = 100,
    as_json: frame.Json = False,
    config: frame.Config = None,
) -> None:
    """List waiting tasks from the shortest wait queue to the longest, in the order in which they are due.

    A rung is the wait queue that holds a task at this moment; others may follow.
    """
    settings = frame.only(load(config), [queue])
    with connect(settings, name=_NAME) as connection:
        total = waiting.count(connection, queue, settings.ladder)
        tasks = list(waiting.entries(connection, queue, settings.ladder, limit=limit))
    tasks.sort(key=lambda task: math.inf if task.due is None else task.due)
    rows = [asdict(task) | {"due": cells.moment(task.due)} for task in tasks]
    if as_json:
        frame.emit(rows)
        return
    cells.show_rows(rows, _COLUMNS, right="runs", total=total, kind="waiting")


@commands.command()
def cancel(
    queue: Queue,
    ids: Annotated[
        list[str], typer.Argument(metavar="ID...", help="The ids of the tasks.", show_default=False)
    ],
    *,
    config: frame.Config = None,
) -> None:
    """Take tasks off the ladder, so that they never run; of several with one id the first that is found.

    A task that is already on its way to the work queue may still run.
    """
    settings = frame.only(load(config), [queue])
    with connect(settings, name=_NAME) as connection, cells.progress("looking") as progress:
        missing = waiting.cancel(connection, queue, settings.ladder, ids, progress=progress)
    frame.line(f"{len(set(ids)) - len(missing)} cancelled")
    for task_id in sorted(missing):
        frame.say(
            f"{task_id} does not wait in {queue}: it may have run, or be in the work queue and still run",
            "yellow",
        )
    if missing:
        raise typer.Exit(frame.FAILED)
