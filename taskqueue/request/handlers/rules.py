"""The rules for any request, whatever handler made it: methods, header names and values."""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

from taskqueue.handlers import Request
from taskqueue.task.fields import METHODS

OURS = "taskqueue-"
LONGEST_VALUE = 2048
"""Most characters of a header that holds a message's text: servers refuse lines over 8 KiB or so."""
MOST_HEADERS = 100
_LARGEST = 8192
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,200}")
_VALUE = re.compile(r"[\t\x20-\x7e\x80-\xff]*")
_PRINTABLE = "".join(map(chr, range(0x20, 0x7F)))
# Headers that frame or route a message: the connection itself sets them (RFC 9110, 7.6.1).
_NOT_SET = frozenset(
    {
        "connection", "content-length", "expect", "host", "http2-settings", "keep-alive",
        "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer",
        "transfer-encoding", "upgrade",
    }
)  # fmt: skip


class HandlerError(Exception):
    """A handler can't do what it was asked for. The text is for operators."""


def header_text(value: str) -> str:
    """Make any text fit for a header: characters that are not printable ASCII are percent-encoded as UTF-8.

    A % stays as it is, so that URLs are readable. LONGEST_VALUE characters are kept.
    """
    if not (value.isascii() and value.isprintable()):
        value = quote(value[:LONGEST_VALUE], safe=_PRINTABLE, errors="replace")
    return value[:LONGEST_VALUE].strip()


def check(request: object, before: Request) -> None:
    """Refuse a change that a handler may not make; `before` is the request that it was given."""
    if not isinstance(request, Request):
        raise HandlerError("prepare must give a Request")
    if request.method not in METHODS:
        msg = f"method must be one of {', '.join(METHODS)}, got {str(request.method)[:20]!a}"
        raise HandlerError(msg)
    if not (_is(request.url, str) and _is(request.body, (bytes, type(None)))):
        raise HandlerError("url must be a text, and body bytes or None")
    if len(request.headers) > MOST_HEADERS:
        msg = f"more than {MOST_HEADERS} headers"
        raise HandlerError(msg)
    for name, value in request.headers.items():
        _check_header(name, value)
    if _ours(request.headers) != _ours(before.headers):
        raise HandlerError("headers Taskqueue-… and Idempotency-Key can't be changed")


def _is(value: object, kind: type | tuple[type, ...]) -> bool:
    return isinstance(value, kind)


def _check_header(name: object, value: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        msg = f"not a header name: {str(name)[:60]!a}"
        raise HandlerError(msg)
    if name.lower() in _NOT_SET:
        msg = f"header {name} can't be set"
        raise HandlerError(msg)
    if not isinstance(value, str) or len(value) > _LARGEST or not _VALUE.fullmatch(value):
        msg = f"header {name} must be a text of at most {_LARGEST} printable characters"
        raise HandlerError(msg)


def _ours(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    lowered = ((name.lower(), value) for name, value in headers.items())
    return sorted(pair for pair in lowered if pair[0].startswith(OURS) or pair[0] == "idempotency-key")
