"""The messages of schedules, told apart from what others publish."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.schedule.book import Book, Span, declared
from taskqueue.schedule.messages import UnreadableBook, book_publish, is_book, read_book
from taskqueue.settings.schedules import Definition
from taskqueue.task.message import Message

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=5,
)


@given(st.binary(max_size=20) | JSON.map(lambda value: json.dumps(value).encode()))
def test_what_does_not_tell_a_format_is_no_book(body: bytes) -> None:
    """Whatever it is."""
    assert not is_book(Message(body, {}, {}))


@pytest.mark.parametrize("body", [b'{"format": true}', b'{"format": "1"}', b'["format"]', b"[" * 100_000])
def test_what_looks_like_a_book_is_none(body: bytes) -> None:
    """A format is a whole number."""
    assert not is_book(Message(body, {}, {}))


@pytest.mark.parametrize(
    "body", [b'{"format": 2}', b'{"format": 1}', b'{"format": 1, "schedules": {"a": 0}}']
)
def test_a_book_that_can_not_be_read_is_a_book_all_the_same(body: bytes) -> None:
    """Of a later version, or damaged: it stays where it is."""
    message = Message(body, {}, {})
    assert is_book(message)
    with pytest.raises(UnreadableBook):
        read_book(message)


def test_a_first_book_is_outdone_by_every_other() -> None:
    """It names no schedule, and has the lowest version."""
    message = book_publish("q", Book()).message
    assert is_book(message)
    assert read_book(message) == Book(edition=0, version=0)


def test_a_book_is_read_as_it_was_written() -> None:
    """With what waits by a former cron; where nothing does, it is one that older versions can read."""
    before = declared(Book(), {"a": Definition("* * * * *", "/x", payload="1")}, 0)
    changed = declared(before, {"a": Definition("@daily", "/x", "Europe/Berlin")}, 180)
    assert changed.entries["a"].former == (Span("* * * * *", "UTC", 60, 180),)
    for book in (before, changed):
        assert read_book(book_publish("q", book).message) == book
    assert b"former" not in book_publish("q", before).message.body
