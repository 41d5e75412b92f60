"""Records of the history as messages: what is written is read again, and no secret is in it."""

from __future__ import annotations

import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue import events
from taskqueue.events import Event
from taskqueue.history.records import (
    Stretch,
    batch_publish,
    entry_publish,
    mark,
    read_batch,
    read_entry,
    record,
)
from taskqueue.task.message import Message

DEAD = Event(
    events.DEAD, "mail", "a", 2, "https://user:password@example.com/x?token=secret", 500, 0.25, 1.5,
    reason="failed", error="status 500",
)  # fmt: skip


def test_a_record_says_what_happened_and_no_secret() -> None:
    """As the line in the log does, with its time."""
    assert record(1_700_000_000.1234, DEAD) == {
        "at": 1_700_000_000_123, "event": "dead", "id": "a", "queue": "mail", "attempt": 2,
        "url": "https://example.com/x", "status": 500, "ms": 250, "late_ms": 1500, "reason": "failed",
        "error": "status 500",
    }  # fmt: skip
    assert record(1.0, replace(DEAD, by="me@here"))["by"] == "me@here"


@given(st.lists(st.text(min_size=1), min_size=1, max_size=20, unique=True))
def test_of_a_batch_those_of_an_id_are_read(ids: list[str]) -> None:
    """Whatever the ids are: quotes, line ends, half of a surrogate pair, what stands between two records."""
    ids = [*ids, 'x"},{"at":1,"id":"y', '},{"at":']
    records = [record(number, replace(DEAD, id=each)) for number, each in enumerate(ids)]
    batch = read_batch(batch_publish("w", 7, 1_500, records).message)
    assert batch is not None
    assert (batch.writer, batch.number, batch.at) == ("w", 7, 1_500)
    assert batch.records() == records
    assert batch.records(frozenset(ids[:1])) == records[:1]
    assert batch.records(frozenset({"".join(ids) + "-"})) == []


@given(st.sets(st.text(), max_size=50), st.text())
def test_an_entry_knows_the_ids_of_its_stretch(ids: set[str], other: str) -> None:
    """It never says no to one that is there."""
    stretch = Stretch("w", 1_000, 2_000, 3, 9, 4, ended=True)
    entry = read_entry(entry_publish(stretch, map(mark, ids)).message)
    assert entry is not None
    assert replace(entry, marks=b"") == stretch
    assert all(entry.may_have([each]) for each in ids)
    assert entry.may_have([other]) == (mark(other) in set(map(mark, ids)))


@pytest.mark.parametrize(
    "message",
    [
        Message(b"x"),
        Message(b"x", {}, {"type": "taskqueue.history.batch", "message_id": "w"}),
        Message(b"x", {}, {"type": "taskqueue.history.entry", "message_id": "w"}),
        Message(b"x", {"taskqueue-number": "1", "taskqueue-at": 1}, {"type": "taskqueue.history.batch"}),
    ],
)
def test_what_is_none_of_ours_is_passed_over(message: Message) -> None:
    """Others may publish to the stream, too."""
    assert read_batch(message) is None
    assert read_entry(message) is None


@pytest.mark.parametrize(
    "body", [b"", b"not compressed", zlib.compress(b'{"at": "x"}\n[1]\nnull\n{"a'), b"x\x9c"]
)
def test_a_batch_that_can_t_be_read_has_no_records(body: bytes) -> None:
    """One bad message hides no others."""
    publish = batch_publish("w", 1, 1, [])
    batch = read_batch(replace(publish.message, body=body))
    assert batch is not None
    assert batch.records() == []
