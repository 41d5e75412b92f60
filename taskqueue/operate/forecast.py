"""What comes due against what is run: how late tasks will be at least. Pure: `now` is no part of it.

Nobody knows what will be sent meanwhile, and a count tells only when a task is due at the latest. So what is
told here is a bound: tasks will be late by this, or by more.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime

from taskqueue.durations import duration
from taskqueue.operate.due import DAY, HOUR, Due, Span

_WORTH_TELLING = 60.0
"""Seconds of lateness below which nothing is said: rates are means over half a minute."""
RATED = 10.0
"""A second, from which on no part of one is told."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """What the next hours bring, as far as counts tell."""

    hour: int
    """How many tasks run within the hour at the least: what is ready, and what is due by then."""
    per_second: float | None
    """How many are run; None where nothing tells."""
    by_rate: bool
    """Whether `rate` of the ini bounds it, and no measured figure."""
    late: float | None
    """By how many seconds tasks will be late at least; None where that can't be told, or they are not."""
    at: float | None
    """When that is so, in seconds from now."""


def forecast(
    ready: int | None, due: Due | None, *, settled: float | None, limit: float | None
) -> Forecast | None:
    """Tell what comes; None where a count is not known.

    `settled` is how many tasks a second are settled now. It tells how many can be only while some are ready:
    else they are as many as come. `limit` is the `rate` of the ini, in runs a second.
    """
    within = due.between(0, HOUR) if due is not None else 0
    if ready is None or within is None:
        return None
    measured = settled if ready and settled else None
    rates = [each for each in (measured, limit) if each is not None]
    per_second = min(rates) if rates else None
    late, at = (None, None) if per_second is None else _late(ready, due, per_second)
    return Forecast(
        hour=ready + within,
        per_second=per_second,
        by_rate=per_second is not None and per_second == limit,
        late=late,
        at=at,
    )


def _late(ready: int, due: Due | None, per_second: float) -> tuple[float | None, float | None]:
    """Find when what is due by then exceeds most what can be run by then."""
    worst, at = ready / per_second, 0.0
    arrived = ready
    for span in due.spans if due is not None else ():
        if span.count is None or math.isinf(span.within) or span.within > DAY:
            break
        arrived += span.count
        late = arrived / per_second - span.within
        if span.count and late > worst:
            worst, at = late, span.within
    return (worst, at) if worst >= _WORTH_TELLING else (None, None)


def told(found: Forecast, now: float) -> str | None:
    """Write it in a sentence; None where there is nothing to tell. `now` is in seconds since the epoch."""
    if not found.hour and found.late is None:
        return None
    line = f"{found.hour:,} or more are due within the hour"
    if found.per_second is None:
        return line
    rate = _rate(found.per_second)
    line = f"{line}; {f'rate allows {rate}' if found.by_rate else f'{rate} are settled now'}"
    if found.late is None or found.at is None:
        return line
    when = "now" if not found.at else f"by {clock(now + found.at, now)}"
    return f"{line}: {duration(found.late)} late {when}, or more"


def clock(at: float, now: float) -> str:
    """Write a time of day in UTC, with the date where it is over a day away."""
    moment = datetime.fromtimestamp(at, UTC)
    return moment.strftime("%H:%M:%SZ" if at - now <= DAY else "%Y-%m-%d %H:%MZ")


def by(span: Span, now: float) -> str:
    """Write when a span ends; nothing where that is not known."""
    return "" if math.isinf(span.within) else clock(now + span.within, now)


def _rate(per_second: float) -> str:
    return f"{per_second:,.0f}/s" if per_second >= RATED else f"{per_second * HOUR:,.0f}/h"
