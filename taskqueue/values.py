"""The values of taskqueue.ini: each reader takes the text and returns the value, or raises ValueError.

The error's text says what is allowed.
"""

from __future__ import annotations

import ipaddress
import math
import re
from collections.abc import Callable
from decimal import Decimal, InvalidOperation
from typing import TypeVar
from urllib.parse import urlsplit

_RATE = re.compile(r"(\d+)\s*/\s*([smh])")
_PERIOD = {"s": 1, "m": 60, "h": 3600}
_STATUS = re.compile(r"(\d)xx|(\d{3})(?:\s*-\s*(\d{3}))?", re.IGNORECASE)
_STATUSES = range(100, 600)
_HOST_PATTERN = re.compile(r"(\*\.)?[^\s*/@:]+|\*|\[?[0-9A-Fa-f:]+\]?")
_HANDLER = re.compile(r"[\w.:-]+")
Value = TypeVar("Value")


def whole(low: int, high: int) -> Callable[[str], int]:
    """Read a whole number in a range."""

    def read(text: str) -> int:
        if not re.fullmatch(r"\d{1,18}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return read


def number(low: float, high: float, *, unit: str = " seconds") -> Callable[[str], float]:
    """Read a number in a range."""

    def read(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        if not low <= value <= high:
            raise ValueError(f"must be a number from {low:g} to {high:g}{unit}")
        return value

    return read


def optional(read: Callable[[str], Value]) -> Callable[[str], Value | None]:
    """Take an empty value for none."""
    return lambda text: read(text) if text else None


def listed(read: Callable[[str], Value]) -> Callable[[str], tuple[Value, ...]]:
    """Read values with commas between; none where it is empty."""
    return lambda text: tuple(read(part.strip()) for part in text.split(",")) if text else ()


def choice(*allowed: str) -> Callable[[str], str]:
    """Read one of a few words."""

    def read(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be {' or '.join(allowed)}")
        return text

    return read


def yes_no(text: str) -> bool:
    """Read yes or no."""
    words = {"yes": True, "true": True, "on": True, "1": True, "no": False, "false": False, "off": False, "0": False}
    if text.lower() not in words:
        raise ValueError("must be yes or no")
    return words[text.lower()]


def resolution(text: str) -> Decimal:
    """Read the length of a tick: whole milliseconds."""
    allowed = "must be from 0.001 to 60 seconds, in whole milliseconds"
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ValueError(allowed) from error
    if not value.is_finite() or not Decimal("0.001") <= value <= 60 or value * 1000 % 1:  # noqa: PLR2004
        raise ValueError(allowed)
    return value


def rate(text: str) -> tuple[int, int]:
    """Read a rate such as ``50/s`` as a count and its seconds."""
    found = _RATE.fullmatch(text)
    if found is None or not int(found[1]):
        raise ValueError("must be like 50/s, 10/m or 1/h, or empty for none")
    return int(found[1]), _PERIOD[found[2]]


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


def url(*schemes: str) -> Callable[[str], str]:
    """Read a URL of one of these schemes."""

    def read(text: str) -> str:
        allowed = f"must be a URL {' or '.join(f'{scheme}://host' for scheme in schemes)}"
        try:
            parts = urlsplit(text)
            host, port = parts.hostname, parts.port
        except ValueError:
            # Its text may quote the URL, and with it a password.
            raise ValueError(allowed) from None
        if parts.scheme not in schemes or not host or port == 0 or re.search(r"\s", text):
            raise ValueError(allowed)
        return text

    return read


def address(text: str) -> str:
    """Read ``host:port`` or ``:port``."""
    _, colon, port = text.rpartition(":")
    if not colon or not re.fullmatch(r"\d{1,5}", port) or int(port) > 65_535:  # noqa: PLR2004
        raise ValueError("must be host:port or :port")
    return text


def host_pattern(text: str) -> str:
    """Read a host name, or ``*.`` before one."""
    if not _HOST_PATTERN.fullmatch(text):
        raise ValueError("must be host names such as example.com or *.example.com, with commas between")
    return text.lower()


def network(text: str) -> str:
    """Read a network such as ``10.0.0.0/8``."""
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError("must be networks such as 10.0.0.0/8 or fe80::/10, with commas between") from error


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
