"""The book of permits: which of them count, whatever ended before it was written."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.limit import (
    Book,
    Permit,
    UnreadableBook,
    book_publish,
    is_book,
    latest,
    permit_publishes,
    read_book,
    read_permit,
)
from taskqueue.task.message import Message

LIMITS = st.lists(st.tuples(st.integers(1, 30), st.booleans()), max_size=20)


@given(LIMITS)
def test_there_are_as_many_permits_that_count_as_the_limit_says(steps: list[tuple[int, bool]]) -> None:
    """Over any changes, some of which end after the permits were issued and before the book was written."""
    book, queue = Book(), list[Permit]()
    for number, (limit, dies) in enumerate(steps):
        changed, permits = book.limited(limit, f"e{number}")
        queue += permits
        if not dies:
            book = changed
        counting = [each for each in queue if each.edition in book.editions and each.number < book.limit]
        assert len(counting) == book.limit
        assert len({each.number for each in counting}) == book.limit


def test_a_lower_limit_issues_nothing_and_the_former_one_again_neither() -> None:
    """The permits are all still there."""
    book, permits = Book().limited(4, "a")
    assert [each.number for each in permits] == [0, 1, 2, 3]
    lower, none = book.limited(2, "b")
    assert (lower.limit, lower.issued, lower.editions, none) == (2, 4, ("a",), ())
    higher, more = lower.limited(5, "c")
    assert more == (Permit("c", 4),)
    assert higher.editions == ("a", "c")


def test_the_later_of_two_books_counts() -> None:
    """A declare that dies before its ack leaves both."""
    former, _ = Book(7).limited(1, "a")
    later, _ = former.limited(2, "b")
    assert latest([former, later]) == latest([later, former]) == later


def test_books_and_permits_are_read_as_they_were_written() -> None:
    """And go through the exchange of the limits, each to its queue."""
    book, permits = Book(3).limited(2, "a")
    publish = book_publish("mail", book)
    assert (publish.exchange, publish.routing_keys) == ("mail.limit", ("mail.limit",))
    assert is_book(publish.message)
    assert read_book(publish.message) == book
    published = list(permit_publishes("mail", permits))
    assert {each.routing_keys for each in published} == {("mail.limit.permits",)}
    assert tuple(read_permit(each.message) for each in published) == permits


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{}", b"\xff", b'{"version":1}', b'{"edition":"a","number":"x"}']
)
def test_what_is_none_is_no_permit_and_no_book(body: bytes) -> None:
    """A foreign message lets nothing run, and changes no limit."""
    assert read_permit(Message(body)) is None
    assert not is_book(Message(body))
    with pytest.raises(UnreadableBook):
        read_book(Message(body))


def test_the_book_of_a_later_version_is_one_though_it_can_not_be_read() -> None:
    """It stays, for who can read it."""
    later = Message(b'{"version": 7, "limit": {"by": "host"}}')
    assert is_book(later)
    with pytest.raises(UnreadableBook):
        read_book(later)
