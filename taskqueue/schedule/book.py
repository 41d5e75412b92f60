"""The book: every schedule of one queue, and what is due next of each. Pure: `now` is an argument.

The book is one message. Whoever changes it takes it, publishes the new one, and acks the old one once that is
confirmed. So there is one at least at any time, and more than one only after a crash; `latest` tells which
counts. What a crash leaves undone is done again under the same ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import takewhile

from taskqueue.cron import cron, moment
from taskqueue.settings.schedules import SKIP, Definition

LATE = 60
"""Seconds by which an occurrence may be late and still counts as if it were not: later ones were missed."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One schedule. Instants are seconds since the epoch."""

    definition: Definition
    next: int | None
    """The first occurrence that is not enqueued yet; None where none ever comes."""
    last: int | None = None
    """The last occurrence that was enqueued."""
    paused: int | None = None
    """Since when it is paused; None where it runs."""
    until: int | None = None
    """When its section was removed, with an occurrence up to then still to be enqueued."""


@dataclass(frozen=True, slots=True)
class Book:
    """All schedules of a queue. A later one has a larger `version`, and `edition` where people changed it."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    edition: int = 0
    version: int = 0

    @property
    def wake(self) -> int | None:
        """When the next occurrence of all is due, None where there is none."""
        return min((each.next for each in self.entries.values() if _runs(each) and each.next), default=None)


@dataclass(frozen=True, slots=True)
class Occurrence:
    """A task that is to be enqueued now."""

    schedule: str
    instant: int
    definition: Definition
    missed: int | None = None
    """How many were missed that this one stands for, itself among them; None for one in time."""

    @property
    def id(self) -> str:
        """The id of its task, always the same."""
        return occurrence_id(self.schedule, self.instant)


@dataclass(frozen=True, slots=True)
class Skipped:
    """Occurrences that were missed, of a schedule that skips these."""

    schedule: str
    first: int
    last: int
    count: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What is due now, and the book after it: the same one where nothing is due."""

    occurrences: tuple[Occurrence, ...]
    skipped: tuple[Skipped, ...]
    book: Book


def occurrence_id(schedule: str, instant: int) -> str:
    """Give the id of an occurrence: ``nightly@2026-11-27T01:30:00Z``."""
    return f"{schedule}@{moment(instant)}"


def latest(books: Iterable[Book]) -> Book:
    """Tell which of several copies counts.

    Where two were made from the same one, as while a cluster is parted, what people changed outweighs what
    was enqueued: that is enqueued again, under the same ids.
    """
    return max(books, key=lambda each: (each.edition, each.version))


def turn(book: Book, now: float) -> Turn:
    """Find what is due of every schedule, and go on to what comes next."""
    occurrences: list[Occurrence] = []
    skipped: list[Skipped] = []
    entries = {}
    for name, entry in book.entries.items():
        if not _runs(entry) or entry.next is None or entry.next > now:
            entries[name] = entry
            continue
        due, following = _due(entry, entry.next, now)
        fresh = [instant for instant in due if now - instant <= LATE]
        missed = due[: len(due) - len(fresh)]
        if missed and entry.definition.missed == SKIP:
            skipped.append(Skipped(name, missed[0], missed[-1], len(missed)))
        elif missed:
            occurrences.append(Occurrence(name, missed[-1], entry.definition, len(missed)))
        occurrences += (Occurrence(name, instant, entry.definition) for instant in fresh)
        if entry.until is None:
            enqueued = fresh or ([] if entry.definition.missed == SKIP else missed)
            entries[name] = replace(entry, next=following, last=enqueued[-1] if enqueued else entry.last)
    if not occurrences and not skipped and entries == book.entries:
        return Turn((), (), book)
    occurrences.sort(key=lambda each: each.instant)
    return Turn(tuple(occurrences), tuple(skipped), replace(book, entries=entries, version=book.version + 1))


def declared(
    book: Book, definitions: Mapping[str, Definition], now: float, *, since: float | None = None
) -> Book:
    """Make the schedules of a book those of an ini. What is due and not enqueued yet stays so.

    A new one counts from `since` on, before it is removed elsewhere: it may come from another queue. Gives
    the same book where nothing changes.
    """
    entries = {}
    for name, definition in definitions.items():
        former = book.entries.get(name)
        if former is None:
            entries[name] = Entry(
                definition, next(_instants(definition, now if since is None else since), None)
            )
        else:
            entries[name] = _declared(former, definition, now)
    for name, entry in book.entries.items():
        if name not in definitions and _is_pending(entry, now):
            entries[name] = replace(entry, until=math.floor(now) if entry.until is None else entry.until)
    return book if entries == book.entries else _next_edition(book, entries)


def paused(book: Book, name: str, now: float) -> Book:
    """Have a schedule enqueue nothing until it is resumed; raises KeyError where there is none."""
    entry = book.entries[name]
    if entry.paused is not None:
        return book
    return _next_edition(book, {**book.entries, name: replace(entry, paused=math.floor(now))})


def resumed(book: Book, name: str, now: float) -> Book:
    """Have a schedule go on with what comes after now; raises KeyError where there is none."""
    entry = book.entries[name]
    if entry.paused is None:
        return book
    first = next(_instants(entry.definition, _later(entry, now)), None)
    return _next_edition(book, {**book.entries, name: replace(entry, paused=None, next=first)})


def upcoming(entry: Entry, count: int) -> tuple[int, ...]:
    """Give the next occurrences of a schedule, as if it were not paused."""
    if entry.next is None:
        return ()
    after = _instants(entry.definition, entry.next)
    return (entry.next, *(instant for instant, _ in zip(after, range(count - 1), strict=False)))


def _declared(former: Entry, definition: Definition, now: float) -> Entry:
    goes_on = (former.definition.cron, former.definition.timezone) == (definition.cron, definition.timezone)
    if goes_on or _is_pending(former, now, late=math.inf):
        return replace(former, definition=definition, until=None)
    first = next(_instants(definition, _later(former, now)), None)
    return replace(former, definition=definition, next=first, until=None)


def _is_pending(entry: Entry, now: float, late: float = LATE) -> bool:
    """Tell whether something is due and not enqueued yet, and no later than it may be."""
    return _runs(entry) and entry.next is not None and 0 <= now - entry.next <= late


def _runs(entry: Entry) -> bool:
    return entry.paused is None


def _later(entry: Entry, now: float) -> float:
    # Another clock may have been ahead: what was enqueued is not due again.
    return now if entry.last is None else max(now, entry.last)


def _due(entry: Entry, first: int, now: float) -> tuple[list[int], int | None]:
    """Give each instant that is due, and the first that is not."""
    end = math.floor(now) if entry.until is None else min(math.floor(now), entry.until)
    due = [first]
    due += takewhile(lambda instant: instant <= end, _instants(entry.definition, first))
    return due, next(_instants(entry.definition, due[-1]), None)


def _instants(definition: Definition, after: float) -> Iterator[int]:
    return cron(definition.cron, definition.timezone).after(after)


def _next_edition(book: Book, entries: Mapping[str, Entry]) -> Book:
    return Book(entries, book.edition + 1, book.version + 1)
