"""`taskqueue history`: what became of a task, and what has happened lately."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from taskqueue.broker.session import connected, run
from taskqueue.cli import common, console, tables
from taskqueue.errors import ConfigError
from taskqueue.history import search, wanted
from taskqueue.history.search import Answer
from taskqueue.history.story import ending
from taskqueue.history.wanted import Wanted
from taskqueue.settings import Settings, load
from taskqueue.task.settle import roll_back_id

commands = common.commands()
_NAME = "taskqueue history"
_WIDTHS = {
    "at": 24, "event": 9, "queue": 7, "id": 36, "attempt": 7, "status": 6, "ms": 4, "url": 12, "error": 12,
    "by": 8, "to": 7, "next": 24, "reason": 7,
}  # fmt: skip


@commands.command()
def history(
    task_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The id of a task.", show_default=False)
    ] = None,
    *,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="How long ago, such as 90m or 1d, or a time (ISO, POSIX).")
    ] = wanted.SINCE,
    failed: Annotated[bool, typer.Option("--failed", help="Only attempts that failed.")] = False,
    url: Annotated[
        str | None, typer.Option(metavar="GLOB", help="Only URLs such as 'https://*/invoices*'.")
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="Show at most so many, the last ones.")
    ] = 100,
    queues: common.Queues = None,
    as_json: common.Json = False,
    config: common.Config = None,
) -> None:
    """Say what became of a task, or list what has happened; needs history in the ini.

    Of a task it tells each attempt, retry and end, and what operators did to it. Without an id it lists what
    has happened since a time, in all queues. Exits with 1 where nothing is found.
    """
    settings = load(config)
    if settings.history is None:
        raise ConfigError(wanted.OFF)
    if queues:
        common.limited(settings, queues)
    now = time.time()
    chosen = Wanted(wanted.moment(since, now), now, failed, url, frozenset(queues) if queues else None)
    answer = run(_found(settings, task_id, chosen, limit))
    _show(task_id, answer, as_json=as_json)
    if not answer.records:
        raise typer.Exit(common.FAILED)


async def _found(settings: Settings, task_id: str | None, chosen: Wanted, limit: int) -> Answer:
    async with connected(settings, name=_NAME) as session:
        with tables.looking() as tell:

            def progress(count: int) -> None:
                if count % 200 == 0:
                    tell(f"{count:,} batches read")

            if task_id is None:
                return await search.within(session, chosen, limit, progress)
            # What a roll_back did belongs to the task that it is for.
            ids = frozenset({task_id, roll_back_id(task_id)})
            found = await search.find(session, ids, chosen.now, progress)
            kept = tuple(filter(chosen.keep, found.records))
            return Answer(kept, len(kept), found.dropped)


def _show(task_id: str | None, answer: Answer, *, as_json: bool) -> None:
    rows = [each | {"at": tables.moment(each["at"] / 1000)} for each in answer.records]
    if as_json:
        common.emit({"records": rows, "total": answer.total, "dropped": answer.dropped})
        return
    columns = {name: _WIDTHS[name] for name in wanted.used(rows)}
    filled = [{name: row.get(name) for name in columns} for row in rows]
    if filled:
        tables.show_rows(filled, columns, total=answer.total, kind="", things="records")
    if task_id is not None:
        console.out.print(tables.cell(ending(task_id, answer.records), "yellow"), soft_wrap=True)
    elif not filled:
        common.say(wanted.NOTHING, "yellow")
    if answer.dropped:
        common.say(wanted.lacking(answer.dropped), "yellow")
