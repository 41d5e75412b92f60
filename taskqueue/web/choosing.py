"""Which tasks a form or an address is about, by the same conditions as on the command line. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from taskqueue.errors import ConfigError
from taskqueue.operate import filters
from taskqueue.operate.filters import Filter

PLACES = {"waiting": "Waiting", "ready": "Ready", "dead": "Dead"}
CONDITIONS = ("ids", "url", "after", "before", "reason", "status", "runs")
"""The fields that name tasks; the reason is for dead ones."""
LIMIT, _MOST = 100, 1000


def conditions(fields: Mapping[str, str]) -> dict[str, str]:
    """Give the conditions of a form that are not empty."""
    return {name: fields[name].strip() for name in CONDITIONS if fields.get(name, "").strip()}


def chosen(fields: Mapping[str, str], *, now: float) -> Filter | None:
    """Read the conditions, None where there is none; raises ConfigError. `now` is seconds since the epoch.

    `ids` is a list that people write, `id` the very id of one task: it may hold blanks and ends of lines.
    """
    given = conditions(fields)
    ids = [each.strip() for each in given.pop("ids", "").splitlines() if each.strip()]
    ids += [fields["id"]] if fields.get("id") else []
    try:
        return filters.read(now=now, ids=ids, **given)
    except ConfigError as error:
        raise ConfigError(str(error).removeprefix("--")) from error


def required(fields: Mapping[str, str], *, now: float) -> Filter:
    """Give the tasks that something is to be done with; raises ConfigError where nobody has said which."""
    found, every = chosen(fields, now=now), fields.get("every") == "yes"
    if found is not None and every:
        raise ConfigError("give either conditions or all of them")
    if found is None and not every:
        raise ConfigError("which tasks? give a condition, or say that it is all of them")
    return found or Filter()


def limit(fields: Mapping[str, str]) -> int:
    """Read how many tasks a list has at most; raises ConfigError."""
    given = fields.get("limit", "").strip() or str(LIMIT)
    if not given.isascii() or not given.isdigit() or not 1 <= int(given[:9]) <= _MOST:
        raise ConfigError(f"limit: must be a number from 1 to {_MOST}, got {given[:60]!r}")
    return int(given)
