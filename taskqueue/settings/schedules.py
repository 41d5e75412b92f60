"""The sections ``[schedule:NAME]``: a task that is sent again and again, by cron."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from taskqueue.errors import ConfigError
from taskqueue.settings import ini, values
from taskqueue.settings.keys import Read, read_keys

PREFIX = "schedule:"
ONCE, SKIP = "once", "skip"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,100}")
"""Part of an id, and written in logs and headers."""
_QUEUE = "default"


@dataclass(frozen=True, slots=True)
class Definition:
    """When a schedule is due, and the task that is sent then."""

    cron: str
    url: str
    timezone: str = "UTC"
    payload: str | None = field(default=None, repr=False)
    """JSON as it is written."""
    metadata: Mapping[str, Any] | None = field(default=None, hash=False, repr=False)
    max_retries: int | None = None
    roll_back: str | None = None
    missed: str = ONCE
    """What becomes of occurrences while nothing ran: they run once together, or are skipped."""


@dataclass(frozen=True, slots=True)
class ScheduleSettings:
    """One section of the ini."""

    name: str
    queue: str
    definition: Definition


def schedules(
    sections: Mapping[str, ini.Section], queues: Mapping[str, Any], source: str
) -> dict[str, ScheduleSettings]:
    """Read the sections of schedules, which `sections` has by their whole names; raises ConfigError."""
    found = {}
    for section in sections.values():
        name = section.name.removeprefix(PREFIX).strip()
        if not _NAME.fullmatch(name):
            raise ConfigError(
                f"{source}:{section.line}: [{section.name[:60]}]: a schedule's name has 1 to 100 letters, "
                "digits, dots, dashes and underscores"
            )
        try:
            found[name] = _schedule(name, section, queues, source)
        except ConfigError as error:
            place, _, rest = str(error).removeprefix(f"{source}:").partition(": ")
            raise ConfigError(f"{source}:{place}: [{section.name}] {rest}") from None
    return found


def _schedule(name: str, section: ini.Section, queues: Mapping[str, Any], source: str) -> ScheduleSettings:
    given = read_keys(section, KEYS, source)
    for key in ("cron", "url"):
        if key not in given:
            raise ConfigError(f"{source}:{section.line}: {key}: is missing")
    queue = given.pop("queue", _QUEUE)
    line = section.values["queue"].line if "queue" in section.values else section.line
    if queue not in queues:
        raise ConfigError(
            f"{source}:{line}: queue: there is no section [{queue[:60]}]; the queues are: {', '.join(queues)}"
        )
    for key in ("url", "roll_back"):
        if (given.get(key) or "").startswith("/") and queues[queue].base_url is None:
            where = f"{source}:{section.values[key].line}: {key}"
            raise ConfigError(
                f"{where}: is a path, and [{queue}] has no base_url: write a full URL, or set that"
            )
    return ScheduleSettings(name, queue, Definition(**given))


def _cron(text: str) -> str:
    # Only who has a schedule needs what reads it.
    from taskqueue.cron import expression  # noqa: PLC0415

    return expression(text)


def _zone(text: str) -> str:
    from taskqueue.cron import zone  # noqa: PLC0415

    return zone(text)


def _url(text: str) -> str:
    if not re.fullmatch(r"(?:/|https?://[^/\s])\S*", text, re.IGNORECASE):
        raise ValueError("must be a path that begins with / or an http(s) URL")
    return text


def _json(text: str) -> str:
    _loads(text)
    return text


def _object(text: str) -> Mapping[str, Any]:
    found = _loads(text)
    if not isinstance(found, dict):
        raise ValueError("must be a JSON object")  # noqa: TRY004 as of any other value
    return found


def _loads(text: str) -> Any:
    def refuse(name: str) -> None:
        raise ValueError(f"{name} is not a JSON number")

    try:
        return json.loads(text, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"must be JSON: {error}") from None


KEYS: Mapping[str, Read] = {
    "cron": _cron,
    "timezone": _zone,
    "queue": str,
    "url": _url,
    "payload": values.optional(_json),
    "metadata": values.optional(_object),
    "max_retries": values.optional(values.whole(0, 2**31 - 1)),
    "roll_back": values.optional(_url),
    "missed": values.choice(ONCE, SKIP),
}
