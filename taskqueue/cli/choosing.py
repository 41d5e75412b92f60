"""The options by which every command names the tasks that it is about, and how it asks and tells."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Annotated, Any

import typer

from taskqueue import events
from taskqueue.broker.session import Session, connected, run
from taskqueue.cli import common, tables
from taskqueue.errors import ConfigError
from taskqueue.history import acts
from taskqueue.operate import filters
from taskqueue.operate.acting import Acted, Note
from taskqueue.operate.browse import Progress
from taskqueue.operate.filters import Filter
from taskqueue.settings import Settings

SHOWN = 10
"""How many tasks a dry run shows."""
CANCEL = ("cancel", "cancelled", events.CANCELLED)
FORGET = ("delete for good", "deleted", events.DELETED)

Ids = Annotated[
    list[str] | None,
    typer.Option("--id", metavar="ID", help="This task; several times for several. - reads a list of lines."),
]
Url = Annotated[
    str | None, typer.Option("--url", metavar="GLOB", help="Those whose url is like this: '/orders/*'.")
]
_TIME = "+10m, -1h, ISO 8601 or POSIX seconds"
DueAfter = Annotated[
    str | None, typer.Option("--due-after", metavar="TIME", help=f"Those due then or later: {_TIME}.")
]
DueBefore = Annotated[
    str | None, typer.Option("--due-before", metavar="TIME", help="Those due before this time.")
]
DiedAfter = Annotated[
    str | None, typer.Option("--died-after", metavar="TIME", help=f"Those dead since then: {_TIME}.")
]
DiedBefore = Annotated[
    str | None, typer.Option("--died-before", metavar="TIME", help="Those dead before this time.")
]
Reason = Annotated[
    str | None,
    typer.Option(
        metavar="REASON",
        help="Those of one reason: failed, expired, invalid, unknown_queue, delivery_limit, cancelled.",
    ),
]
Status = Annotated[
    str | None,
    typer.Option(metavar="STATUS", help="Those whose last run ended with it: 500, 5xx, 500-503."),
]
Runs = Annotated[
    str | None, typer.Option(metavar="N+", help="Those that have run so often: 3, or 3+ for 3 and more.")
]
All = Annotated[bool, typer.Option("--all", help="All that are there.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Count them and show the first ten; change nothing.")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")]
Limit = Annotated[int, typer.Option(min=1, metavar="N", help="Show at most so many.")]


def chosen(
    ids: Sequence[str] | None,
    *,
    url: str | None,
    after: str | None,
    before: str | None,
    status: str | None,
    runs: str | None,
    reason: str | None = None,
) -> Filter | None:
    """Read the options, None where none was given. Raises ConfigError."""
    return filters.read(
        now=time.time(),
        ids=_listed(ids or ()),
        url=url,
        after=after,
        before=before,
        reason=reason,
        status=status,
        runs=runs,
    )


def _listed(ids: Sequence[str]) -> list[str]:
    named = [each for each in ids if each != "-"]
    if len(named) < len(ids):
        # Whatever the locale: ids are UTF-8 wherever they come from.
        try:
            listed = [line.strip() for line in sys.stdin.buffer.read().decode("utf-8-sig").split("\n")]
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"--id -: can't read it: {error}") from error
        named += [line for line in listed if line]
        if not named:
            raise ConfigError("--id -: no id came from standard input")
    return named


def required(given: Filter | None, *, every: bool) -> Filter:
    """Give the tasks that something is to be done with; raises ConfigError where nobody has said which."""
    if given is not None and every:
        raise ConfigError("give either conditions or --all")
    if given is None and not every:
        raise ConfigError("which tasks? give conditions such as --id or --url, or --all")
    return given or Filter()


@dataclass(frozen=True, slots=True)
class Deed:
    """What a command is to do with many tasks, and how it is told."""

    name: str
    """The name of the command, as the broker lists its connection."""
    verb: str
    done: str
    event: str
    """What it is called in the history."""
    kind: str
    queue: str
    columns: dict[str, int]
    preview: Callable[[Session, Progress | None], Awaitable[tuple[list[dict[str, Any]], Acted]]]
    """Counts the tasks, and gives the rows of some."""
    act: Callable[[Session, Progress | None, Note], Awaitable[Acted]]
    to: str | None = None
    """The queue that they go to, where that is another one."""
    at: float | None = None
    """When they are to run (seconds since the epoch), where it says so."""


def do(deed: Deed, settings: Settings, *, dry_run: bool, yes: bool, as_json: bool) -> None:
    """Do it, once who is at the terminal has agreed; or only show what it would be."""
    if not dry_run and not yes and not sys.stdin.isatty():
        raise ConfigError(f"can't ask here whether to {deed.verb}: add --yes, or --dry-run to see which")

    if dry_run or not yes:
        rows, seen = _in_session(deed, settings, "looking", deed.preview)
        if dry_run:
            _preview(deed, rows, seen, as_json=as_json)
            _tell(deed, seen)
            return
        what = f"{seen.matched:,} of {seen.looked:,} {deed.kind} tasks of {deed.queue}"
        typer.confirm(f"{deed.verb} {what}?", abort=True, err=True)
    with acts.noted(settings, deed.event, deed.queue, tell=common.say, to=deed.to, at=deed.at) as note:
        acted = _in_session(deed, settings, deed.verb, partial(_noting, deed, note))
        if as_json:
            common.emit(_counts(acted))
        else:
            common.line(f"{acted.done} {deed.done}")
    _tell(deed, acted)


async def _noting(deed: Deed, note: Note, session: Session, progress: Progress | None) -> Acted:
    return await deed.act(session, progress, note)


def _in_session(deed: Deed, settings: Settings, title: str, work: Callable[..., Awaitable[Any]]) -> Any:
    async def within() -> Any:
        async with connected(settings, name=deed.name) as session:
            with tables.progress(title) as progress:
                return await work(session, progress)

    return run(within())


def _preview(deed: Deed, rows: list[dict[str, Any]], seen: Acted, *, as_json: bool) -> None:
    if as_json:
        common.emit(_counts(seen) | {"tasks": rows})
        return
    tables.show_rows(rows, deed.columns, total=seen.matched, kind=deed.kind)
    common.line(f"would {deed.verb} {seen.matched} of {seen.looked} {deed.kind} tasks of {deed.queue}")


def _counts(acted: Acted) -> dict[str, Any]:
    return {
        "looked": acted.looked,
        "matched": acted.matched,
        "done": acted.done,
        "missing": list(acted.missing),
    }


def _tell(deed: Deed, acted: Acted) -> None:
    tell(acted, f"is not among the {deed.kind} tasks of {deed.queue}")


def tell(acted: Acted, missing: str) -> None:
    """Tell what was named and not found, not seen, or left alone; exits with 1 where there is any."""
    for task_id in acted.missing:
        common.say(f"{task_id} {missing}", "yellow")
    for words in acted.unseen:
        common.say(words, "yellow")
    if acted.left:
        common.say(
            f"{acted.left} were left alone, as their headers can't be read: "
            "a consumer brings them to the dead queue when they are due",
            "yellow",
        )
    if acted.missing or acted.unseen or acted.left:
        raise typer.Exit(common.FAILED)
