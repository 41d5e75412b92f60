"""When waiting tasks come due, as bars: their sizes are reckoned here, the page draws them as SVG. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from taskqueue.operate.due import Due
from taskqueue.operate.forecast import by

WIDTH, LINE = 720, 30
_LEFT, _LONGEST, _HEIGHT = 280, 340, 16
_LEAST = 2


@dataclass(frozen=True, slots=True)
class Bar:
    """One part of the time ahead: its words, and where it is drawn."""

    end: str
    by: str
    count: int | None
    y: int
    width: float

    @property
    def x(self) -> int:
        """Where it begins."""
        return _LEFT

    @property
    def height(self) -> int:
        """How high it is."""
        return _HEIGHT

    @property
    def text(self) -> int:
        """Where its words stand."""
        return self.y + _HEIGHT - 3

    @property
    def told(self) -> float:
        """Where its number begins."""
        return _LEFT + self.width + 8


@dataclass(frozen=True, slots=True)
class Chart:
    """The bars, up to the last in which something is due."""

    bars: tuple[Bar, ...]

    @property
    def width(self) -> int:
        """The width of the drawing."""
        return WIDTH

    @property
    def height(self) -> int:
        """The height of the drawing."""
        return LINE * len(self.bars)

    @property
    def words(self) -> str:
        """Say what it shows, for who can't see it."""
        return "; ".join(
            f"{'not known' if bar.count is None else format(bar.count, ',')} {bar.end}" for bar in self.bars
        )


def chart(due: Due | None, now: float) -> Chart | None:
    """Reckon the bars; None where nothing waits. `now` is in seconds since the epoch."""
    spans = list(due.bars()) if due is not None else []
    while spans and spans[-1].count == 0:
        spans.pop()
    if not spans:
        return None
    most = max(1, *(span.count or 0 for span in spans))
    return Chart(
        tuple(
            Bar(
                span.end,
                by(span, now),
                span.count,
                line * LINE + (LINE - _HEIGHT) // 2,
                round(max(_LEAST, _LONGEST * span.count / most), 1) if span.count else 0,
            )
            for line, span in enumerate(spans)
        )
    )
