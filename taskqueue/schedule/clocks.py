"""Whose clock counts: our own where the broker's agrees with it, else the broker's. Pure.

RabbitMQ writes into a message when it left its last rung, in whole seconds of its own clock. So a message
that has just left one tells the time there. A consumer whose clock is wrong, or has jumped, would else
enqueue what is not due, or have all others wait until what is due comes by its clock.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

_SECOND = 1.0
"""The broker's time lies up to a second later than it says."""
_APART = 1.0
"""Seconds by which both clocks may differ, beyond what the message took."""
_FRESH = 30.0
"""Seconds after which what was asked for is no longer the present time."""


def broker_time(headers: Mapping[str, Any]) -> float | None:
    """Read when a message left its last rung: seconds since the epoch, by the broker's clock."""
    deaths = headers.get("x-death")
    times = [
        death["time"].timestamp()
        for death in (deaths if isinstance(deaths, list) else ())
        if isinstance(death, dict) and isinstance(death.get("time"), datetime)
    ]
    return max(times, default=None)


def present(own: float, told: float | None, asked: float | None) -> float | None:
    """Give the time that counts, None where the broker has to be asked for it.

    `told` is what the broker's clock was when the message left its last rung, and `asked` our own clock when
    we sent it to ask for that, None where it was sent to wait. All are seconds since the epoch.
    """
    if told is None:
        # What was to ask was on no rung, as that was pruned: it would come back at once again and again.
        return None if asked is None else own
    taken = 0.0 if asked is None else own - asked
    if -_APART <= own - told <= _SECOND + _APART + max(0.0, taken):
        return own
    if asked is not None and 0 <= taken <= _FRESH:
        return told
    return None
