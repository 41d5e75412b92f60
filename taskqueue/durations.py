"""Lengths of time, as people write them."""

from __future__ import annotations

_MINUTE, _HOUR, _DAY, _YEAR = 60, 3600, 86_400, 365 * 86_400
_UNITS = ((_DAY, "d", _HOUR, "h"), (_HOUR, "h", _MINUTE, "min"), (_MINUTE, "min", 1, "s"))
_TENTHS_BELOW = 9.95
_MOST_YEARS = 1000


def duration(seconds: float) -> str:
    """Write a length of time with two units at most: ``0.3 s``, ``4 h 12 min``."""
    if seconds < _TENTHS_BELOW:
        return f"{max(0.0, seconds):.1f} s"
    if seconds >= _MOST_YEARS * _YEAR:
        return f"over {_MOST_YEARS} years"
    whole = round(seconds)
    if whole >= _YEAR:
        years = whole // _YEAR
        return f"{years} years" if years > 1 else "1 year"
    for length, name, smaller, smaller_name in _UNITS:
        if whole >= length:
            rest = whole % length // smaller
            return f"{whole // length} {name} {rest} {smaller_name}" if rest else f"{whole // length} {name}"
    return f"{whole} s"
