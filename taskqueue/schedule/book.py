"""The book: every schedule of one queue, and what is due next of each. Pure: `now` is an argument.

The book is one message. Whoever changes it takes it, publishes the new one, and acks the old one once that is
confirmed. So there is one at least at any time, and more than one only after a crash; `latest` tells which
counts. What a crash leaves undone is done again under the same ids.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import chain, islice, takewhile

from taskqueue.cron import Cron, cron, moment
from taskqueue.settings.schedules import SKIP, Definition

LATE = 60
"""Seconds by which an occurrence may be late and still counts as if it were not: later ones were missed."""


@dataclass(frozen=True, slots=True)
class Span:
    """Occurrences by a cron that was changed before they were enqueued. Instants as in Entry."""

    cron: str
    timezone: str
    first: int
    until: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One schedule. Instants are seconds since the epoch."""

    definition: Definition
    next: int | None
    """The first occurrence of `definition` that is not enqueued yet; None where none ever comes."""
    last: int | None = None
    """The last occurrence that was enqueued."""
    paused: int | None = None
    """Since when it is paused; None where it runs."""
    until: int | None = None
    """When its section was removed, with an occurrence up to then still to be enqueued."""
    former: tuple[Span, ...] | None = None
    """What is still to be enqueued by former crons, in order; None where nothing is."""

    @property
    def first(self) -> int | None:
        """The first occurrence of all that is not enqueued yet; None where none ever comes."""
        return self.former[0].first if self.former else self.next


@dataclass(frozen=True, slots=True)
class Book:
    """All schedules of a queue. A later one has a larger `version`, and `edition` where people changed it."""

    entries: Mapping[str, Entry] = field(default_factory=dict)
    edition: int = 0
    version: int = 0

    @property
    def wake(self) -> int | None:
        """When the next occurrence of all is due, None where there is none."""
        waiting = (each.first for each in self.entries.values() if _runs(each))
        return min((first for first in waiting if first), default=None)


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
        due, after = _due(entry, now)
        if not due:
            entries[name] = entry
            continue
        fresh = [instant for instant in due if now - instant <= LATE]
        missed = due[: len(due) - len(fresh)]
        if missed and entry.definition.missed == SKIP:
            skipped.append(Skipped(name, missed[0], missed[-1], len(missed)))
        elif missed:
            occurrences.append(Occurrence(name, missed[-1], entry.definition, len(missed)))
        occurrences += (Occurrence(name, instant, entry.definition) for instant in fresh)
        if after.until is None or (after.first is not None and after.first <= after.until):
            enqueued = fresh or ([] if entry.definition.missed == SKIP else missed)
            entries[name] = replace(after, last=enqueued[-1] if enqueued else entry.last)
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
        # Who removes a schedule does not want it once more for what was missed.
        if name not in definitions and (due := [each for each in _due(entry, now)[0] if now - each <= LATE]):
            entries[name] = _removed(entry, due[0], now)
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
    return _next_edition(book, {**book.entries, name: replace(entry, paused=None, next=first, former=None)})


def upcoming(entry: Entry, count: int) -> tuple[int, ...]:
    """Give the next occurrences of a schedule, as if it were not paused."""
    waiting = (entry.former[0].first,) if entry.former else ()
    if entry.next is None:
        return waiting
    after = chain(waiting, (entry.next,), _instants(entry.definition, entry.next))
    return tuple(islice(after, count))


def _declared(entry: Entry, definition: Definition, now: float) -> Entry:
    old, changed = entry.definition, replace(entry, definition=definition, until=None)
    if (old.cron, old.timezone) == (definition.cron, definition.timezone):
        return changed
    changed = replace(changed, next=next(_instants(definition, _later(entry, now)), None))
    end = _end(entry, now)
    if not _runs(entry) or entry.next is None or entry.next > end:
        return changed
    # By the new cron nobody could tell what they were.
    span = Span(old.cron, old.timezone, entry.next, end)
    return replace(changed, former=(*(entry.former or ()), span))


def _removed(entry: Entry, first: int, now: float) -> Entry:
    """Leave only what is due from an instant on, up to now, to be enqueued."""
    spans = (span for span in entry.former or () if span.until >= first)
    former = tuple(replace(span, first=max(span.first, first)) for span in spans)
    own = None if entry.next is None else max(entry.next, first)
    return replace(entry, next=own, former=former or None, until=_end(entry, now))


def _runs(entry: Entry) -> bool:
    return entry.paused is None


def _later(entry: Entry, now: float) -> float:
    # Another clock may have been ahead: what was enqueued is not due again.
    return now if entry.last is None else max(now, entry.last)


def _due(entry: Entry, now: float) -> tuple[list[int], Entry]:
    """Give each instant that is due, in order, and the schedule without these."""
    if not _runs(entry):
        return [], entry
    due: list[int] = []
    former = []
    for span in entry.former or ():
        some, first = _reached(cron(span.cron, span.timezone), span.first, min(span.until, math.floor(now)))
        due += some
        if first is not None and first <= span.until:
            former.append(replace(span, first=first))
    following = entry.next
    if following is not None:
        own = cron(entry.definition.cron, entry.definition.timezone)
        some, following = _reached(own, following, _end(entry, now))
        due += some
    return due, replace(entry, next=following, former=tuple(former) or None)


def _reached(made: Cron, first: int, end: int) -> tuple[list[int], int | None]:
    """Give the instants from the first one to the end, and the one after these."""
    if first > end:
        return [], first
    due = [first, *takewhile(lambda instant: instant <= end, made.after(first))]
    return due, next(made.after(due[-1]), None)


def _end(entry: Entry, now: float) -> int:
    return math.floor(now) if entry.until is None else min(math.floor(now), entry.until)


def _instants(definition: Definition, after: float) -> Iterator[int]:
    return cron(definition.cron, definition.timezone).after(after)


def _next_edition(book: Book, entries: Mapping[str, Entry]) -> Book:
    return Book(entries, book.edition + 1, book.version + 1)
