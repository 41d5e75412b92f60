"""Writes values for tables and JSON: times, unknown values, and text that others wrote."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.cells import cell_len
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

from taskqueue.cli import common, console, streams
from taskqueue.logs import harmless
from taskqueue.operate import browse
from taskqueue.operate.reading import moment

__all__ = ["cell", "count", "fitted", "moment", "progress", "show", "show_rows", "table"]

_NUMBERS = ("runs", "attempts", "ms")
_STEP = 100
_GAP = 2
"""Blanks between two columns."""


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
    rows: Sequence[Mapping[str, object]],
    columns: Mapping[str, int],
    *,
    total: int,
    kind: str,
    things: str = "tasks",
) -> None:
    """Print a line for each row, and below how many of the `total` tasks (or `things`) of a kind they are.

    `columns` begin with what matters most, each with the width that it needs to tell something. A terminal
    gets those that there is room for, cut where they are longer.
    """
    lines = [[cell(row[name]) for name in columns] for row in rows]
    widths = [
        max([cell_len(name), *(line[place].cell_len for line in lines)]) for place, name in enumerate(columns)
    ]
    shown = fitted(widths, tuple(columns.values()), console.out.width)
    filled = table(*(name for name, width in zip(columns, shown, strict=True) if width), right=_NUMBERS)
    for column, width in zip(filled.columns, filter(None, shown), strict=True):
        column.width, column.no_wrap = width, True
        column.overflow = "ellipsis" if streams.fits("…") else "crop"
    for line in lines:
        filled.add_row(*(text for text, width in zip(line, shown, strict=True) if width))
    # Without rows too: what can't be written is to be noticed.
    show(filled)
    named = f"{kind} {things}".strip()
    common.say(f"{len(rows)} of {total} {named}" if total else f"no {named}", "dim")


def fitted(widths: Sequence[int], least: Sequence[int], room: int) -> list[int]:
    """Give the width of each column in a line of `room` characters, 0 for one that has to be left out.

    The first comes first: each gets what it needs `least`, then what is left. Of that the first gets its part
    last: it is the id, of which a little more tells nothing.
    """
    found = [0] * len(widths)
    for place, (width, needed) in enumerate(zip(widths, least, strict=True)):
        gap = _GAP if any(found) else 0
        if not gap or min(width, needed) + gap <= room:
            found[place] = max(1, min(width, needed, room - gap))
            room -= found[place] + gap
    for place in (*range(1, len(widths)), 0):
        width = widths[place]
        if found[place]:
            more = min(width - found[place], room)
            found[place] += max(0, more)
            room -= max(0, more)
    return found


def cell(value: object, style: str = "") -> Text:
    """Write a value into a table, so that no markup or control character of others gets to the terminal."""
    if value is None:
        return Text("-", "dim")
    return Text(streams.fitting(harmless(str(value))), style)


def count(value: int | None, style: str = "", *, known: bool = True) -> Text:
    """Write a number into a table: a question mark where it is not known, a dash where there is none."""
    return cell(value, style) if known else Text("?", "red")


@contextmanager
def looking() -> Iterator[Callable[[str], None]]:
    """Show on a terminal what is told to be looked at."""
    if not console.err.is_terminal:
        yield lambda _: None
        return
    with console.err.status("looking") as status:
        yield status.update


@contextmanager
def progress(title: str) -> Iterator[browse.Progress | None]:
    """Show on a terminal how many messages were looked at."""
    if not console.err.is_terminal:
        yield None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console.err, transient=True) as bars:
        bar = bars.add_task(title, total=None)

        def tell(done: int, total: int) -> None:
            # As it takes longer than to look at a message.
            if not done % _STEP or done == total:
                bars.update(bar, completed=done, total=total)

        yield tell
