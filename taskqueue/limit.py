"""The permits of a queue, and the book that says which of them count. Pure.

A permit is a message in `Q.limit.permits`, with a number and the edition that it was issued in. A consumer
holds one for each request that runs, and never acks or publishes one. So none is lost or doubled by whatever
dies: the broker hands it to another.

The book, one message in `Q.limit`, has the limit, how many permits were ever issued, and every edition that
counts. `declare` issues permits first, then writes their edition into the book. Should it die in between, the
book does not know the edition, and whoever gets such a permit drops it. A lower limit takes no permit away:
those whose number is not below it are kept by whoever gets them, and not used.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from taskqueue.errors import TaskqueueError
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names


class UnreadableBook(TaskqueueError):
    """What stands in the place of the book is none that this version can read."""


@dataclass(frozen=True, slots=True)
class Book:
    """Which permits count: those of `editions` with a number below `limit`."""

    version: int = 0
    limit: int = 0
    issued: int = 0
    """The permits of all editions have the numbers below this one, each once."""
    editions: tuple[str, ...] = ()

    def limited(self, limit: int, edition: str) -> tuple[Book, tuple[Permit, ...]]:
        """Give the next book, with another limit, and the permits to issue before it, as `edition`."""
        permits = tuple(Permit(edition, number) for number in range(self.issued, limit))
        editions = (*self.editions, edition) if permits else self.editions
        return Book(self.version + 1, limit, max(self.issued, limit), editions), permits


@dataclass(frozen=True, slots=True)
class Permit:
    """What lets one request run at a time."""

    edition: str
    number: int


def latest(books: Iterable[Book]) -> Book:
    """Give the one that counts: a crash may leave a former one beside it."""
    return max(books, key=lambda book: book.version)


def book_publish(queue: str, book: Book) -> Publish:
    """Make the message of a book."""
    document = {
        "version": book.version,
        "limit": book.limit,
        "issued": book.issued,
        "editions": book.editions,
    }
    return _publish(queue, names.limit(queue), document)


def permit_publishes(queue: str, permits: Iterable[Permit]) -> Iterator[Publish]:
    """Make the message of each permit."""
    for permit in permits:
        document = {"edition": permit.edition, "number": permit.number}
        yield _publish(queue, names.permits(queue), document)


def is_book(message: Message) -> bool:
    """Tell whether a message is a book, of whatever version: all of them tell their version and the limit."""
    try:
        found = json.loads(message.body)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and type(found.get("version")) is int and "limit" in found


def read_book(message: Message) -> Book:
    """Read a book; raises UnreadableBook."""
    try:
        found = json.loads(message.body)
        numbers = (int(found["version"]), int(found["limit"]), int(found["issued"]))
        return Book(*numbers, tuple(map(str, found["editions"])))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        raise UnreadableBook(f"can't be read: {type(error).__name__}: {error}"[:200]) from error


def read_permit(message: Message) -> Permit | None:
    """Read a permit; None for any other message."""
    try:
        found = json.loads(message.body)
        return Permit(str(found["edition"]), int(found["number"]))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def _publish(queue: str, to: str, document: dict[str, Any]) -> Publish:
    body = json.dumps(document, separators=(",", ":")).encode()
    return Publish(names.limit(queue), (to,), Message(body, {}, {"content_type": "application/json"}))
