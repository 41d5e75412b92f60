"""What a message tells of its task, whatever others have written into it. Pure; nothing here raises."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from taskqueue.redact import without_login, without_logins
from taskqueue.task import decode as state
from taskqueue.task.message import Message

_STATUS = re.compile(r"\bstatus (\d{3})\b")
_EXPIRED = "its AMQP expiration was over before a consumer had it: by the broker, so no roll_back was called"


class Facts:
    """What one message tells, each read when it is asked for; None where the message does not say."""

    __slots__ = ("_dead_in", "_url", "message")

    def __init__(self, message: Message, dead_in: str | None = None) -> None:
        self.message = message
        self._dead_in = dead_in
        self._url: str | type[Facts] | None = Facts

    @property
    def id(self) -> str | None:
        """The task's id."""
        return text(self.message.properties.get("message_id"))

    @property
    def url(self) -> str | None:
        """Its url, without logins."""
        if self._url is Facts:
            self._url = url_of(self.message.body)
        return self._url  # type: ignore[return-value]  # the mark is replaced above

    @property
    def due(self) -> float | None:
        """When it is to run: seconds since the epoch."""
        return seconds(self.message.headers, state.DUE)

    @property
    def at(self) -> float | None:
        """The time that a filter goes by: when it is due, or when it died; seconds since the epoch."""
        return self.due if self._dead_in is None else self.died

    @property
    def died(self) -> float | None:
        """When it died: seconds since the epoch."""
        died = seconds(self.message.headers, state.DIED)
        time = self._broker_death.get("time") if died is None else None
        return time.timestamp() if isinstance(time, datetime) else died

    @property
    def runs(self) -> int:
        """How often it has run."""
        return whole(self.message.headers, state.RUNS) or 0

    @property
    def error(self) -> str | None:
        """Why its last run failed, without logins: others may have written it."""
        headers = self.message.headers
        told = text(headers.get(state.ERROR))
        if self._dead_in is not None:
            unseen = text(headers.get(state.REASON)) is None and self._broker_death.get("reason") == "expired"
            told = _EXPIRED if unseen else told or self.message.fault
        return None if told is None else without_logins(told)

    @property
    def status(self) -> int | None:
        """The HTTP status with which its last run failed."""
        found = _STATUS.search(text(self.message.headers.get(state.ERROR)) or "")
        return int(found[1]) if found else None

    @property
    def reason(self) -> str:
        """Why it is dead."""
        told = text(self.message.headers.get(state.REASON)) or text(self._broker_death.get("reason"))
        return told or "unknown"

    @property
    def _broker_death(self) -> Mapping[str, Any]:
        """The broker's own record of a death in the work queue (most recent first).

        ``x-first-death-reason`` is of no use: for a task that was on a ladder it tells of the ladder.
        """
        deaths = self.message.headers.get("x-death")
        for death in deaths if isinstance(deaths, list) else ():
            if isinstance(death, dict) and death.get("queue") == self._dead_in:
                return death
        return {}


def url_of(body: bytes) -> str | None:
    """Read the url from a body, without logins; None where there is no url."""
    try:
        # As int refuses what has more than 4,300 digits.
        document = json.loads(body, parse_int=float)
    except (ValueError, RecursionError):
        return None
    url = text(document.get("url")) if isinstance(document, dict) else None
    return None if url is None else without_login(url)


def text(value: object) -> str | None:
    """Read a text that others may have written: what is not Unicode is escaped. Other values give None."""
    if isinstance(value, str):
        # JSON can spell half of a surrogate pair, which nothing can print.
        return value if value.isascii() else value.encode(errors="backslashreplace").decode()
    return value.decode(errors="backslashreplace") if isinstance(value, bytes) else None


def whole(headers: Mapping[str, Any], name: str) -> int | None:
    """Read a whole number ≥ 0 from a header that others may have written; None for anything else."""
    value = headers.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def seconds(headers: Mapping[str, Any], name: str) -> float | None:
    """Read a time in milliseconds from a header as seconds; None where it is none."""
    milliseconds = whole(headers, name)
    try:
        return None if milliseconds is None else milliseconds / 1000
    except OverflowError:
        return None


def moment(seconds: float | None) -> str | None:
    """Write a time (seconds since the epoch) as ISO 8601 in UTC, to the millisecond; None stays None."""
    if seconds is None:
        return None
    try:
        time = datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"
    return time.isoformat(timespec="milliseconds").replace("+00:00", "Z")
