"""`taskqueue history`: what became of a task, and what has happened lately."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from typing import Annotated

import typer

from taskqueue import events
from taskqueue.broker.session import connected, run
from taskqueue.cli import common, console, tables
from taskqueue.errors import ConfigError
from taskqueue.history import search
from taskqueue.history.records import Record
from taskqueue.history.search import Answer
from taskqueue.history.story import ending
from taskqueue.settings import Settings, load
from taskqueue.task.settle import roll_back_id

commands = common.commands()
_NAME = "taskqueue history"
_FAILED = frozenset({events.RETRIED, events.DEAD, events.VOID})
_COLUMNS = {
    "at": 24, "event": 9, "queue": 7, "id": 36, "attempt": 7, "status": 6, "ms": 4, "url": 12, "error": 12,
    "by": 8, "to": 7, "next": 24, "reason": 7,
}  # fmt: skip
_AGO = re.compile(r"-?(?:\d+[dhms])+")
_UNIT = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


@commands.command()
def history(
    task_id: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="The id of a task.", show_default=False)
    ] = None,
    *,
    since: Annotated[
        str, typer.Option(metavar="TIME", help="How long ago, such as 90m or 1d, or a time (ISO, POSIX).")
    ] = "1h",
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
        raise ConfigError(
            "no history is kept: set 'history = 7d' in the ini, run 'taskqueue declare', and start the "
            "consumers again"
        )
    if queues:
        common.limited(settings, queues)
    now = time.time()
    begin = _moment(since, now)

    named = _FAILED if failed else None

    def keep(record: Record) -> bool:
        return (
            (named is None or record.get("event") in named)
            and (not queues or record.get("queue") in queues)
            and (url is None or fnmatchcase(str(record.get("url", "")), url))
        )

    answer = run(_found(settings, task_id, _Wanted(begin, now, named, keep)))
    _show(task_id, answer, limit, as_json=as_json)
    if not answer.records:
        raise typer.Exit(common.FAILED)


@dataclass(frozen=True, slots=True)
class _Wanted:
    """What is looked for; times are in seconds since the epoch."""

    since: float
    now: float
    named: frozenset[str] | None
    keep: Callable[[Record], bool]


async def _found(settings: Settings, task_id: str | None, wanted: _Wanted) -> Answer:
    async with connected(settings, name=_NAME) as session:
        with tables.looking() as tell:

            def progress(count: int) -> None:
                if count % 200 == 0:
                    tell(f"{count:,} batches read")

            if task_id is None:
                return await search.within(
                    session, wanted.since, wanted.now, wanted.keep, progress, named=wanted.named
                )
            # What a roll_back did belongs to the task that it is for.
            ids = frozenset({task_id, roll_back_id(task_id)})
            found = await search.find(session, ids, wanted.now, progress)
            return Answer(tuple(filter(wanted.keep, found.records)), found.dropped)


def _show(task_id: str | None, answer: Answer, limit: int, *, as_json: bool) -> None:
    shown = answer.records if task_id is not None else answer.records[-limit:]
    rows = [each | {"at": tables.moment(each["at"] / 1000)} for each in shown]
    if as_json:
        common.emit({"records": rows, "total": len(answer.records), "dropped": answer.dropped})
        return
    filled = [{name: row.get(name) for name in _COLUMNS} for row in rows]
    used = {name: width for name, width in _COLUMNS.items() if any(row[name] is not None for row in filled)}
    if filled:
        tables.show_rows(filled, used, total=len(answer.records), kind="", things="records")
    if task_id is not None:
        console.out.print(tables.cell(ending(task_id, answer.records), "yellow"), soft_wrap=True)
    elif not filled:
        common.say("nothing of the kind was recorded in that time", "yellow")
    if answer.dropped:
        common.say(f"{answer.dropped} records could not be written, so something may be missing", "yellow")


def _moment(text: str, now: float) -> float:
    """Read a time, or how long ago it was, as seconds since the epoch; raises ConfigError."""
    if _AGO.fullmatch(text):
        return now - sum(int(number) * _UNIT[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))
    try:
        if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
            return float(text)
        told = datetime.fromisoformat(text)
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ConfigError(
            "--since: must be how long ago (90m, 1h30m, 2d), or a time such as 2026-11-27T08:00Z, "
            f"got {text[:60]!r}"
        ) from None
