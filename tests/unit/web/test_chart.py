"""The chart of when tasks come due: what is drawn, and what is said of it."""

from __future__ import annotations

import math

from taskqueue.operate.due import Due, Span
from taskqueue.web.chart import chart


def test_the_longest_bar_is_that_of_most_tasks() -> None:
    """The others have their share, and what is there can be seen however little it is."""
    found = chart(Due((Span(9, 1), Span(50, 10_000), Span(500, 0), Span(3000, 5000))), 0.0)
    assert found is not None
    one, most, none, half = (bar.width for bar in found.bars)
    assert (one, none, half) == (2, 0, most / 2)
    assert [bar.end for bar in found.bars] == ["in 10 s", "in 1 min", "in 10 min", "in 1 h"]
    assert found.bars[0].by == "00:00:10Z"
    assert max(bar.told for bar in found.bars) < found.width - 60
    assert found.height > found.bars[-1].y + found.bars[-1].height


def test_what_is_not_known_is_told_as_that() -> None:
    """And never as nothing."""
    found = chart(Due((Span(9, None), Span(math.inf, 7))), 0.0)
    assert found is not None
    assert found.words.startswith("not known in 10 s; 0 in 1 min;")
    assert found.words.endswith("; 7 any time")
    assert found.bars[0].width == 0


def test_nothing_is_drawn_where_nothing_waits() -> None:
    """Or nothing is declared."""
    assert chart(None, 0.0) is None
    assert chart(Due((Span(9, 0),)), 0.0) is None
