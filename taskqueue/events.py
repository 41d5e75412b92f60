"""What happens to tasks, each as one value: text line, JSON line and counts follow from it."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from taskqueue.redact import begun, redacted

log = logging.getLogger(__name__)

DONE, RETRIED, DEAD, VOID = "done", "retried", "dead", "void"
POSTPONED, WAITING, MOVED = "postponed", "waiting", "moved"
ROLLED_BACK, SENT = "rolled_back", "sent"
CANCELLED, DELETED, HASTENED = "cancelled", "deleted", "hastened"
REPLAYED, PURGED, PAUSED, RESUMED = "replayed", "purged", "paused", "resumed"
LEVELS = {
    DONE: logging.INFO,
    RETRIED: logging.INFO,
    # Somebody has to see why, and replay it or not.
    DEAD: logging.ERROR,
    VOID: logging.INFO,
    # A task that has to wait for its turn may have many of these.
    POSTPONED: logging.DEBUG,
    WAITING: logging.DEBUG,
    MOVED: logging.INFO,
    ROLLED_BACK: logging.INFO,
    SENT: logging.INFO,
    **dict.fromkeys((CANCELLED, DELETED, HASTENED, REPLAYED, PURGED, PAUSED, RESUMED), logging.INFO),
}
"""Every event, and the level of its line."""
KEYS = (
    "event", "id", "queue", "attempt", "url", "status", "ms", "late_ms", "next", "to", "by", "reason",
    "error", "traceparent",
)  # fmt: skip
"""The keys of a line, in their order; a key without a value is left out."""
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Event:
    """Something that has happened to a task, or to a queue where it has no id."""

    event: str
    """One of `LEVELS`."""
    queue: str
    id: str | None = None
    attempt: int | None = None
    """How many attempts the task has had, with this one."""
    url: str | None = field(default=None, repr=False)
    """With its query; the line has no query and no login of it."""
    status: int | None = None
    """The status of the answer, None where none came or no request was made."""
    seconds: float | None = None
    """How long the attempt took; None where none was made."""
    lateness: float | None = None
    """Seconds from the due time to the begin of the attempt."""
    next: float | None = None
    """When the task comes next: seconds since the epoch."""
    to: str | None = None
    """The queue that it was moved to."""
    reason: str | None = None
    """Why it is dead, or waits for its turn, in one word."""
    error: str | None = None
    traceparent: str | None = None
    by: str | None = None
    """Who did it, where an operator did."""

    def __str__(self) -> str:
        """Write it as ``key=value`` pairs; a value with spaces, quotes or = in it is a JSON string."""
        return " ".join(f"{key}={_plain(value)}" for key, value in fields(self).items())


class Events:
    """Tells what happens to tasks: to the log, and to whom it concerns.

    Without `log_success` nothing is written about a success.
    """

    def __init__(self, *listeners: Callable[[Event], None], log_success: bool = True) -> None:
        self._listeners = listeners
        self._unwritten = None if log_success else DONE

    def hears(self, event: str) -> bool:
        """Tell whether anybody wants to know of such an event: there are thousands of successes a second."""
        return bool(self._listeners) or (event != self._unwritten and log.isEnabledFor(LEVELS[event]))

    def tell(self, event: Event) -> None:
        """Tell it once."""
        for listener in self._listeners:
            listener(event)
        if event.event != self._unwritten:
            write(event)


def write(event: Event) -> None:
    """Write the line of an event."""
    level = LEVELS[event.event]
    if log.isEnabledFor(level):
        # Not by log.log, which looks up the line of code that calls it: this one, each time.
        record = log.makeRecord(log.name, level, __file__, 0, event, (), None)
        log.handle(record)


def fields(event: Event) -> dict[str, Any]:
    """Give the keys and values of an event's line, those without a value left out."""
    line: dict[str, Any] = {"event": event.event}
    if event.id is not None:
        line["id"] = event.id
    line["queue"] = event.queue
    if event.attempt is not None:
        line["attempt"] = event.attempt
    if event.url is not None:
        line["url"] = bare(event.url)
    if event.status is not None:
        line["status"] = event.status
    if event.seconds is not None:
        line["ms"] = round(event.seconds * 1000)
    if event.lateness is not None:
        line["late_ms"] = round(event.lateness * 1000)
    if event.next is not None:
        line["next"] = timestamp(event.next)
    for key, value in (
        ("to", event.to), ("by", event.by), ("reason", event.reason), ("error", event.error),
        ("traceparent", event.traceparent),
    ):  # fmt: skip
        if value is not None:
            line[key] = begun(value, _LONGEST)
    return line


def summary(event: Event) -> str:
    """Write an event as a short sentence, for programs that show one field of a line."""
    name = event.id or ("?" if event.by is None else "")
    what = f"{event.queue} {name}".rstrip() + f": {event.event}"
    if event.by is not None:
        what += f" by {begun(event.by, _LONGEST)}"
    return f"{what}, {begun(event.error, _LONGEST)}" if event.error is not None else what


def bare(url: str) -> str:
    """Write a URL without login, query and fragment."""
    if "@" in url or "?" in url or "#" in url:
        url = redacted(url).removesuffix("?…")
    return url[:_LONGEST]


def timestamp(seconds: float) -> str:
    """Write a time as every line of the log has it; a task may be due in a year that has no name."""
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.15g}"


def _plain(value: object) -> str:
    written = str(value)
    if not written or " " in written or '"' in written or "=" in written:
        return json.dumps(written, ensure_ascii=False)
    return written
