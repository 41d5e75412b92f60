"""The values of taskqueue.ini: each reader takes the text and returns the value, or raises ValueError.

The error's text says what is allowed.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import TypeVar

_RATE = re.compile(r"([0-9]{1,7})\s*/\s*([smh])")
_PERIOD = {"s": 1, "m": 60, "h": 3600}
_TICKS = tuple(map(Decimal, ("0.001", "0.01", "0.1", "1", "10")))
LONGEST_NAME = 200
"""Most bytes of a queue's name: AMQP allows 255 in a routing key, which holds more than the name."""
_MOST_RUNS = 1_000_000
_NUMBER = re.compile(r"[0-9.]+(e[+-]?[0-9]{1,3})?", re.IGNORECASE)
_STATUS = re.compile(r"([0-9])xx|([0-9]{3})(?:\s*-\s*([0-9]{3}))?", re.IGNORECASE)
_STATUSES = range(100, 600)
_AGE = re.compile(r"([0-9]{1,6})\s*([mhd])")
_AGES = {"m": 60, "h": 3600, "d": 86_400}
_SIZE = re.compile(r"([0-9]{1,6})\s*([MGT])B?", re.IGNORECASE)
_SIZES = {"M": 10**6, "G": 10**9, "T": 10**12}
_LEAST_SIZE, _LARGEST_SIZE = 10 * 10**6, 100 * 10**12
_LONGEST_AGE = 3650 * 86_400
_YES = frozenset({"yes", "true", "on", "1"})
_NO = frozenset({"no", "false", "off", "0"})
_HANDLER = re.compile(r"[\w.:-]+")
Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` runs per `seconds`."""

    count: int
    seconds: int

    @property
    def per_second(self) -> float:
        """The same as runs a second."""
        return self.count / self.seconds


def whole(low: int, high: int) -> Callable[[str], int]:
    """Read a whole number in a range."""

    def read(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def unlimited(read: Callable[[str], int], most: Value) -> Callable[[str], int | Value]:
    """Read a number, or -1 for `most`: so have files of the Go taskqueue a limit that there is not."""
    return lambda text: most if text == "-1" else read(text)


def number(low: float, high: float, *, unit: str = " seconds") -> Callable[[str], float]:
    """Read a number in a range."""

    def read(text: str) -> float:
        try:
            value = float(text) if _NUMBER.fullmatch(text) else math.nan
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"must be a number from {low:.15g} to {high:.15g}{unit}")
        return value

    return read


def optional(read: Callable[[str], Value]) -> Callable[[str], Value | None]:
    """Read an empty value as None."""
    return lambda text: read(text) if text else None


def listed(read: Callable[[str], Value]) -> Callable[[str], tuple[Value, ...]]:
    """Read values with commas between. An empty text holds none."""
    return lambda text: tuple(read(part.strip()) for part in text.split(",")) if text else ()


def some(read: Callable[[str], Value]) -> Callable[[str], Value]:
    """Refuse an empty value."""

    def nonempty(text: str) -> Value:
        if not text:
            raise ValueError("must not be empty: leave the key out for its default")
        return read(text)

    return nonempty


def choice(*allowed: str) -> Callable[[str], str]:
    """Read one of a few words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be {' or '.join(allowed)}")
        return text

    return read


def yes_no(text: str) -> bool:
    """Read yes or no."""
    word = text.lower()
    if word not in _YES | _NO:
        raise ValueError("must be yes or no")
    return word in _YES


def on_off(text: str) -> bool:
    """Read on or off."""
    word = text.lower()
    if word not in {"on", "off"}:
        raise ValueError("must be on or off")
    return word == "on"


def resolution(text: str) -> Decimal:
    """Read the length of a tick: a power of ten, so that all ladders are windows of one decimal ladder."""
    try:
        value = Decimal(text) if _NUMBER.fullmatch(text) else None
    except InvalidOperation:
        value = None
    if value not in _TICKS:
        raise ValueError(f"must be one of {', '.join(map(str, _TICKS))} (seconds)")
    return _TICKS[_TICKS.index(value)]


def ladder(text: str) -> str:
    """Read the name of a ladder. An empty value is the queue's own ladder."""
    if not text.isprintable() or len(text.encode()) > LONGEST_NAME:
        raise ValueError(f"must be a name of at most {LONGEST_NAME} bytes, all printable, or empty")
    return text


def rate(text: str) -> Rate:
    """Read a rate such as ``50/s``."""
    found = _RATE.fullmatch(text)
    if found is None or not 1 <= int(found[1]) <= _MOST_RUNS:
        raise ValueError(f"must be like 50/s, 10/m or 1/h (up to {_MOST_RUNS}), or empty for none")
    return Rate(int(found[1]), _PERIOD[found[2]])


def age(text: str) -> int:
    """Read how long something is kept, such as ``7d``, as seconds."""
    found = _AGE.fullmatch(text)
    seconds = int(found[1]) * _AGES[found[2]] if found else 0
    if not 0 < seconds <= _LONGEST_AGE:
        raise ValueError("must be like 90m, 12h or 7d (up to 3650d), or empty for none")
    return seconds


def size(text: str) -> int:
    """Read a number of bytes such as ``500M``."""
    found = _SIZE.fullmatch(text)
    if found is None or not _LEAST_SIZE <= int(found[1]) * _SIZES[found[2].upper()] <= _LARGEST_SIZE:
        raise ValueError("must be like 500M, 2G or 1T (from 10M to 100T)")
    return int(found[1]) * _SIZES[found[2].upper()]


def statuses(text: str) -> frozenset[int]:
    """Read HTTP statuses: ``200``, ``2xx``, ``200-204``, and lists of these."""
    every: set[int] = set()
    for part in listed(str)(text):
        found = _STATUS.fullmatch(part)
        if found is None:
            raise ValueError("must be statuses such as 200, 2xx, 200-204, with commas between")
        if found[1]:
            low, high = int(found[1]) * 100, int(found[1]) * 100 + 99
        else:
            low, high = int(found[2]), int(found[3] or found[2])
        if low not in _STATUSES or high not in _STATUSES or low > high:
            raise ValueError("must be statuses from 100 to 599")
        every.update(range(low, high + 1))
    return frozenset(every)


def handler(text: str) -> str:
    """Read the name of a request handler."""
    if not _HANDLER.fullmatch(text):
        raise ValueError("must be names such as headers or mycompany.auth:Handler, with commas between")
    return text


def secret(text: str) -> str:
    """Read one of several secrets."""
    if not text:
        raise ValueError("must be secrets with commas between")
    return text


def token(text: str) -> str:
    """Read a bearer token (RFC 6750, 2.1)."""
    if not re.fullmatch(r"[A-Za-z0-9._~+/-]+=*", text):
        raise ValueError("must be a token of letters, digits and . _ ~ + / - =")
    return text


def login(text: str) -> str:
    """Read ``user:password`` (RFC 7617, 2)."""
    if ":" not in text or not text.isprintable():
        raise ValueError("must be user:password")
    return text
