"""What the pages say of queues: their counts in words, and which of many are shown. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from taskqueue.durations import duration
from taskqueue.operate.forecast import RATED, clock, told
from taskqueue.operate.overview import Overview, View
from taskqueue.operate.picture import ORDERS, Condition, Picture, Sort, condition
from taskqueue.operate.probe import Probed
from taskqueue.topology import names

COLUMNS = {
    "ready": "Ready", "running": "Running", "waiting": "Waiting", "minute": "≤ 1 min", "hour": "≤ 1 h",
    "later": "Maybe later", "held": "Held", "dead": "Dead", "consumers": "Consumers", "coming": "In/s",
    "settled": "Out/s", "late": "Late",
}  # fmt: skip
MANY = 30
"""With more queues than this, those with nothing in them are left out."""
UNKNOWN, NONE = "?", "–"  # noqa: RUF001 the dash of a table
Probes = Mapping[str, tuple[float, Probed]]


@dataclass(frozen=True, slots=True)
class Line:
    """One queue in the table."""

    name: str
    condition: Condition
    cells: tuple[tuple[str, str], ...]
    """Title and text of each column."""


@dataclass(frozen=True, slots=True)
class Table:
    """The queues that are shown."""

    lines: tuple[Line, ...]
    left_out: int
    problems: tuple[str, ...]


def table(overview: Overview, probes: Probes, *, sort: Sort, every: bool, named: str = "") -> Table:
    """Make a line of each queue, of those that are `named` alike; `every` shows the empty ones too."""
    many = len(overview.views) > MANY and not every and not named
    shown = [
        view
        for view in sorted(overview.views, key=ORDERS[sort])
        if not (many and view.empty) and named.lower() in view.name.lower()
    ]
    lines = tuple(
        Line(
            view.name,
            condition(view),
            tuple((COLUMNS[key], text) for key, text in cells(view, probes, overview.at).items()),
        )
        for view in shown
    )
    return Table(lines, len(overview.views) - len(shown), tuple(Picture(overview).problems()))


def cells(view: View, probes: Probes, now: float) -> dict[str, str]:
    """Write all that is counted of a queue, by column."""
    state, flow, own = view.state, view.flow, view.own
    due = own.due if own is not None else None
    here = view.name not in state.unknown
    dead_known = names.dead(view.name) not in {*state.unknown, *state.looked}
    return {
        "ready": number(state.ready, known=here),
        "running": number(state.unacked),
        "waiting": NONE if own is None or due is None else number(own.waiting, known=own.waiting is not None),
        "minute": NONE if due is None else number(due.minute, known=due.minute is not None),
        "hour": NONE if due is None else number(due.hour, known=due.hour is not None),
        "later": NONE if due is None else number(due.later, known=due.later is not None),
        "held": number(own.held if own is not None else None),
        "dead": number(state.dead, known=dead_known),
        "consumers": number(state.consumers, known=here),
        "coming": rate(flow.coming if flow else None),
        "settled": rate(flow.settled if flow else None),
        "late": late(view, probes, now),
    }


def late(view: View, probes: Probes, now: float) -> str:
    """Say how late tasks will be at least, else how late the last probe of the ladder was."""
    found = view.forecast() if view.pause is None else None
    if found is not None and found.late is not None and found.at is not None:
        when = clock(now + found.at, now) if found.at else "now"
        return f"{duration(found.late)} or more ({when})"
    at, probed = probes.get(view.settings.ladder, (0.0, None))
    if probed is None:
        return NONE
    seen = UNKNOWN if probed.lateness is None else f"{probed.lateness:.2f} s"
    return f"{seen} (probe {clock(at, now)})"


def forecast(view: View, now: float) -> str | None:
    """Say what comes due, and how late it will be; None where there is nothing to tell."""
    found = view.forecast()
    return None if found is None or view.pause is not None else told(found, now)


def number(count: int | None, *, known: bool = True) -> str:
    """Write a number: a question mark where it is not known, a dash where there is none."""
    return UNKNOWN if not known else NONE if count is None else f"{count:,}"


def rate(value: float | None) -> str:
    """Write how many a second."""
    return NONE if value is None else f"{value:.0f}" if value >= RATED or not value else f"{value:.1f}"
