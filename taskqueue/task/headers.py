"""The rules for the headers of any request, whoever asks for them: names, values, and how many.

Each check raises ValueError, and never quotes a value, as it may be a credential.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from urllib.parse import quote

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


def header_text(value: str) -> str:
    """Make any text fit for a header: characters that are not printable ASCII are percent-encoded as UTF-8.

    A % stays as it is, so that URLs are readable. LONGEST_VALUE characters are kept.
    """
    if not (value.isascii() and value.isprintable()):
        value = quote(value[:LONGEST_VALUE], safe=_PRINTABLE, errors="replace")
    return value[:LONGEST_VALUE].strip()


def check(headers: Mapping[str, str], ours: Mapping[str, str]) -> None:
    """Refuse headers that no request may have; `ours` are those that only we may set, in any case."""
    if len(headers) > MOST_HEADERS:
        raise ValueError(f"more than {MOST_HEADERS} headers")
    for name, value in headers.items():
        _check(name, value)
    allowed = dict(own(ours))
    if any(allowed.get(name) != value for name, value in own(headers)):
        raise ValueError("headers Taskqueue-… and Idempotency-Key can't be changed")


def own(headers: Mapping[str, str]) -> list[tuple[str, str]]:
    """List those that only we may set, their names in lower case."""
    lowered = ((name.lower(), value) for name, value in headers.items())
    return sorted(pair for pair in lowered if pair[0].startswith(OURS) or pair[0] == "idempotency-key")


def _check(name: object, value: object) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise ValueError(f"not a header name: {str(name)[:60]!a}")
    if name.lower() in _NOT_SET:
        raise ValueError(f"header {name} can't be set")
    if not isinstance(value, str) or len(value) > _LARGEST or not _VALUE.fullmatch(value):
        raise ValueError(f"header {name} must be a text of at most {_LARGEST} printable characters")
