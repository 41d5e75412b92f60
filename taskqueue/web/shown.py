"""What the pages say of queues: their counts in words, and which of many are shown. Pure."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from taskqueue.durations import duration
from taskqueue.operate.forecast import RATED, clock, told
from taskqueue.operate.inspect import LadderState
from taskqueue.operate.overview import Overview, View
from taskqueue.operate.picture import ORDERS, SORTS, Condition, Picture, condition
from taskqueue.operate.reasons import broken, not_taken
from taskqueue.topology import names

COLUMNS = {
    "ready": "Ready", "unacked": "Unacked", "waiting": "Waiting", "minute": "≤ 1 min", "hour": "≤ 1 h",
    "later": "Maybe later", "held": "Held", "dead": "Dead", "consumers": "Consumers", "coming": "In/s",
    "settled": "Out/s", "late": "Late",
}  # fmt: skip
MANY = 30
"""With more queues than this, those with nothing in them are left out."""
UNKNOWN, NONE = "?", "–"  # noqa: RUF001 the dash of a table
STATE = "state"
ORDERED = (STATE, *SORTS)
"""What the table may be sorted by: first by what is wrong, where nobody says."""
_WORST = ("bad", "warn", "")


@dataclass(frozen=True, slots=True)
class Line:
    """One queue in the table, or one ladder that several share."""

    name: str
    is_queue: bool
    condition: Condition
    cells: tuple[tuple[str, str], ...]
    """Title and text of each column."""


@dataclass(frozen=True, slots=True)
class Table:
    """The queues that are shown."""

    lines: tuple[Line, ...]
    left_out: int
    problems: tuple[str, ...]
    level: str
    """How bad it is at the worst."""


def table(overview: Overview, *, sort: str, every: bool, named: str = "") -> Table:
    """Make a line of each queue, of those that are `named` alike; `every` shows the empty ones too."""
    many = len(overview.views) > MANY and not every and not named
    shown = [
        view
        for view in sorted(overview.views, key=_ORDERS[sort])
        if not (many and view.empty) and named.lower() in view.name.lower()
    ]
    lines = tuple(
        Line(
            name=view.name,
            is_queue=True,
            condition=condition(view),
            cells=tuple((COLUMNS[key], text) for key, text in cells(view, overview.at).items()),
        )
        for view in shown
    )
    lines += tuple(
        Line(
            name=f"ladder {ladder.name}",
            is_queue=False,
            condition=Condition(),
            cells=tuple((title, waiting(ladder).get(key, "")) for key, title in COLUMNS.items()),
        )
        for ladder in overview.shared()
    )
    level = min((condition(view).level for view in overview.views), key=_WORST.index, default="")
    return Table(lines, len(overview.views) - len(shown), tuple(Picture(overview).problems()), level)


def cells(view: View, now: float) -> dict[str, str]:
    """Write all that is counted of a queue, by column."""
    state, flow, own = view.state, view.flow, view.own
    here = view.name not in state.unknown
    dead_known = names.dead(view.name) not in {*state.unknown, *state.looked}
    return {
        "ready": number(state.ready, known=here),
        "unacked": number(state.unacked),
        **waiting(own),
        "dead": number(state.dead, known=dead_known),
        "consumers": number(state.consumers, known=here),
        "coming": rate(flow.coming if flow else None),
        "settled": rate(flow.settled if flow else None),
        "late": late(view, now),
    }


def waiting(ladder: LadderState | None) -> dict[str, str]:
    """Write what is counted on a ladder; dashes where there is none, or others wait there too."""
    if ladder is None or ladder.due is None:
        return dict.fromkeys(("waiting", "minute", "hour", "later", "held"), NONE)
    due = ladder.due
    counts = {"waiting": due.total, "minute": due.minute, "hour": due.hour, "later": due.later}
    found = {key: number(count, known=count is not None) for key, count in counts.items()}
    return found | {"held": number(ladder.held)}


def late(view: View, now: float) -> str:
    """Say how late tasks will be at least, else how late the ladder is, as the probe of a consumer saw it."""
    found = view.forecast() if view.pause is None else None
    if found is not None and found.late is not None and found.at is not None:
        when = clock(now + found.at, now) if found.at else "now"
        return f"{duration(found.late)} or more ({when})"
    return NONE if view.ladder.lateness is None else duration(view.ladder.lateness)


_ORDERS: dict[str, Callable[[View], float | str]] = {
    **dict(ORDERS.items()),
    STATE: lambda view: _WORST.index(condition(view).level),
}


def level(view: View) -> str:
    """Tell how bad it is with a queue: nothing where it only waits for what comes due."""
    return condition(view).level or ("warn" if not_taken(view) or any(broken(view)) else "")


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
