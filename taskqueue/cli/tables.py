"""What stands in tables and JSON: times, unknown values, and text that others wrote."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from taskqueue.cli import common, console, streams
from taskqueue.logs import harmless
from taskqueue.operate import browse


def table(*columns: str, right: tuple[str, ...] = ()) -> Table:
    """Make an empty table; the columns named in `right` hold numbers."""
    made = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        made.add_column(
            streams.fitting(column),
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column == "id",
        )
    return made


def show(filled: Table) -> None:
    """Print a table: fitted to a terminal, and in lines as long as they are for a pipe."""
    console.out.print(filled)


def show_rows(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], *, right: str, total: int, kind: str
) -> None:
    """Print rows as a table, and below it how many of the `total` tasks of a kind they are."""
    filled = table(*columns, right=(right,))
    for row in rows:
        filled.add_row(*(cell(row[name]) for name in columns))
    if rows:
        show(filled)
    common.say(f"{len(rows)} of {total} {kind} tasks" if total else f"no {kind} tasks", "dim")


def cell(value: object, style: str = "") -> Text:
    """Write a value into a table: no markup and no control character of others gets to the terminal."""
    if value is None:
        return Text("-", "dim")
    return Text(streams.fitting(harmless(str(value))), style)


def count(value: int | None, style: str = "", *, known: bool = True) -> Text:
    """Write a number into a table: a question mark where nobody knows it, a dash where there is none."""
    return cell(value, style) if known else Text("?", "red")


def moment(seconds: float | None) -> str | None:
    """Write a time (seconds since the epoch) as ISO 8601 in UTC, to the millisecond; None stays None."""
    if seconds is None:
        return None
    try:
        time = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@contextmanager
def progress(title: str) -> Iterator[browse.Progress | None]:
    """Show on a terminal how many messages were looked at."""
    if not console.err.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console.err, transient=True) as bars:
        bar = bars.add_task(title, total=None)
        yield lambda done, total: bars.update(bar, completed=done, total=total)
