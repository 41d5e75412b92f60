"""The values that a message may hold: each check returns the value, or raises InvalidTask that names it.

Numbers may be ints or floats, as JSON does not tell them apart. Booleans, NaN and strings are not numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from taskqueue.errors import InvalidTask
from taskqueue.redact import escaped, excerpt
from taskqueue.task import address

LAST_SECOND = 253_402_300_799.0
"""The end of the year 9999: a later time is a mistake, most often milliseconds for seconds."""
LAST_MILLISECOND = int(LAST_SECOND) * 1000
LONGEST_URL = 16_384
METHODS = ("GET", "POST", "PUT", "PATCH", "DELETE")
MOST_RETRIES = 2**31 - 1
_SHOWN = 60
_LARGEST_SHOWN = 1000
"""Bits."""
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):")


def shown(value: object) -> str:
    """Write a value for an error that people read: one line of bounded length, without login and query."""
    if isinstance(value, int) and value.bit_length() > _LARGEST_SHOWN:
        # Python writes no number of very many digits.
        return "a number of very many digits"
    if isinstance(value, bytes):
        value = value.decode("latin-1")
    if isinstance(value, str):
        # Before it is cut: without its end nobody can tell that something is a login.
        text = escaped(excerpt(value[:LONGEST_URL]))
    elif isinstance(value, int) and not isinstance(value, bool):
        # pika's own kind of it would be written with an L.
        text = str(int(value))
    else:
        text = str(value) if isinstance(value, (bool, float, type(None))) else type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def number(fields: Mapping[str, Any], name: str) -> float | None:
    """Read an optional number of seconds, 0 to the end of the year 9999."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidTask(name, f"must be a number of seconds, got {shown(value)}")
    # False for NaN, and for an integer that is too large for a float.
    if not 0 <= value <= LAST_SECOND:
        raise InvalidTask(name, f"must be from 0 to {LAST_SECOND:.0f} seconds, got {shown(value)}")
    return float(value)


def count(fields: Mapping[str, Any], name: str) -> int | None:
    """Read an optional whole number ≥ 0. ``3.0`` is one, as some languages write whole numbers so."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= MOST_RETRIES:
        raise InvalidTask(name, f"must be a whole number from 0 to {MOST_RETRIES}, got {shown(value)}")
    return value


def url(fields: Mapping[str, Any], name: str) -> str | None:
    """Read an optional path or full http(s) URL."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise InvalidTask(name, f"must be a path or an http(s) URL, got {shown(value)}")
    if len(value) > LONGEST_URL:
        raise InvalidTask(name, f"must have at most {LONGEST_URL} characters, got {len(value)}")
    if address.UNSAFE.search(value):
        raise InvalidTask(
            name, f"must hold no space, line end or control character, got {address.quoted(value)}"
        )
    if scheme := _SCHEME.match(value):
        _full_url(name, value, scheme[1].lower())
    return value


def joined(base: str | None, url: str) -> str | None:
    """Join a path to a queue's `base_url`, and give a full URL as it is; None where there is no base."""
    if is_full(url):
        return url
    if base is None:
        return None
    base = base.rstrip("/")
    return f"{base}{url}" if url.startswith("/") else f"{base}/{url}"


def is_full(value: str) -> bool:
    """Tell a full URL from a path that needs the queue's `base_url`."""
    return _SCHEME.match(value) is not None


def _full_url(name: str, value: str, scheme: str) -> None:
    if scheme not in {"http", "https"}:
        # It may be a user, as the password's is.
        got = address.quoted(value) if "@" in value else shown(scheme)
        raise InvalidTask(name, f"must have the scheme http or https, got {got}")
    try:
        address.origin(*address.split(value)[:2])
    except ValueError as error:
        # No request could ever go there. Its texts hold no password; those of urlsplit may.
        raise InvalidTask(name, _not_full(value, scheme) or str(error)) from None


def _not_full(value: str, scheme: str) -> str | None:
    """Say what is missing of a URL, None where the whole of it is there."""
    try:
        parts = urlsplit(value)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return f"is not a URL, as for its host or port, got {address.quoted(value)}"
    if not host or not value[len(scheme) + 1 :].startswith("//"):
        return f"must name a host, got {address.quoted(value)}"
    return None


def text(fields: Mapping[str, Any], name: str) -> str | None:
    """Read an optional text that is not empty."""
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, str) or not value:
        raise InvalidTask(name, f"must be a text that is not empty, got {shown(value)}")
    return value


def mapping(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Read an optional object, empty where it is absent.

    An empty array counts as an empty object: PHP does not tell them apart.
    """
    value = fields.get(name)
    if value is None or value == []:
        return {}
    if not isinstance(value, dict):
        raise InvalidTask(name, f"must be an object, got {shown(value)}")
    return value


def method(metadata: Mapping[str, Any]) -> str | None:
    """Read the optional method of the request, in capitals."""
    value = metadata.get("method")
    if value is None:
        return None
    if not isinstance(value, str) or value.upper() not in METHODS:
        got = shown(value) if isinstance(value, str) else type(value).__name__
        raise InvalidTask("metadata.method", f"must be one of {', '.join(METHODS)}, got {got}")
    return value.upper()


def moment(headers: Mapping[str, Any], name: str) -> int | None:
    """Read an optional time from an AMQP header of ours: milliseconds, to the end of the year 9999."""
    return _whole(headers, name, LAST_MILLISECOND)


def times(headers: Mapping[str, Any], name: str) -> int | None:
    """Read from an AMQP header of ours how often something has happened."""
    return _whole(headers, name, MOST_RETRIES)


def _whole(headers: Mapping[str, Any], name: str, most: int) -> int | None:
    value = headers.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= most:
        raise InvalidTask(f"header {name}", f"must be a whole number from 0 to {most}, got {shown(value)}")
    return value
