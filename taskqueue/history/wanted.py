"""Which records are looked for, and what is shown of them: the same for the command and for the page."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import fnmatchcase

from taskqueue import events
from taskqueue.errors import ConfigError
from taskqueue.history.records import Record

COLUMNS = (
    "at", "event", "queue", "id", "attempt", "status", "ms", "url", "error", "by", "to", "next", "reason",
)  # fmt: skip
"""What is shown of a record, where it has that."""
FAILED = frozenset({events.RETRIED, events.DEAD, events.VOID})
"""The events of attempts that failed."""
SINCE = "1h"
"""What a list goes back to, where nobody says since when."""
OFF = (
    "no history is kept: set 'history = 7d' in the ini, run 'taskqueue declare', and start the consumers "
    "again"
)
NOTHING = "nothing of the kind was recorded in that time"
_AGO = re.compile(r"-?(?:\d+[dhms])+")
_UNIT = {"d": 86_400, "h": 3600, "m": 60, "s": 1}


@dataclass(frozen=True, slots=True)
class Wanted:
    """The records that are looked for. Times are in seconds since the epoch."""

    since: float
    now: float
    failed: bool = False
    """Only attempts that failed."""
    url: str | None = None
    """A pattern, such as ``https://*/invoices*``."""
    queues: frozenset[str] | None = None
    """Only of these; None is all."""

    @property
    def named(self) -> frozenset[str] | None:
        """Name the events that are looked for; None is all."""
        return FAILED if self.failed else None

    def keep(self, record: Record) -> bool:
        """Tell whether a record is one of them, whenever it was made."""
        return (
            (not self.failed or record.get("event") in FAILED)
            and (self.queues is None or record.get("queue") in self.queues)
            and (self.url is None or fnmatchcase(str(record.get("url", "")), self.url))
        )


def moment(text: str, now: float) -> float:
    """Read a time, or how long ago it was, as seconds since the epoch; raises ConfigError."""
    if _AGO.fullmatch(text):
        return now - sum(int(number) * _UNIT[unit] for number, unit in re.findall(r"(\d+)([dhms])", text))
    try:
        if re.fullmatch(r"\d{1,12}(\.\d+)?", text):
            return float(text)
        told = datetime.fromisoformat(text)
        return (told if told.tzinfo else told.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        raise ConfigError(
            "--since: must be how long ago (90m, 1h30m, 2d), or a time such as 2026-11-27T08:00Z, "
            f"got {text[:60]!r}"
        ) from None


def used(rows: Sequence[Mapping[str, object]]) -> tuple[str, ...]:
    """Name the columns in which some of the rows have something."""
    return tuple(name for name in COLUMNS if any(row.get(name) is not None for row in rows))


def lacking(dropped: int) -> str:
    """Say that something may be missing."""
    return f"{dropped} records could not be written, so something may be missing"
