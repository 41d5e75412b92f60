"""`taskqueue show`: where one task is, why it has not run, and when it will."""

from __future__ import annotations

import time
from typing import Annotated, Any

import typer

from taskqueue.broker.management import Management
from taskqueue.broker.session import connected, run
from taskqueue.cli import common, console, tables
from taskqueue.history.search import recorded
from taskqueue.operate import story
from taskqueue.operate.dead import DeadTask
from taskqueue.operate.finding import Found, find
from taskqueue.operate.overview import Overview, look
from taskqueue.settings import Settings, load

commands = common.commands()
_NAME = "taskqueue show"


@commands.command()
def show(
    task_id: Annotated[str, typer.Argument(metavar="ID", help="The id of the task.", show_default=False)],
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[QUEUE]...", help="Only these queues.", show_default=False)
    ] = None,
    *,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Say where a task is, why it has not run and when it will; exits with 1 where it is not found.

    It looks through what waits and what is dead, and through what is ready only where a queue is paused, as
    that counts as a delivery of each task there. Of a task that is ready or runs it says where it may be.
    """
    settings = common.only(load(config), names)
    found, overview, recorded = run(_found(settings, task_id))
    now = time.time()
    views = {view.name: view for view in overview.views}
    words = [
        line for each in found for line in story.told(each, views.get(each.queue, overview.views[0]), now)
    ] or list(story.nowhere(overview.views))
    words += recorded
    if as_json:
        places = [_document(each) for each in found]
        common.emit({"id": task_id, "found": places, "words": words})
    else:
        for each in found:
            for name, value in _document(each).items():
                if value is not None:
                    console.out.print(tables.cell(f"{name:<10}{value}"), soft_wrap=True)
        for line in words:
            console.out.print(tables.cell(line, "yellow"), soft_wrap=True)
    if overview.fault is not None:
        common.say(f"what runs is unknown: {overview.fault}", "yellow")
    if not found:
        raise typer.Exit(common.FAILED)


async def _found(settings: Settings, task_id: str) -> tuple[tuple[Found, ...], Overview, tuple[str, ...]]:
    async with connected(settings, name=_NAME) as session:
        overview = await look(session, settings, Management(settings))
        with tables.looking() as tell:
            found = await find(
                session, settings, overview, task_id, lambda what: tell(f"looking through {what}")
            )
            return found, overview, () if found else await recorded(session, settings, task_id, time.time())


def _document(found: Found) -> dict[str, Any]:
    task = found.task
    told: dict[str, Any] = {"queue": found.queue, "place": found.place, "url": task.url}
    if isinstance(task, DeadTask):
        return told | {
            "reason": task.reason,
            "died": tables.moment(task.at),
            "attempts": task.attempts,
            "error": task.error,
        }
    return told | {
        "due": tables.moment(task.due),
        "rung": task.rung or None,
        "runs": task.runs,
        "error": task.error,
    }
