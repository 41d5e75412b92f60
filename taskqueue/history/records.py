"""Records of the history as messages: batches of them, and the entries of the index, where they are.

A batch is one message of the stream: JSON lines, compressed. Its writer numbers its batches. An entry says of
a stretch of one writer's batches which ids are in them, as numbers of 32 bits. So a reader finds the batches
of an id without reading the others, and one that an entry names by chance costs it a moment.
"""

from __future__ import annotations

import json
import sys
import zlib
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from taskqueue import events
from taskqueue.events import Event
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names

INTERVAL = 300.0
"""Seconds from one entry of a writer to the next, at most."""
UNRECORDED = frozenset({events.POSTPONED, events.WAITING})
"""What is no attempt and changes nothing but when the task comes; a task under a limit has many of these."""
_BATCH, _ENTRY = "taskqueue.history.batch", "taskqueue.history.entry"
_NUMBER, _AT = "taskqueue-number", "taskqueue-at"
_SINCE, _FIRST, _DROPPED, _ENDED = (
    "taskqueue-since",
    "taskqueue-first",
    "taskqueue-dropped",
    "taskqueue-ended",
)
_LINE = json.JSONEncoder(separators=(",", ":")).encode
# Far more than a batch can have; what another program has put there must not fill the memory.
_LARGEST = 64 * 2**20
Record = dict[str, Any]
"""The keys of an event's line behind `at`: when it was recorded, in milliseconds since the epoch."""


@dataclass(frozen=True, slots=True)
class Stretch:
    """Batches of one writer. Times are milliseconds since the epoch, by the writer's clock."""

    writer: str
    since: int
    until: int
    first: int = 1
    last: int = 0
    dropped: int = 0
    """How many records the writer could not keep meanwhile."""
    ended: bool = False
    """The writer writes no more."""
    marks: bytes = b""

    def may_have(self, ids: Iterable[str]) -> bool:
        """Tell whether a record of one of these tasks may be in it."""
        marks = array("I")
        marks.frombytes(self.marks[: len(self.marks) // marks.itemsize * marks.itemsize])
        if sys.byteorder == "big":
            marks.byteswap()
        return any(mark(each) in marks for each in ids)


@dataclass(frozen=True, slots=True)
class Batch:
    """One message of the stream, its records not read yet."""

    writer: str
    number: int
    at: int
    body: bytes

    def records(self, of: frozenset[str] | None = None, named: frozenset[str] | None = None) -> list[Record]:
        """Read the records, or only those `of` some ids, or of some `named` events."""
        try:
            reader = zlib.decompressobj()
            lines = reader.decompress(self.body, _LARGEST).splitlines()
        except zlib.error:
            return []
        choice = of if of is not None else named
        wanted = None if choice is None else [_LINE(each).encode() for each in choice]
        found = []
        for line in lines:
            # Most are others, and to read one takes ten times as long as this.
            if wanted is None or any(each in line for each in wanted):
                try:
                    record = json.loads(line)
                except ValueError:
                    # None of ours.
                    continue
                if isinstance(record, dict) and isinstance(record.get("at"), int):
                    found.append(record)
        return [
            each
            for each in found
            if (of is None or each.get("id") in of) and (named is None or each.get("event") in named)
        ]


def record(at: float, event: Event) -> Record:
    """Make the record of an event at a time in seconds since the epoch: no body, no login, no query."""
    return {"at": round(at * 1000), **events.fields(event)}


def mark(task_id: str) -> int:
    """Give the number by which an entry knows an id."""
    return zlib.crc32(task_id.encode(errors="backslashreplace"))


def batch_publish(writer: str, number: int, at: int, records: Sequence[Record]) -> Publish:
    """Write a batch."""
    # All at once: one by one they take twice as long. No text in JSON has a quotation mark behind a bracket.
    lines = _LINE(records)[1:-1].replace('},{"at":', '}\n{"at":')
    body = zlib.compress(lines.encode(), 1)
    headers = {_NUMBER: number, _AT: at}
    return _publish(names.HISTORY, Message(body, headers, _properties(_BATCH, writer, at)))


def entry_publish(stretch: Stretch, marks: Iterable[int]) -> Publish:
    """Write an entry of the index."""
    numbers = array("I", marks)
    if sys.byteorder == "big":
        numbers.byteswap()
    headers = {
        _SINCE: stretch.since, _AT: stretch.until, _FIRST: stretch.first, _NUMBER: stretch.last,
        _DROPPED: stretch.dropped, _ENDED: stretch.ended,
    }  # fmt: skip
    message = Message(numbers.tobytes(), headers, _properties(_ENTRY, stretch.writer, stretch.until))
    return _publish(names.HISTORY_INDEX, message)


def read_batch(message: Message) -> Batch | None:
    """Read a message of the stream; None where it is none of ours."""
    writer, headers = message.properties.get("message_id"), message.headers
    if message.properties.get("type") != _BATCH or not isinstance(writer, str):
        return None
    if not _whole(headers, _NUMBER, _AT):
        return None
    return Batch(writer, headers[_NUMBER], headers[_AT], message.body)


def read_entry(message: Message) -> Stretch | None:
    """Read a message of the index; None where it is none of ours."""
    writer, headers = message.properties.get("message_id"), message.headers
    if message.properties.get("type") != _ENTRY or not isinstance(writer, str):
        return None
    if not _whole(headers, _SINCE, _AT, _FIRST, _NUMBER, _DROPPED):
        return None
    return Stretch(
        writer, headers[_SINCE], headers[_AT], headers[_FIRST], headers[_NUMBER], headers[_DROPPED],
        bool(headers.get(_ENDED)), message.body,
    )  # fmt: skip


def _properties(kind: str, writer: str, at: int) -> dict[str, Any]:
    return {"type": kind, "message_id": writer, "timestamp": at // 1000}


def _publish(stream: str, message: Message) -> Publish:
    return Publish(names.HISTORY, (stream,), message)


def _whole(headers: Mapping[str, Any], *keys: str) -> bool:
    return all(isinstance(headers.get(key), int) for key in keys)
