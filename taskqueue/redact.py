"""URLs and headers as they may be shown: without user and password, and without credentials."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:\d+)?")
# The only schemes in whose paths people write an @.
_WEB = frozenset({"http", "https"})
_STARTS = re.compile(r"\s*([A-Za-z][A-Za-z0-9+.-]*://|https?:|//)(.*)", re.DOTALL | re.IGNORECASE)
_IN_TEXT = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://)([^\s\"'<>]*)")
_LITERAL = re.compile(r'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)
HIDDEN = "(hidden)"
_OURS = re.compile(
    "accept|content-type|user-agent|idempotency-key|taskqueue-.*|webhook-.*|traceparent|tracestate",
    re.IGNORECASE,
)
_CREDENTIAL = re.compile(
    "auth|cookie|token|secret|passw|credential|session|api.?key|access.?key", re.IGNORECASE
)


def redacted(url: str) -> str:
    """Write a URL without user and password, and with ``?…`` for its query and fragment.

    Takes any text and never fails. An unencoded ``/``, ``?`` or ``#`` in a password leaves in doubt where the
    login ends. Everything up to the last ``@`` is hidden then: hiding too much does no harm.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        scheme, separator, rest = "", "", url
    place, query, _ = re.split(r"([?#]|\Z)", _hidden(scheme, rest), maxsplit=1)
    return f"{scheme}{separator}{place}{'?…' if query else ''}"


def without_logins(text: str) -> str:
    """Leave the logins of all URLs out of a text, and nothing else. Takes any text and never fails.

    The URLs may stand in strings of a JSON document, however these are escaped, and in JSON within those.
    """
    if "@" not in text and "u0040" not in text:
        return text
    return _IN_TEXT.sub(_without_login, _LITERAL.sub(_plain_literal, text))


def _plain_literal(found: re.Match[str]) -> str:
    try:
        value = json.loads(found[0], strict=False)
    except ValueError:
        return found[0]
    # A password may hold a space or a quote, where a URL in the midst of a text would end.
    starts = _STARTS.fullmatch(value)
    plain = _without_login(starts) if starts else without_logins(value)
    return found[0] if plain == value else json.dumps(plain)


def _without_login(found: re.Match[str]) -> str:
    begin, rest = found.groups()
    plain = _hidden(begin.partition(":")[0], rest)
    return found[0] if plain == rest else f"{begin}{plain}"


def _hidden(scheme: str, rest: str) -> str:
    """Leave out what is, or may be, the login in what follows the scheme of a URL."""
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    # Behind a slash too many stands what was meant for the host.
    if scheme.lower() in _WEB and authority and "@" not in authority and _HOST.fullmatch(authority):
        return rest
    return rest.rpartition("@")[2]


def safe_headers(headers: Mapping[str, str], known: Container[str] | None = None) -> dict[str, str]:
    """Give the headers of a request or an answer with ``(hidden)`` for what may be a credential.

    With `known` (names in lower case) that is every header but these and those that taskqueue itself writes,
    as a handler of somebody's own may give its credentials any name.
    """
    return {
        name: value
        if (known is None or name.lower() in known or _OURS.fullmatch(name)) and not _CREDENTIAL.search(name)
        else HIDDEN
        for name, value in headers.items()
    }
