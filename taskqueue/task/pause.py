"""Who has paused a queue, and why: as a message, which anybody may have written."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from taskqueue.task.message import Message

_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Pause:
    """Who has paused a queue, and why; None where that is not known. Times are seconds since the epoch."""

    by: str | None = None
    reason: str | None = None
    since: float | None = None
    until: float | None = None
    """When it ends by itself; None where only `resume` ends it."""


def note(pause: Pause) -> Message:
    """Write it."""
    return Message(json.dumps(asdict(pause)).encode())


def noted(message: Message | None) -> Pause:
    """Read it; never raises, and what is not there or of another type is None."""
    try:
        found: Any = json.loads(message.body) if message else {}
    except ValueError:
        found = {}
    fields = found if isinstance(found, Mapping) else {}
    return Pause(
        _text(fields.get("by")),
        _text(fields.get("reason")),
        _time(fields.get("since")),
        _time(fields.get("until")),
    )


def said(pause: Pause) -> str:
    """Say who has paused a queue and why, as far as that is known: `` by ann since … until … (deploy)``."""
    by = f" by {pause.by}" if pause.by else ""
    since = f" since {_moment(pause.since)}" if pause.since is not None else ""
    until = f" until {_moment(pause.until)}" if pause.until is not None else ""
    return f"{by}{since}{until}{f' ({pause.reason})' if pause.reason else ''}"


def _moment(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    except (ValueError, OverflowError, OSError):
        return f"{seconds:.0f}"


def _text(value: object) -> str | None:
    return value[:_LONGEST] if isinstance(value, str) and value else None


def _time(value: object) -> float | None:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if number and abs(value) < math.inf else None  # type: ignore[arg-type]
