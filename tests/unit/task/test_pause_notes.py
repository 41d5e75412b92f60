"""The note on a pause: read as it was written, and whatever else anybody writes there."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.errors import ConfigError
from taskqueue.operate.pause import milliseconds
from taskqueue.task.message import Message
from taskqueue.task.pause import Pause, note, noted, said

TEXTS = st.none() | st.text(min_size=1, max_size=50)
TIMES = st.none() | st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists, max_leaves=3)


@given(st.builds(Pause, TEXTS, TEXTS, TIMES, TIMES))
def test_a_note_is_read_as_it_was_written(pause: Pause) -> None:
    """Whoever paused it, for whatever reason."""
    assert noted(note(pause)) == pause


@given(st.binary() | st.dictionaries(st.sampled_from(["by", "reason", "since", "until"]), JSON).map(
    lambda each: json.dumps(each).encode()
))  # fmt: skip
def test_no_note_stops_a_reader(body: bytes) -> None:
    """What can't be used is not known, and can be said all the same."""
    assert isinstance(said(noted(Message(body))), str)
    assert noted(None) == Pause()


def test_a_pause_is_said_in_a_line() -> None:
    """Who, since when, until when and why."""
    assert said(Pause("ann@desk", "a bad deploy", 0, 7200)) == (
        " by ann@desk since 1970-01-01T00:00:00Z until 1970-01-01T02:00:00Z (a bad deploy)"
    )
    assert said(Pause()) == ""


@pytest.mark.parametrize(
    ("text", "found"),
    [("2h", 7_200_000), ("1h30m", 5_400_000), ("0.5 s", 500), ("1d", 86_400_000), ("5min", 300_000)],
)
def test_a_length_of_time_is_read_as_people_write_it(text: str, found: int) -> None:
    """With one unit or several."""
    assert milliseconds(text) == found


@pytest.mark.parametrize(
    "text", ["", "soon", "2", "-2h", "0s", "2h soon", "99999999d", "9" * 400 + "d", "1e9h", "h"]
)
def test_what_is_no_length_of_time_is_refused(text: str) -> None:
    """With what would be one."""
    with pytest.raises(ConfigError, match="--for: must be a time such as 30s"):
        milliseconds(text)
