"""Which tasks the conditions of a command cover, and what they may be written like."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.errors import ConfigError
from taskqueue.operate.filters import Filter, interval, moment, read
from taskqueue.operate.reading import Facts
from taskqueue.task.message import Message

NOW = 1_764_074_365.0


@dataclass(frozen=True)
class Known:
    """What is known of a task."""

    id: str | None = "a"
    url: str | None = "/orders/7"
    at: float | None = NOW
    reason: str = "failed"
    status: int | None = 503
    runs: int = 3


@pytest.mark.parametrize(
    ("given_", "covered"),
    [
        ({"ids": ["a", "b"]}, True),
        ({"ids": ["b"]}, False),
        ({"url": "/orders/*"}, True),
        ({"url": "/orders/?"}, True),
        ({"url": "/orders"}, False),
        ({"url": "*7"}, True),
        ({"url": "/Orders/*"}, False),
        ({"after": "-1s"}, True),
        ({"after": "+0s"}, True),
        ({"after": "+1s"}, False),
        ({"before": "+1s"}, True),
        ({"before": "+0s"}, False),
        ({"after": "-1m", "before": "+1m"}, True),
        ({"reason": "failed"}, True),
        ({"reason": "fail"}, False),
        ({"status": "503"}, True),
        ({"status": "5xx"}, True),
        ({"status": "500-502,404"}, False),
        ({"runs": "3"}, True),
        ({"runs": "2"}, False),
        ({"runs": "2+"}, True),
        ({"runs": "4+"}, False),
        ({"ids": ["a"], "runs": "4+"}, False),
        ({"ids": ["a"], "runs": "3+", "url": "/orders/*", "reason": "failed", "status": "5xx"}, True),
    ],
)
def test_each_condition_that_is_given_must_hold(given_: dict[str, Any], *, covered: bool) -> None:
    """All of them together."""
    chosen = read(now=NOW, **given_)
    assert chosen is not None
    assert chosen.covers(Known()) is covered


@pytest.mark.parametrize("given_", [{"url": "*"}, {"after": "0"}, {"before": "+9d"}, {"status": "1xx-5xx"}])
def test_a_task_that_does_not_say_what_is_asked_for_is_not_covered(given_: dict[str, Any]) -> None:
    """As nobody knows whether it is meant."""
    if "status" in given_:
        given_ = {"status": "100-599"}
    chosen = read(now=NOW, **given_)
    assert chosen is not None
    assert not chosen.covers(Known(url=None, at=None, status=None))


def test_no_condition_is_none_and_covers_all_where_all_is_said() -> None:
    """So a command can ask for either."""
    assert read(now=NOW) is None
    assert Filter().covers(Known(None, None, None, "unknown", None, 0))


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("+10m", NOW + 600),
        ("+10min", NOW + 600),
        ("-1h", NOW - 3600),
        ("+90", NOW + 90),
        ("-1.5d", NOW - 129_600),
        ("+2w", NOW + 14 * 86_400),
        ("+500ms", NOW + 0.5),
        ("1764074365", NOW),
        ("1764074365.5", NOW + 0.5),
        ("2025-11-25T12:39:25Z", NOW),
        ("2025-11-25T12:39:25", NOW),
        ("2025-11-25T13:39:25+01:00", NOW),
        ("2025-11-25", NOW - 45_565),
    ],
)
def test_times_are_relative_iso_or_posix(written: str, meant: float) -> None:
    """Without a zone they are UTC, as all that is printed is."""
    assert moment(written, now=NOW) == meant


@pytest.mark.parametrize("written", ["", "soon", "10m", "+10y", "+", "1e9", "99999999999999", "-99999d", "٣"])
def test_what_is_no_time_is_told(written: str) -> None:
    """With what to write in its place, or what the bounds are."""
    with pytest.raises(ConfigError, match="is no time"):
        moment(written, now=NOW)


@given(st.text(max_size=12))
def test_no_text_is_an_error_in_the_code(written: str) -> None:
    """Whatever somebody types."""
    for reading in (
        lambda: moment(written, now=NOW),
        lambda: interval(written),
        lambda: read(now=NOW, status=written),
        lambda: read(now=NOW, runs=written),
    ):
        try:
            reading()
        except ConfigError as error:
            assert "\n" not in str(error)  # noqa: PT017 the error may be there or not
    chosen = read(now=NOW, url=written)
    assert chosen is not None
    chosen.covers(Known())


@pytest.mark.parametrize(("written", "seconds"), [("5/s", 0.2), ("10/m", 6), ("1/h", 3600), ("0.5/s", 2)])
def test_a_rate_is_the_time_between_two(written: str, seconds: float) -> None:
    """Of a second, a minute or an hour."""
    assert interval(written) == seconds


@pytest.mark.parametrize("written", ["0/s", "5", "5/d", "-1/s", "5/s "])
def test_what_is_no_rate_is_told(written: str) -> None:
    """With what to write."""
    with pytest.raises(ConfigError, match="write 5/s, 10/m or 1/h"):
        interval(written)


@pytest.mark.parametrize(
    ("error", "status"),
    [
        ("status 503", 503),
        ("status 410, stopped by the receiver: gone", 410),
        ("the status is 5", None),
        ("connection refused", None),
        (7, None),
    ],
)
def test_the_status_of_the_last_run_is_read_from_its_error(error: object, status: int | None) -> None:
    """Where it ended with one."""
    assert Facts(Message(b"{}", {"taskqueue-error": error})).status == status
