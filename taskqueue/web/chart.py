"""When waiting tasks come due, as bars: their lengths are reckoned here, the page draws them. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from taskqueue.operate.due import Due
from taskqueue.operate.forecast import by

_LEAST = 0.5


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of the time ahead: its words, and how long its bar is."""

    end: str
    by: str
    count: int | None
    percent: float
    """Of the room that there is; the longest bar has all of it."""


def chart(due: Due | None, now: float) -> tuple[Bar, ...]:
    """Reckon the bars, up to the last in which something is due. `now` is in seconds since the epoch."""
    spans = list(due.bars()) if due is not None else []
    while spans and spans[-1].count == 0:
        spans.pop()
    most = max((span.count or 0 for span in spans), default=0)
    return tuple(
        Bar(
            span.end,
            by(span, now),
            span.count,
            round(max(_LEAST, 100 * span.count / most), 1) if span.count else 0,
        )
        for span in spans
    )
