"""The table of `taskqueue inspect`: a row for each queue, sorted, summed, and as wide as there is room."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from taskqueue.cli import streams, tables
from taskqueue.operate.forecast import RATED
from taskqueue.operate.inspect import LadderState
from taskqueue.operate.overview import View
from taskqueue.operate.picture import ORDERS, Picture, Sort
from taskqueue.operate.picture import condition as conditions
from taskqueue.topology.names import dead

MANY = 10
"""With more queues than this, those with nothing in them are left out."""
_COLUMNS = {
    "queue": 0, "state": 1, "ready": 2, "unacked": 3, "waiting": 5, "≤ 1 min": 7, "≤ 1 h": 8,
    "maybe later": 9, "held": 11, "dead": 4, "consumers": 6, "in/s": 12, "out/s": 10,
}  # fmt: skip
"""Every column, and its place among those that there is room for."""
_LEAST = 24
"""Characters of a name that are shown at least, where there is room for more than the names."""
_STYLES = {"": "", "warn": "yellow", "bad": "red"}


@dataclass(frozen=True, slots=True)
class Rows:
    """The lines of the table, and how many queues are left out of it."""

    lines: tuple[dict[str, Text], ...]
    left_out: int
    all: int

    def note(self) -> str | None:
        """Say what is left out, if something is."""
        if not self.left_out:
            return None
        return f"{self.left_out} of {self.all} queues have nothing in them: --all shows them"


def rows(picture: Picture, *, sort: Sort = "ini", every: bool = True) -> Rows:
    """Make the lines: a queue each, each shared ladder, and their sum; `every` shows the empty ones too."""
    views = picture.overview.views
    many = len(views) > MANY and not every
    shown = sorted((view for view in views if not (many and view.empty)), key=ORDERS[sort])
    lines = [_queue(view, too_many=picture.too_many(view)) for view in shown]
    lines += [_ladder(ladder) for ladder in picture.overview.shared()]
    if len(views) > 1:
        lines.append(_total(picture))
    return Rows(tuple(lines), len(views) - len(shown), len(views))


def table(lines: Iterable[dict[str, Text]], room: int) -> Table:
    """Lay the lines out in `room` characters; what matters least is left out where there is not enough."""
    every = list(lines)
    names = sorted(_COLUMNS, key=lambda name: _COLUMNS[name])
    if not any(line["state"] for line in every):
        names.remove("state")
    widths = [max([cell_len(name), *(line[name].cell_len for line in every)]) for name in names]
    least = [min(widths[0], _LEAST), *widths[1:]]
    width = dict(zip(names, tables.fitted(widths, least, room), strict=True))
    shown = [name for name in _COLUMNS if width.get(name)]
    made = tables.table(*shown, right=tuple(name for name in shown if name not in {"queue", "state"}))
    for column, name in zip(made.columns, shown, strict=True):
        column.width, column.no_wrap = width[name], True
        column.overflow = "ellipsis" if streams.fits("…") else "crop"
    for line in every:
        made.add_row(*(line[name] for name in shown))
    return made


def _queue(view: View, *, too_many: bool) -> dict[str, Text]:
    state, flow, condition = view.state, view.flow, conditions(view)
    known = view.name not in state.unknown
    return {
        "queue": tables.cell(view.name, "" if state.declared else "red"),
        "state": tables.cell(condition.word, _STYLES[condition.level]),
        "ready": tables.count(state.ready, known=known),
        "unacked": tables.cell(state.unacked),
        **_waiting(view.own),
        "dead": tables.count(
            state.dead,
            style="red" if too_many else "",
            known=dead(view.name) not in {*state.unknown, *state.looked},
        ),
        "consumers": tables.count(state.consumers, known=known),
        "in/s": rate(flow.coming if flow else None),
        "out/s": rate(flow.settled if flow else None),
    }


def _ladder(ladder: LadderState) -> dict[str, Text]:
    blank = dict.fromkeys(_COLUMNS, tables.cell(""))
    return blank | {"queue": tables.cell(f"ladder {ladder.name}")} | _waiting(ladder)


def _waiting(ladder: LadderState | None) -> dict[str, Text]:
    columns = ("waiting", "≤ 1 min", "≤ 1 h", "maybe later")
    if ladder is None or ladder.due is None:
        return dict.fromkeys((*columns, "held"), tables.cell(None))
    due = ladder.due
    counts = (ladder.waiting, due.minute, due.hour, due.later)
    found = {
        name: tables.count(count, known=count is not None)
        for name, count in zip(columns, counts, strict=True)
    }
    return found | {"held": tables.cell(ladder.held)}


def _total(picture: Picture) -> dict[str, Text]:
    """Sum what is known, and say so where something is not."""
    views, ladders = picture.overview.views, picture.overview.ladders.values()
    there = [view.state for view in views if f"queue {view.name}" not in view.state.missing]
    dues = [ladder.due for ladder in ladders if ladder.due is not None]
    sums: dict[str, list[int | None]] = {
        "ready": [state.ready for state in there],
        "waiting": [due.total for due in dues],
        "≤ 1 min": [due.minute for due in dues],
        "≤ 1 h": [due.hour for due in dues],
        "maybe later": [due.later for due in dues],
        "dead": [view.state.dead for view in views if f"queue {dead(view.name)}" not in view.state.missing],
        "consumers": [state.consumers for state in there],
    }
    found = dict.fromkeys(_COLUMNS, tables.cell(""))
    found["queue"] = tables.cell(f"all {len(views)}", "bold")
    for name, counts in sums.items():
        known = None not in counts
        found[name] = tables.count(sum(filter(None, counts)) if known else None, "bold", known=known)
    if all(ladder.held is not None for ladder in ladders):
        found["held"] = tables.cell(sum(ladder.held or 0 for ladder in ladders), "bold")
    if views and all(view.flow is not None for view in views):
        unacked = sum(state.unacked or 0 for state in there)
        found["unacked"] = tables.cell(unacked, "bold")
        every = [view.flow for view in views if view.flow is not None]
        found["in/s"] = rate(_sum([each.coming for each in every]))
        found["out/s"] = rate(_sum([each.settled for each in every]))
    return found


def _sum(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def rate(value: float | None) -> Text:
    """Write how many a second."""
    if value is None:
        return tables.cell(None)
    return tables.cell(f"{value:.0f}" if value >= RATED or not value else f"{value:.1f}")
