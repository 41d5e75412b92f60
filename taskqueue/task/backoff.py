"""How long a task waits before it runs again: pure arithmetic in seconds."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from taskqueue.settings import QueueSettings

_MOST_DOUBLINGS = 64
"""Past this many doublings any backoff stands at its maximum; more would overflow a float."""


def backoff(policy: QueueSettings, failures: int, spread: float) -> float:
    """Give the wait in seconds after so many failures in a row; the first failure is 1.

    It starts at min_backoff_seconds, doubles max_doublings times, then grows linearly up to
    max_backoff_seconds (as Cloud Tasks does: https://cloud.google.com/tasks/docs/reference/rest).
    `spread`, from -1 to 1, says where in the ±jitter this wait lies. The wait is rounded to two
    significant digits, so that it takes at most two legs of the ladder.
    """
    doublings = min(policy.max_doublings, _MOST_DOUBLINGS)
    steps = failures - 1
    if steps <= doublings:
        wait = policy.min_backoff_seconds * 2.0**steps
    else:
        wait = policy.min_backoff_seconds * 2.0**doublings * (failures - doublings)
    wait = min(wait, policy.max_backoff_seconds) * (1 + policy.jitter * spread)
    return float(f"{wait:.2g}")


def retry_after(header: str | None, policy: QueueSettings, now: float) -> float:
    """Read a Retry-After header as seconds from `now`; 0 where it is absent, past or garbage.

    Seconds or an HTTP date (RFC 9110, 10.2.3); capped at max_backoff_seconds. It is rounded up
    to two significant digits, as a receiver that asks for time must get all of it.
    """
    wait = _seconds(header, now) if header else 0.0
    if not wait > 0:
        return 0.0
    wait = min(wait, policy.max_backoff_seconds)
    unit = 10.0 ** (math.floor(math.log10(wait)) - 1)
    return math.ceil(wait / unit - 1e-9) * unit


def _seconds(header: str, now: float) -> float:
    text = header.strip()
    if text.isascii() and text.isdigit():
        return float(text[:20])
    try:
        when = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError, OverflowError):
        return 0.0
    if when.tzinfo is None:
        when = when.replace(tzinfo=UTC)
    return (when - datetime.fromtimestamp(now, UTC)).total_seconds()
