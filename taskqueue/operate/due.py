"""When the waiting tasks come due, as far as counts can tell. Pure.

A count says on which rung a task stands, and not since when. A task walks its longest leg first, and no leg
twice. So it is due between now and the length of its rung with all shorter legs: that end is certain, and
nothing more is.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise

from taskqueue.durations import duration

_ENDLESS_MS = 2**62
MINUTE, HOUR, DAY = 60, 3600, 86_400
EDGES = (10, MINUTE, 10 * MINUTE, HOUR, 6 * HOUR, DAY, 7 * DAY)
"""The ends of the bars, in seconds from now."""


@dataclass(frozen=True, slots=True)
class Span:
    """Tasks that are due between now and `within` seconds from now, at the latest."""

    within: float
    """Endless for the longest rung, as what is due later than the ladder is long goes round on it."""
    count: int | None
    """None where a rung's count is not known."""

    @property
    def end(self) -> str:
        """When they are due at the latest, in words."""
        if math.isinf(self.within):
            return "any time"
        return f"in {duration(round(self.within))}".replace(".0", "")


@dataclass(frozen=True, slots=True)
class Due:
    """Waiting tasks by when they are due at the latest; each may be due sooner."""

    spans: tuple[Span, ...]
    """What is due soonest comes first; no two have the same end."""

    @property
    def minute(self) -> int | None:
        """How many are due within a minute, whatever they have waited so far."""
        return self.between(0, MINUTE)

    @property
    def hour(self) -> int | None:
        """How many are due within an hour and maybe not within a minute."""
        return self.between(MINUTE, HOUR)

    @property
    def later(self) -> int | None:
        """How many are maybe not due within an hour."""
        return self.between(HOUR, math.inf)

    @property
    def total(self) -> int | None:
        """How many there are."""
        return self.between(0, math.inf)

    def between(self, after: float, until: float) -> int | None:
        """Count what is due `until` seconds from now at the latest, and maybe not by `after`."""
        counts = [span.count for span in self.spans if after < span.within <= until]
        return None if None in counts else sum(filter(None, counts))

    def bars(self) -> tuple[Span, ...]:
        """Sum the spans by the `EDGES`."""
        edges = (0, *EDGES, math.inf)
        return tuple(Span(end, self.between(start, end)) for start, end in pairwise(edges))


def due(found: Iterable[tuple[float, int | None]]) -> Due | None:
    """Sum counts of rungs, each with the milliseconds within which its tasks are due; None for no rung."""
    sums: dict[float, int | None] = {}
    for within_ms, count in found:
        known = sums.setdefault(within_ms, 0)
        sums[within_ms] = None if known is None or count is None else known + count
    ends = {each: math.inf if each >= _ENDLESS_MS else each / 1000 for each in sorted(sums)}
    return Due(tuple(Span(end, sums[each]) for each, end in ends.items())) if sums else None


def joined(every: Iterable[Due | None]) -> Due | None:
    """Put together what waits on several ladders; None where nothing is known of any."""
    return due((span.within * 1000, span.count) for each in every if each is not None for span in each.spans)


def document(found: Due | None) -> Mapping[str, object]:
    """Give it for JSON: an end that is not known is null."""
    if found is None:
        return {"minute": None, "hour": None, "later": None, "spans": None}
    return {
        "minute": found.minute,
        "hour": found.hour,
        "later": found.later,
        "spans": [
            {"from": 0, "to": None if math.isinf(span.within) else span.within, "count": span.count}
            for span in found.spans
            if span.count != 0
        ],
    }
