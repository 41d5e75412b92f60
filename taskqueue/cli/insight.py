"""One queue in words and bars: what is where, when it comes due, how late it will be, why nothing runs."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.text import Text

from taskqueue.cli import queues, streams, tables
from taskqueue.operate.due import Due, Span
from taskqueue.operate.forecast import Forecast, by, told
from taskqueue.operate.overview import View
from taskqueue.operate.picture import pause_line
from taskqueue.operate.reasons import reasons

_LONGEST_BAR, _LABELS = 60, 40


def lines(view: View, now: float, room: int) -> Iterator[Text]:
    """Yield the lines on a queue, in `room` characters where that is enough; `now` is POSIX seconds."""
    yield _head(view)
    yield _counts(view)
    due = view.ladder.due
    if due is not None and due.total != 0:
        yield Text("")
        shared = "" if view.own else f", of all queues on ladder {view.ladder.name}"
        yield Text(f"due at the latest (each may be due sooner){shared}", "bold")
        yield from bars(due, now, room)
    found = view.forecast()
    ahead = None if found is None or view.pause is not None else forecast(found, now)
    if ahead is not None:
        yield Text("")
        yield ahead
    why = list(reasons(view))
    if why:
        yield Text("")
        yield from (tables.cell(reason, "yellow") for reason in why)


def bars(due: Due, now: float, room: int) -> Iterator[Text]:
    """Yield a line with a bar for each part of the time ahead, up to the last in which something is due."""
    spans = list(due.bars())
    while spans and spans[-1].count == 0:
        spans.pop()
    most = max((span.count or 0 for span in spans), default=0)
    width = max([1, *(len(_count(span)) for span in spans)])
    longest = max(1, min(_LONGEST_BAR, room - _LABELS - width))
    for span in spans:
        size = math.ceil(longest * (span.count or 0) / most) if most else 0
        line = Text(f"{span.end:<10}{by(span, now):<18}")
        line.append(f"{_count(span):>{width}}  ", "red" if span.count is None else "")
        line.append(_block() * size, "cyan")
        yield line


def forecast(found: Forecast, now: float) -> Text | None:
    """Write the forecast in a sentence; None where there is nothing to tell."""
    line = told(found, now)
    return None if line is None else Text(line, "" if found.late is None else "yellow")


def _head(view: View) -> Text:
    line = tables.cell(view.name, "bold")
    if view.pause is not None:
        line.append("  ").append_text(tables.cell(pause_line(view.pause), "yellow"))
    return line


def _counts(view: View) -> Text:
    state, ladder, flow = view.state, view.own, view.flow
    pairs = [
        ("ready", _told(state.ready)),
        ("unacked", "-" if state.unacked is None else f"{state.unacked:,}"),
        ("waiting", _told(ladder.waiting) if ladder else "-"),
        ("held", "-" if view.ladder.held is None else f"{view.ladder.held:,}"),
        ("dead", _told(state.dead)),
        ("late", "-" if view.ladder.lateness is None else f"{view.ladder.lateness:.1f} s"),
        ("consumers", _told(state.consumers)),
        ("in/s", queues.rate(flow.coming if flow else None).plain),
        ("out/s", queues.rate(flow.settled if flow else None).plain),
    ]
    line = Text()
    for name, value in pairs:
        line.append(f"{name} ", "dim").append(value, "red" if value == "?" else "").append("   ")
    line.rstrip()
    return line


def _told(count: int | None) -> str:
    return "?" if count is None else f"{count:,}"


def _count(span: Span) -> str:
    return _told(span.count)


def _block() -> str:
    return "█" if streams.fits("█") else "#"
