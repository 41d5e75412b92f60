"""The chart of when tasks come due: what is drawn, and what is said of it."""

from __future__ import annotations

import math

from taskqueue.operate.due import Due, Span
from taskqueue.web.chart import chart


def test_the_longest_bar_is_that_of_most_tasks() -> None:
    """The others have their share, and what is there can be seen however little it is."""
    found = chart(Due((Span(9, 1), Span(50, 10_000), Span(500, 0), Span(3000, 5000))), 0.0)
    assert [bar.percent for bar in found] == [0.5, 100, 0, 50]
    assert [bar.end for bar in found] == ["in 10 s", "in 1 min", "in 10 min", "in 1 h"]
    assert found[0].by == "00:00:10Z"


def test_what_is_not_known_is_told_as_that() -> None:
    """And never as nothing."""
    found = chart(Due((Span(9, None), Span(math.inf, 7))), 0.0)
    assert [bar.count for bar in found][:2] == [None, 0]
    assert (found[0].percent, found[-1].end, found[-1].percent) == (0, "any time", 100)


def test_nothing_is_drawn_where_nothing_waits() -> None:
    """Or nothing is declared."""
    assert chart(None, 0.0) == ()
    assert chart(Due((Span(9, 0),)), 0.0) == ()
