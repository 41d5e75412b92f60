"""A task: decoded from a message, validated, and its state read from the AMQP headers.

The body of a message is never rewritten. The headers keep what happens to a task.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue.errors import InvalidTask
from taskqueue.task import astray, fields
from taskqueue.task import document as documents
from taskqueue.task.document import Document
from taskqueue.task.message import PREFIX, Message

DUE = f"{PREFIX}due"
RUNS = f"{PREFIX}runs"
ERROR = f"{PREFIX}error"
REASON = f"{PREFIX}reason"
FIRST_SEEN = f"{PREFIX}first-seen"
DIED = f"{PREFIX}died"
FAILED_ID = f"{PREFIX}failed-id"
FAILED_URL = f"{PREFIX}failed-url"
FAILURE = f"{PREFIX}failure"
SINCE = f"{PREFIX}since"
CRASHES = f"{PREFIX}crashes"
MOVED_TO = f"{PREFIX}moved-to"
"""The queue that an operator has moved a task to: it counts for more than the field `queue`."""
REPLAYS = f"{PREFIX}replays"
"""How often a task was dead and replayed."""
MISSED = f"{PREFIX}missed"
REFUSALS = f"{PREFIX}refusals"

LARGEST_BODY = 16 * 2**20
"""RabbitMQ 4 refuses messages over 16 MiB by default (https://www.rabbitmq.com/docs/configure)."""
KNOWN = frozenset(
    {"url", "payload", "countdown", "eta", "max_retries", "expires", "roll_back", "queue", "metadata"}
)
_CARRIED = ("payload", "max_retries", "metadata")
_ABSENT = object()
_LONGEST_ID = 255
"""AMQP's bound on a short string, in bytes."""
_FIRST_TIMESTAMP = 1_577_836_800
"""The beginning of 2020, POSIX seconds. taskqueue is younger: an earlier timestamp comes from a clock or a
field that was never set. A timestamp in milliseconds is later than now, and counts as now."""
_TRACEPARENT = re.compile(
    r"(?!ff)[0-9a-f]{2}-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-[!-~]{1,200})?"
)
_HALF = re.compile("[\ud800-\udfff]")
_TRACESTATE = re.compile(r"[ -~]{1,512}")


@dataclass(frozen=True, slots=True)
class Failed:
    """The task that a roll_back is called for, and why it is dead."""

    id: str
    url: str
    failure: str


@dataclass(frozen=True, slots=True)
class Task:
    """A POST to be made when it is due, and its state so far."""

    id: str
    url: str
    """A path (joined to the queue's base_url) or a full http(s) URL."""
    content: bytes
    """The body of the POST, encoded."""
    due: int
    """When to run: milliseconds since the epoch."""
    runs: int
    """How often it has run; the next attempt is `runs` + 1."""
    max_retries: int | None
    expires: float | None
    """Not run after this time: seconds since the epoch."""
    roll_back: str | None
    queue: str | None
    metadata: Mapping[str, Any]
    first_seen: int
    """When a consumer (or the client) first saw it: milliseconds since the epoch."""
    error: str | None
    """Why the last run failed."""
    failed: Failed | None
    unknown: tuple[str, ...]
    """Names of fields that taskqueue does not know."""
    since: int | None = None
    """When its last run ended: milliseconds since the epoch."""
    crashes: int = 0
    """How many consumers had ended without an answer while they held it when it was last published again."""
    traceparent: str | None = None
    """The trace that it belongs to (https://www.w3.org/TR/trace-context/)."""
    tracestate: str | None = None
    meant_for: str | None = None
    """The work queue at the end of its way over a ladder; None where it came without a ladder."""
    refusals: int = 0
    """How often the queue that it names could not take it."""
    missed: int | None = None
    """How many occurrences of its schedule it stands for, itself among them, as nothing ran at their time."""


def decode(message: Message, *, now: float) -> Task:
    """Read a task from a message that has a `message_id`; `now` is in seconds since the epoch.

    Raises InvalidTask that names the field and its value.
    """
    if message.fault is not None:
        raise InvalidTask("headers", message.fault)
    if len(message.body) > LARGEST_BODY:
        raise InvalidTask("body", f"must have at most {LARGEST_BODY} bytes, got {len(message.body)}")
    read = documents.read(message.body)
    document = read.values
    address = fields.url(document, "url")
    if address is None:
        raise InvalidTask("url", "is missing")
    headers = message.headers
    now_ms = math.floor(now * 1000)
    due = fields.moment(headers, DUE)
    wanted = _due(document, message.properties.get("timestamp"), now * 1000)
    return Task(
        id=_id(message.properties.get("message_id")),
        url=address,
        content=_content(read),
        due=wanted if due is None else due,
        runs=fields.times(headers, RUNS) or 0,
        max_retries=fields.count(document, "max_retries"),
        expires=fields.number(document, "expires"),
        roll_back=fields.url(document, "roll_back"),
        queue=_header_text(headers, MOVED_TO) or fields.text(document, "queue"),
        metadata=fields.mapping(document, "metadata"),
        first_seen=now_ms if (seen := fields.moment(headers, FIRST_SEEN)) is None else seen,
        error=_header_text(headers, ERROR),
        failed=_failed(headers),
        unknown=() if KNOWN.issuperset(document) else tuple(sorted(set(document) - KNOWN)),
        since=fields.moment(headers, SINCE),
        crashes=fields.times(headers, CRASHES) or 0,
        traceparent=_matching(headers, "traceparent", _TRACEPARENT),
        tracestate=_matching(headers, "tracestate", _TRACESTATE),
        meant_for=astray.meant_for(headers) if "CC" in headers or astray.MEANT_FOR in headers else None,
        refusals=fields.times(headers, REFUSALS) or 0,
        missed=fields.times(headers, MISSED),
    )


def encode(document: Mapping[str, Any], *, copied: bool = False) -> bytes:
    """Write the body of a message; raises InvalidTask where a value can't be written as JSON.

    `copied`: values of the payload may be those of another task's metadata, which go out as they came.
    """
    text = documents.write(document, copied=copied)
    try:
        return text.encode()
    except UnicodeEncodeError:
        # Half a surrogate pair can't be UTF-8. Escaped, it passes, and the receiver may refuse it.
        return _HALF.sub(lambda half: f"\\u{ord(half[0]):04x}", text).encode()


def roll_back_body(body: bytes) -> bytes:
    """Make the body of a task's roll_back from its own body: never longer, as its text is taken over."""
    read = documents.read(body)
    members = [b'"url":' + read.written("roll_back")]
    members += [b'"%s":%s' % (name.encode(), read.written(name)) for name in _CARRIED if name in read.values]
    return b"{%s}" % b",".join(members)


def related_id(task_id: str, name: str) -> str:
    """Give the id of a task that follows from another: always the same, so that a duplicate is known."""
    related = f"{task_id}.{name}"
    return related if len(related.encode()) <= _LONGEST_ID else uuid.uuid5(uuid.NAMESPACE_URL, related).hex


def _content(read: Document) -> bytes:
    payload = read.values.get("payload", _ABSENT)
    if payload is _ABSENT:
        return b"{}"
    if not isinstance(payload, str):
        return read.written("payload")
    try:
        return payload.encode()
    except UnicodeEncodeError as error:
        raise InvalidTask("payload", "can't be sent: it holds half a surrogate pair") from error


def _due(document: Mapping[str, Any], timestamp: object, now_ms: float) -> int:
    eta = fields.number(document, "eta")
    countdown = fields.number(document, "countdown")
    if eta is not None and countdown is not None:
        raise InvalidTask("eta", f"goes without countdown, got eta {eta:.15g} and countdown {countdown:.15g}")
    if eta is not None:
        return math.ceil(eta * 1000)
    start = now_ms
    if isinstance(timestamp, int) and timestamp >= _FIRST_TIMESTAMP:
        # The timestamp has whole seconds. Its second is taken to its end, so that no task is early.
        start = min(now_ms, (timestamp + 1) * 1000)
    if not countdown:
        return math.floor(start)
    due = math.ceil(start + countdown * 1000)
    if due > fields.LAST_MILLISECOND:
        raise InvalidTask("countdown", f"must end by the year 9999, got {countdown:.15g} seconds")
    return due


def _id(value: object) -> str:
    if not isinstance(value, str) or not value:
        raise InvalidTask("message_id", f"must be a text, got {fields.shown(value)}")
    try:
        size = len(value.encode())
    except UnicodeEncodeError as error:
        raise InvalidTask("message_id", f"must be Unicode, got {fields.shown(value)}") from error
    if size > _LONGEST_ID:
        raise InvalidTask("message_id", f"must have at most {_LONGEST_ID} bytes, got {size}")
    return value


def _header_text(headers: Mapping[str, Any], name: str) -> str | None:
    value = headers.get(name)
    if value is not None and not isinstance(value, str):
        raise InvalidTask(f"header {name}", f"must be a text, got {fields.shown(value)}")
    return value


def _matching(headers: Mapping[str, Any], name: str, pattern: re.Pattern[str]) -> str | None:
    """Read an optional header that others write: what does not match counts as absent."""
    value = headers.get(name)
    return value if isinstance(value, str) and pattern.fullmatch(value) else None


def _failed(headers: Mapping[str, Any]) -> Failed | None:
    url = _header_text(headers, FAILED_URL)
    if url is None:
        return None
    return Failed(_header_text(headers, FAILED_ID) or "", url, _header_text(headers, FAILURE) or "")
