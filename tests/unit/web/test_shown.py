"""What the front page says of queues."""

from __future__ import annotations

from dataclasses import replace

from taskqueue.operate.due import Due, Span
from taskqueue.operate.overview import Overview
from taskqueue.settings import Rate
from taskqueue.web import shown
from tests.support.views import rates, view


def test_what_is_not_known_is_a_question_mark_and_what_is_not_there_a_dash() -> None:
    """Zero is said where it is known."""
    cells = shown.cells(view(ready=None, unknown=("mail",), dead=0), 0.0)
    assert (cells["ready"], cells["consumers"], cells["dead"]) == ("?", "?", "0")
    assert (cells["unacked"], cells["coming"], cells["late"]) == ("0", "–", "–")  # noqa: RUF001 a dash
    cells = shown.cells(view(ladder_due=Due((Span(60.0, None),))), 0.0)
    assert (cells["waiting"], cells["minute"], cells["hour"]) == ("?", "?", "0")
    cells = shown.cells(view(on="shared"), 0.0)
    assert (cells["waiting"], cells["held"]) == ("–", "–")  # noqa: RUF001 a dash
    cells = shown.cells(view(dead=None, looked=("mail.dead",)), 0.0)
    assert cells["dead"] == "?"


def test_large_numbers_and_rates_can_be_read() -> None:
    """With separators, and no more digits than tell something."""
    cells = shown.cells(view(ready=1_234_567, flow=rates(settled=0.25)), 0.0)
    assert (cells["ready"], cells["settled"]) == ("1,234,567", "0.2")


def test_lateness_is_what_counts_prove_else_what_the_probe_saw() -> None:
    """A dash where no consumer has sent one."""
    busy = view(ready=3600, set_rate=Rate(1, 1))
    assert shown.late(busy, 0.0) == "1 h or more (now)"
    assert shown.late(view(), 0.0) == shown.NONE
    found = view()
    assert shown.late(replace(found, ladder=replace(found.ladder, lateness=0.34)), 0.0) == "0.3 s"


def test_what_is_wrong_comes_first() -> None:
    """Unless another order is asked for."""
    views = (
        view(name="well", consumers=1),
        view(name="alone", ready=3, consumers=0),
        view(name="silent", ready=None, unknown=("silent",)),
    )
    overview = Overview(0.0, views, {each.ladder.name: each.ladder for each in views})
    lines = shown.table(overview, sort=shown.STATE, every=True).lines
    assert [line.name for line in lines] == ["silent", "alone", "well"]
    lines = shown.table(overview, sort="ini", every=True).lines
    assert [line.name for line in lines] == ["well", "alone", "silent"]


def test_a_ladder_that_queues_share_has_a_line_of_its_own() -> None:
    """What waits there is counted once, and in no queue's line."""
    views = (view(name="a", on="shared", ladder_due=Due((Span(60.0, 7),))), view(name="b", on="shared"))
    overview = Overview(0.0, views, {"shared": views[0].ladder})
    lines = shown.table(overview, sort="ini", every=True).lines
    assert [(line.name, line.is_queue) for line in lines] == [
        ("a", True),
        ("b", True),
        ("ladder shared", False),
    ]
    assert [dict(line.cells)["Waiting"] for line in lines] == ["–", "–", "7"]  # noqa: RUF001 a dash


def test_of_many_queues_those_with_nothing_in_them_are_left_out() -> None:
    """Unless all are asked for, or some by their name; and how many those are is told."""
    views = [view(name=f"q{number:02}", ready=number % 2) for number in range(shown.MANY + 2)]
    overview = Overview(0.0, tuple(views), {each.ladder.name: each.ladder for each in views})
    some = shown.table(overview, sort="ini", every=False)
    assert (len(some.lines), some.left_out) == (16, 16)
    assert len(shown.table(overview, sort="ini", every=True).lines) == 32
    assert [line.name for line in shown.table(overview, sort="name", every=False, named="Q00").lines] == [
        "q00"
    ]
    assert shown.table(overview, sort="ready", every=True).lines[0].name == "q01"


def test_a_queue_that_only_waits_is_no_warning() -> None:
    """Nothing is amiss with it; with one that nobody consumes, or whose leader is silent, something is."""
    assert shown.level(view(ladder_due=Due((Span(60.0, 7),)), consumers=1)) == ""
    assert shown.level(view(ready=3, consumers=0)) == "warn"
    assert shown.level(view(ready=None, unknown=("mail",))) == "bad"
    found = view(consumers=1)
    assert shown.level(replace(found, ladder=replace(found.ladder, lateness=9.0))) == "warn"
