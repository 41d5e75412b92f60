"""The messages of schedules: the book, the wake-up that comes when one is due, and the tasks. Pure."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any

from taskqueue.errors import ConfigError, InvalidTask, TaskqueueError
from taskqueue.schedule.book import Book, Entry, Occurrence, Span
from taskqueue.send.new_task import ABSENT, NewTask
from taskqueue.settings import Settings
from taskqueue.settings.schedules import Definition
from taskqueue.task import decode as state
from taskqueue.task import fields as fields_of_tasks
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names
from taskqueue.topology.ladder import Way

_FORMAT = 1
_JSON = "application/json"


class UnreadableBook(TaskqueueError):
    """The book can't be read, or is one of a later version. It is left as it is."""


@dataclass(frozen=True, slots=True)
class Wake:
    """Says that something may be due. It decides nothing: what is due stands in the book.

    The one for the book's own `wake` is always on its way; any other is out of date, and goes.
    """

    at: int
    """The occurrence that it was sent for: seconds since the epoch."""
    asked: float | None = None
    """Our clock when it was sent to ask for the broker's time; None where it was sent to wait."""


def book_publish(queue: str, book: Book) -> Publish:
    """Write a book, for the exchange that only books go to."""
    schedules = {
        name: {"definition": _set(entry.definition)} | _set(entry, without=("definition",))
        for name, entry in book.entries.items()
    }
    document = {"format": _FORMAT, "edition": book.edition, "version": book.version, "schedules": schedules}
    return Publish(names.schedule(queue), (queue,), _message(document))


def is_book(message: Message) -> bool:
    """Tell whether a message is a book, of whatever version: that it tells its format is all they share."""
    try:
        document = json.loads(message.body)
    except (ValueError, RecursionError):
        return False
    return isinstance(document, dict) and type(document.get("format")) is int


def read_book(message: Message) -> Book:
    """Read a book; raises UnreadableBook."""
    try:
        document = json.loads(message.body)
        if document["format"] != _FORMAT:
            raise UnreadableBook(f"is of format {document['format']!r}, and this version knows {_FORMAT}")
        entries = {
            name: Entry(
                **{
                    **entry,
                    "definition": Definition(**entry["definition"]),
                    "former": tuple(Span(**each) for each in entry.get("former", ())) or None,
                }
            )
            for name, entry in document["schedules"].items()
        }
        return Book(entries, int(document["edition"]), int(document["version"]))
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise UnreadableBook(f"can't be read: {type(error).__name__}: {error}"[:200]) from error


def wake_publish(wake: Wake, way: Way, now: float) -> Publish:
    """Send a wake-up onto the ladder; at least for a tick, so that the broker writes its time into it."""
    due = max(wake.at * 1000, math.ceil(now * 1000) + 1)
    exchange, keys = wake_way(way).route(due, now)
    return Publish(exchange, keys, _message({"wake": wake.at, "asked": wake.asked}))


def wake_publishes(book: Book, way: Way, now: float) -> tuple[Publish, ...]:
    """Send the wake-up for a book, where it has something to wait for."""
    return () if book.wake is None else (wake_publish(Wake(book.wake), way, now),)


def ask_publish(wake: Wake, way: Way, own: float) -> Publish:
    """Send a wake-up through the shortest rung, to ask for the broker's time; `own` is our clock's."""
    asking = Wake(wake.at, own)
    exchange, keys = wake_way(way).route(math.ceil(own * 1000) + 1, own)
    return Publish(exchange, keys, _message({"wake": asking.at, "asked": asking.asked}))


def read_wake(message: Message) -> Wake | None:
    """Read a wake-up; None for any other message."""
    try:
        document = json.loads(message.body)
        asked = document["asked"]
        return Wake(int(document["wake"]), None if asked is None else float(asked))
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError):
        return None


def wake_way(way: Way) -> Way:
    """Give the way of wake-ups: over the same ladder, to a queue of their own."""
    return Way(names.wake(way.queue), way.ladder, way.rungs)


def occurrence_publish(occurrence: Occurrence, way: Way, now: float) -> Publish:
    """Make the task of an occurrence: due at its instant, under its id; raises InvalidTask."""
    missed = {} if occurrence.missed is None else {state.MISSED: occurrence.missed}
    return task(
        occurrence.definition, way.queue, occurrence.id, eta=occurrence.instant, headers=missed
    ).publish(way, now)


def task(definition: Definition, queue: str, task_id: str, **more: Any) -> NewTask:
    """Make a task of a schedule; `more` are other fields of it."""
    return NewTask(
        definition.url,
        queue,
        # Sent on digit for digit, as the text that it is.
        payload=ABSENT if definition.payload is None else definition.payload,
        metadata=definition.metadata,
        max_retries=definition.max_retries,
        roll_back=definition.roll_back,
        id=task_id,
        **more,
    )


def require_tasks(settings: Settings, now: float) -> None:
    """Raise ConfigError where a schedule of the settings can't be made a task."""
    for each in settings.schedules.values():
        try:
            fields_of_tasks.method(each.definition.metadata or {})
            occurrence = Occurrence(each.name, math.floor(now), each.definition)
            occurrence_publish(occurrence, settings.way(each.queue), now)
        except InvalidTask as error:
            raise ConfigError(f"[schedule:{each.name}] {error}") from error


def _set(made: Entry | Definition, without: tuple[str, ...] = ()) -> dict[str, Any]:
    """Give the fields that are set, so that a book that an older version has written can be read."""
    document = asdict(made)
    return {
        each.name: document[each.name]
        for each in fields(made)
        if each.name not in without and (document[each.name] is not None or each.name == "next")
    }


def _message(document: dict[str, Any]) -> Message:
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    return Message(body, {}, {"content_type": _JSON})
