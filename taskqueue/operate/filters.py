"""Which tasks a command is about: one way to name them for what waits, is ready, or is dead. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from fnmatch import translate
from typing import Protocol

from taskqueue.errors import ConfigError
from taskqueue.settings.values import statuses

_RELATIVE = re.compile(r"(?P<sign>[+-])(?P<number>\d+(?:\.\d+)?)(?P<unit>ms|s|min|m|h|d|w)?", re.ASCII)
_UNITS = {None: 1, "ms": 0.001, "s": 1, "m": 60, "min": 60, "h": 3600, "d": 86_400, "w": 7 * 86_400}
_POSIX = re.compile(r"\d+(?:\.\d+)?", re.ASCII)
_RUNS = re.compile(r"(?P<least>\d{1,9})(?P<more>\+?)", re.ASCII)
_RATE = re.compile(r"(?P<count>\d+(?:\.\d+)?)/(?P<unit>s|m|h)", re.ASCII)
_FAR = 253_402_300_800.0
"""The end of the year 9999, POSIX seconds."""


class Known(Protocol):
    """What is known of a task."""

    @property
    def id(self) -> str | None:
        """Its id."""

    @property
    def url(self) -> str | None:
        """Its url."""

    @property
    def at(self) -> float | None:
        """When it is due, or died: seconds since the epoch."""

    @property
    def reason(self) -> str:
        """Why it is dead."""

    @property
    def status(self) -> int | None:
        """The HTTP status with which its last run failed."""

    @property
    def runs(self) -> int:
        """How often it has run."""


@dataclass(frozen=True, slots=True)
class Filter:
    """A choice of tasks: each condition that is given must hold."""

    ids: frozenset[str] | None = None
    url: re.Pattern[str] | None = None
    after: float | None = None
    """Due, or dead, at this time or later: seconds since the epoch."""
    before: float | None = None
    """Due, or dead, before this time: seconds since the epoch."""
    reason: str | None = None
    statuses: frozenset[int] | None = None
    runs: range | None = None

    def covers(self, task: Known) -> bool:
        """Tell whether a task is chosen. What does not say what is asked for is not."""
        if self.ids is not None and task.id not in self.ids:
            return False
        if self.after is not None or self.before is not None:
            at = task.at
            if at is None or at < (self.after or 0) or at >= (_FAR if self.before is None else self.before):
                return False
        if self.reason is not None and task.reason != self.reason:
            return False
        if self.statuses is not None and task.status not in self.statuses:
            return False
        if self.runs is not None and task.runs not in self.runs:
            return False
        # Last, as the body has to be read for it.
        return self.url is None or (task.url is not None and self.url.fullmatch(task.url) is not None)


def read(
    *,
    now: float,
    ids: Iterable[str] = (),
    url: str | None = None,
    after: str | None = None,
    before: str | None = None,
    reason: str | None = None,
    status: str | None = None,
    runs: str | None = None,
) -> Filter | None:
    """Read the conditions that were given, None where there is none. Raises ConfigError that says what is.

    `now` is in seconds since the epoch.
    """
    named = frozenset(ids)
    if not named and all(each is None for each in (url, after, before, reason, status, runs)):
        return None
    return Filter(
        ids=named or None,
        url=None if url is None else re.compile(translate(url)),
        after=None if after is None else moment(after, now=now),
        before=None if before is None else moment(before, now=now),
        reason=reason,
        statuses=None if status is None else _statuses(status),
        runs=None if runs is None else _runs(runs),
    )


def moment(given: str, *, now: float) -> float:
    """Read a time as seconds since the epoch: ``+10m`` and ``-1h`` from `now`, ISO 8601, or POSIX seconds.

    Raises ConfigError. An ISO time without a zone is UTC, as all times are that commands print.
    """
    if found := _RELATIVE.fullmatch(given):
        length = float(found["number"]) * _UNITS[found["unit"]]
        at = now + length if found["sign"] == "+" else now - length
    elif _POSIX.fullmatch(given):
        at = float(given)
    else:
        try:
            read = datetime.fromisoformat(given)
        except ValueError:
            raise ConfigError(
                f"{given!r} is no time: write +10m or -1h, 2026-11-27T01:30:00Z, or POSIX seconds"
            ) from None
        at = (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    if not 0 <= at < _FAR:
        raise ConfigError(f"{given!r} is no time from 1970 to 9999")
    return at


def interval(given: str) -> float:
    """Read a rate (``5/s``, ``10/m``, ``1/h``) as the seconds between two; raises ConfigError."""
    found = _RATE.fullmatch(given)
    if found is None or float(found["count"]) == 0:
        raise ConfigError(f"{given!r} is no rate: write 5/s, 10/m or 1/h")
    return _UNITS[found["unit"]] / float(found["count"])


def _statuses(given: str) -> frozenset[int]:
    try:
        return statuses(given)
    except ValueError as error:
        raise ConfigError(f"--status {error}, got {given!r}") from error


def _runs(given: str) -> range:
    found = _RUNS.fullmatch(given)
    if found is None:
        raise ConfigError(f"--runs must be a number such as 3, or 3+ for 3 and more, got {given!r}")
    least = int(found["least"])
    return range(least, 2**62 if found["more"] else least + 1)
