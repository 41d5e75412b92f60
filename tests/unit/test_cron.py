"""When cron expressions are due: summer time, odd zones, and what is no expression."""

from __future__ import annotations

from datetime import datetime
from itertools import islice, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.cron import Cron, expression, moment, zone

BERLIN, LORD_HOWE = "Europe/Berlin", "Australia/Lord_Howe"


def times(text: str, zone_name: str, after: str, count: int) -> list[str]:
    """Give the next times after one, each in UTC and without its seconds."""
    start = datetime.fromisoformat(after).timestamp()
    return [moment(instant)[:16] for instant in islice(Cron(text, zone_name).after(start), count)]


@pytest.mark.parametrize(
    ("text", "zone_name", "after", "expected"),
    [
        # 2026-03-29: 02:00 to 03:00 is left out in Berlin. 2026-10-25: it is there twice.
        ("30 2 * * *", BERLIN, "2026-03-28T12:00Z", ["2026-03-29T01:00", "2026-03-30T00:30"]),
        ("30 2 * * *", BERLIN, "2026-10-24T12:00Z", ["2026-10-25T00:30", "2026-10-26T01:30"]),
        ("30 2 * * *", BERLIN, "2026-10-25T00:45Z", ["2026-10-26T01:30"]),
        ("*/30 * * * *", BERLIN, "2026-03-29T00:45Z", ["2026-03-29T01:00", "2026-03-29T01:30"]),
        (
            "*/30 * * * *",
            BERLIN,
            "2026-10-25T00:20Z",
            ["2026-10-25T00:30", "2026-10-25T01:00", "2026-10-25T01:30", "2026-10-25T02:00"],
        ),
        ("0 * * * *", BERLIN, "2026-10-24T23:30Z", ["2026-10-25T00:00", "2026-10-25T01:00"]),
        ("0 9 * * *", BERLIN, "2026-10-24T12:00Z", ["2026-10-25T08:00"]),
        # Lord Howe moves its clocks by half an hour: 2026-10-04 and 2026-04-05.
        ("15 2 * * *", LORD_HOWE, "2026-10-03T12:00Z", ["2026-10-03T15:30", "2026-10-04T15:15"]),
        ("45 1 * * *", LORD_HOWE, "2026-04-04T12:00Z", ["2026-04-04T14:45", "2026-04-05T15:15"]),
        # Zones that lie half an hour and three quarters off.
        ("0 9 * * *", "Asia/Kolkata", "2026-11-26T00:00Z", ["2026-11-26T03:30"]),
        ("@daily", "Asia/Kathmandu", "2026-11-26T00:00Z", ["2026-11-26T18:15", "2026-11-27T18:15"]),
        ("0 0 29 2 *", "UTC", "2026-11-26T00:00Z", ["2028-02-29T00:00", "2032-02-29T00:00"]),
        ("0 0 29 2 *", "UTC", "2096-03-01T00:00Z", ["2104-02-29T00:00"]),
        ("@yearly", "UTC", "2026-11-26T00:00Z", ["2027-01-01T00:00", "2028-01-01T00:00"]),
        ("0 8 * * MON-FRI", "UTC", "2026-11-27T12:00Z", ["2026-11-30T08:00"]),
        ("0 0 L * *", "UTC", "2028-02-01T00:00Z", ["2028-02-29T00:00"]),
    ],
)
def test_an_expression_is_due_at_its_times(
    text: str, zone_name: str, after: str, expected: list[str]
) -> None:
    """Each once, over both changes of summer time, as Debian's cron has it."""
    assert times(text, zone_name, after, len(expected)) == expected


@given(
    text=st.sampled_from(["30 2 * * *", "*/15 * * * *", "15 * * * *", "0 0,3 * * 0", "0,30 1-3 * * *"]),
    zone_name=st.sampled_from([BERLIN, LORD_HOWE, "UTC", "America/St_Johns", "Asia/Kolkata"]),
    start=st.integers(0, 2**32),
)
def test_instants_only_grow_and_none_is_left_out_between_two_looks(
    text: str, zone_name: str, start: int
) -> None:
    """Whoever goes on from one instant finds the same next one as who goes on from the start."""
    found = list(islice(Cron(text, zone_name).after(start), 6))
    assert found == sorted(set(found))
    assert found[0] > start
    for earlier, later in pairwise(found):
        assert next(Cron(text, zone_name).after(earlier)) == later


@pytest.mark.parametrize(
    "text",
    ["", "* * * *", "* * * * * *", "61 * * * *", "x * * * *", "@reboot", "@", "*/0 * * * *", "0 0 * 2 MON#6",
     "0 0 30 2 *", "* * */20 * 1L", "1#2/3 * * * 1", "0 0 L/2 * 1L/2"],
)  # fmt: skip
def test_what_is_no_expression_or_never_comes_is_refused(text: str) -> None:
    """With what is allowed, and never by another error."""
    with pytest.raises(ValueError, match=r"must be five fields|never comes"):
        expression(text)


@pytest.mark.parametrize("name", ["", "Mars/Base", "../etc/passwd", "+01:00", "\0", "Europe", "/etc/passwd"])
def test_what_is_no_zone_is_refused(name: str) -> None:
    """With an example of one."""
    with pytest.raises(ValueError, match="IANA"):
        zone(name)
