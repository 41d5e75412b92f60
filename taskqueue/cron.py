"""When a cron expression is due. Pure: instants are whole seconds since the epoch, no clock is asked.

Summer time is treated by cronsim, as Debian's cron does. A time of day that is left out comes at the end of
the gap. One that is there twice comes the first time; where minute or hour begins with a star, both times.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

NAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_FIELDS = 5
_ALLOWED = f"must be five fields (minute, hour, day, month, weekday) or one of {', '.join(NAMES)}"


def expression(text: str) -> str:
    """Check a cron expression, and give it as it is written; raises ValueError that says what is allowed."""
    fields = text.split()
    if text.startswith("@") and text not in NAMES:
        raise ValueError(_ALLOWED)
    if not text.startswith("@") and len(fields) != _FIELDS:
        raise ValueError(_ALLOWED)
    try:
        found = next(Cron(text, "UTC").after(0), None)
    except (CronSimError, AssertionError, ValueError) as error:
        said = str(error).lower() or "can't be read"
        raise ValueError(f"{said}: {_ALLOWED}") from None
    if found is None:
        raise ValueError("never comes, as no date has all of it")
    return text


def zone(text: str) -> str:
    """Check the name of a time zone; raises ValueError that says what is allowed."""
    try:
        _zone(text)
    except (ValueError, LookupError, OSError):
        raise ValueError("must be a time zone of the IANA database, such as Europe/Berlin or UTC") from None
    return text


class Cron:
    """A cron expression in a time zone. One with six fields has seconds in front.

    Raises CronSimError for what is no expression, ZoneInfoNotFoundError for a zone that this machine lacks.
    """

    __slots__ = ("_expression", "_zone")

    def __init__(self, text: str, zone_name: str) -> None:
        self._expression = NAMES.get(text, text)
        self._zone = _zone(zone_name)
        CronSim(self._expression, datetime(2000, 1, 1, tzinfo=UTC))

    def after(self, instant: float) -> Iterator[int]:
        """Yield the instants later than this one, the earliest first; it ends where 50 years have none."""
        last = int(instant // 1)
        for found in CronSim(self._expression, datetime.fromtimestamp(last, self._zone)):
            at = int(found.timestamp())
            # In the hour that comes twice the clock on the wall goes back, and instants do not.
            if at > last:
                yield at
                last = at


@lru_cache(maxsize=256)
def cron(text: str, zone_name: str) -> Cron:
    """Give the same `Cron` for the same expression and zone."""
    return Cron(text, zone_name)


def moment(instant: float) -> str:
    """Write an instant as the ids of occurrences have it: ``2026-11-27T01:30:00Z``."""
    return datetime.fromtimestamp(instant, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)
