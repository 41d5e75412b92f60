"""What became of a task, in words."""

from __future__ import annotations

import pytest

from taskqueue.history.records import Record
from taskqueue.history.story import ending


@pytest.mark.parametrize(
    ("last", "words"),
    [
        ({"event": "done", "attempt": 1}, "it is done, after 1 attempt"),
        ({"event": "retried", "attempt": 2, "next": "T"}, "attempt 2 failed; the next one is due at T"),
        ({"event": "dead", "attempt": 3, "reason": "failed"}, "it is dead (failed), after 3 attempts"),
        ({"event": "moved", "to": "b"}, "it was moved to b"),
        ({"event": "moved", "next": "T", "by": "me@here"}, "it was moved to T by me@here"),
        ({"event": "moved", "to": "b", "next": "T", "by": "me@here"}, "it was moved to b, T by me@here"),
        ({"event": "cancelled", "by": "me@here"}, "it was cancelled by me@here"),
    ],
)
def test_the_last_record_tells(last: Record, words: str) -> None:
    """Those of its roll_back, which come after it, do not count."""
    records: list[Record] = [
        {"event": "retried", "id": "t", "attempt": 1, "next": "S"},
        last | {"id": "t"},
        {"event": "done", "id": "t.roll_back", "attempt": 1},
    ]
    assert ending("t", records) == f"t: {words}"


def test_nothing_is_recorded() -> None:
    """Which is said as what it is."""
    assert "nothing is recorded" in ending("t", [])
