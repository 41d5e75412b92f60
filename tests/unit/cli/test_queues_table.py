"""The table of many queues: sorted, summed, filtered, and never wider than the terminal."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

from taskqueue.cli import insight, queues
from taskqueue.operate.due import Due, Span
from taskqueue.operate.forecast import forecast
from taskqueue.operate.overview import Overview, View
from taskqueue.operate.pause import Pause
from taskqueue.operate.picture import Picture, Sort
from tests.support.views import rates, view


def picture(*views: View) -> Picture:
    """Give what one look has found."""
    return Picture(Overview(0.0, views, {each.ladder.name: each.ladder for each in views}))


def printed(shown: Picture, width: int = 1000, **options: Any) -> list[list[str]]:
    """Give the words of each line."""
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        console.print(queues.table(queues.rows(shown, **options).lines, width))
    lines = captured.get().splitlines()
    assert all(len(line) <= width for line in lines)
    return [line.split() for line in lines]


MANY = [view(name=f"q{number:02}", ready=number % 3, dead=number % 5) for number in range(30)]


def test_with_many_queues_those_with_nothing_in_them_are_left_out() -> None:
    """Their number is told, and they are in the sum."""
    shown = picture(*MANY)
    rows = queues.rows(shown, every=False)
    assert (len(rows.lines), rows.left_out) == (29, 2)
    assert rows.note() == "2 of 30 queues have nothing in them: --all shows them"
    assert queues.rows(shown).note() is None
    assert queues.rows(picture(*MANY[:5]), every=False).left_out == 0
    assert printed(shown, every=False)[-1][:3] == ["all", "30", "30"]


def test_nothing_is_left_out_of_which_something_is_not_known() -> None:
    """Nor what is paused, or not declared."""
    odd = [
        view(name="a", ready=None, unknown=("a",)), view(name="b", pause=Pause(None, None, None, None)),
        view(name="c", missing=("queue c",), ready=None), view(name="d", ladder_due=Due((Span(1.0, None),))),
        view(name="e", looked=("e.dead",), dead=None), view(name="f"),
    ]  # fmt: skip
    rows = queues.rows(picture(*odd, *MANY), every=False)
    assert [line["queue"].plain for line in rows.lines[:5]] == list("abcde")
    assert printed(picture(*odd))[-1][2] == "?"


@pytest.mark.parametrize(
    ("sort", "first"), [("ini", "q00"), ("name", "q00"), ("ready", "q02"), ("dead", "q04")]
)
def test_the_most_come_first(sort: Sort, first: str) -> None:
    """By what is asked for."""
    assert printed(picture(*MANY), sort=sort)[1][0] == first


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"unknown": ("mail",), "ready": None}, "silent"),
        ({"missing": ("queue mail",), "ready": None}, "not declared"),
        ({"missing": ("exchange mail.wait",)}, "incomplete"),
        ({"pause": Pause(None, None, None, None), "consumers": 0, "ready": 1}, "paused"),
        ({"unacked": 3, "flow": rates(3)}, "none settled"),
        ({"ready": 1, "consumers": 0}, "no consumer"),
        ({"consumers": 0}, ""),
        ({"ready": 1}, ""),
    ],
)
def test_the_state_of_a_queue_is_a_word(changes: dict[str, Any], word: str) -> None:
    """What is worst, or nothing."""
    (line,) = queues.rows(picture(view(**changes))).lines
    assert line["state"].plain == word


@pytest.mark.parametrize("width", [20, 40, 80, 120, 200])
def test_a_narrow_terminal_gets_what_matters_most(width: int) -> None:
    """Whole columns go; a long name is cut."""
    long = view(name="a-queue-of-one-customer-with-a-long-name" * 3, ready=123_456, consumers=0)
    head, *_ = printed(picture(long, *MANY), width)
    assert head[0] == "queue"
    if width >= 80:
        assert {"state", "ready", "unacked", "waiting", "dead"} <= set(head)
    if width >= 200:
        assert "in/s" in head


def test_bars_are_as_long_as_there_is_room_and_tell_the_latest_time() -> None:
    """The last bar is the last in which something is due."""
    due = Due((Span(9.0, 5), Span(900.0, 11_269), Span(6000.0, 0)))
    lines = [line.plain for line in insight.bars(due, 0.0, 80)]
    assert [line.split()[:3] for line in lines] == [
        ["in", "10", "s"], ["in", "1", "min"], ["in", "10", "min"], ["in", "1", "h"]
    ]  # fmt: skip
    assert all(len(line) <= 80 for line in lines)
    assert "01:00:00Z" in lines[-1]
    assert "11,269" in lines[-1]
    assert lines[-1].count("█") > 10 * lines[0].count("█") > 0


def test_the_forecast_is_a_sentence() -> None:
    """As DESIGN has it."""
    found = forecast(0, Due((Span(3600.0, 14_200),)), settled=None, limit=10_000 / 3600)
    assert found is not None
    told = insight.forecast(found, 14 * 3600.0)
    assert told is not None
    assert told.plain == (
        "14,200 or more are due within the hour; rate allows 10,000/h: 25 min 12 s late by 15:00:00Z, or more"
    )
