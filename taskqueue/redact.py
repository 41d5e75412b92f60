"""URLs and headers as they may be shown: without user and password, and without credentials."""

from __future__ import annotations

import json
import re
from collections.abc import Container, Mapping

# The only schemes in whose paths people write an @.
_WEB = frozenset({"http", "https"})
_BEGIN = r"(?:(?<![a-z0-9+.-])(https?):)?//"
_BEGINS = re.compile(_BEGIN, re.IGNORECASE)
"""Where a host begins, with the scheme where it is one of those."""
_HOST = re.compile(r"(?:\[[^\[\]@/?#]*\]|[^:\[\]@/?#]+)(?::\d+)?(?=[/?#]|\Z)")
_STARTS = re.compile(r"\s*+((?:[a-z][a-z0-9+.-]*:)?//|https?:)(.*)", re.DOTALL | re.IGNORECASE)
_NO_PATH = re.compile(r"[^/?#@]*:")
"""How no path begins, as ``user:password@host`` does without a scheme."""
_IN_TEXT = re.compile(rf"({_BEGIN})([^\s\"'<>]*)", re.IGNORECASE)
# Possessive, and ended by the end of the text too: else a text of quotes and backslashes takes minutes.
_LITERAL = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)', re.DOTALL)
_WORD = re.compile(r"[^\s\"'<>]+")
_QUERY = re.compile(r"[?#]")
_LONGEST = 16_384
HIDDEN = "(hidden)"
_OURS = re.compile(
    "accept|content-type|user-agent|idempotency-key|taskqueue-.*|webhook-.*|traceparent|tracestate",
    re.IGNORECASE,
)
_CREDENTIAL = re.compile(
    "auth|cookie|token|secret|passw|credential|session|api.?key|access.?key", re.IGNORECASE
)


def redacted(url: str) -> str:
    """Write a URL or a path as `without_login` does, and with ``?…`` for its query and fragment."""
    return _without_query(without_login(url))


def without_login(url: str) -> str:
    """Write a URL or a path without user and password, also of URLs within it.

    Takes any text and never fails. An unencoded ``/``, ``?`` or ``#`` in a password leaves in doubt where the
    login ends. Everything up to the last ``@`` is hidden then: hiding too much does no harm.
    """
    if "@" not in url:
        return url
    if starts := _STARTS.fullmatch(url):
        return _without_login(starts)
    return _hidden("" if _NO_PATH.match(url) else None, url)


def excerpt(text: str) -> str:
    """Write a text up to the first query in it, and each of its words as if it were a URL, without login."""
    plain = without_logins(text)
    return _without_query(_WORD.sub(lambda word: without_login(word[0]), plain) if "@" in plain else plain)


def escaped(text: str) -> str:
    """Quote a text in ASCII, but for the sign that a query was here."""
    return ascii(text).replace(r"\u2026", "…")


def without_logins(text: str) -> str:
    """Leave the logins of all URLs out of a text, and nothing else. Takes any text and never fails.

    The URLs may stand in strings of a JSON document, however these are escaped, and in JSON within those.
    """
    if not _may_hold_login(text):
        return text
    return _IN_TEXT.sub(_without_login_in_text, _LITERAL.sub(_plain_literal, text))


def begun(text: str, most: int) -> str:
    """Write at most so many characters of a text, which may be of any length, without the logins in it."""
    # A login is left out before anything is cut at its password; none is longer than a URL may be.
    return without_logins(text[:_LONGEST])[:most]


def _without_query(text: str) -> str:
    query = _QUERY.search(text)
    return f"{text[: query.start()]}?…" if query else text


def _may_hold_login(text: str) -> bool:
    # JSON may spell the @ so.
    return "@" in text or "u0040" in text


def _plain_literal(found: re.Match[str]) -> str:
    if not _may_hold_login(found[0]):
        return found[0]
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
    plain = _hidden(begin.rpartition(":")[0], rest)
    return found[0] if plain == rest else f"{begin}{plain}"


def _without_login_in_text(found: re.Match[str]) -> str:
    return f"{found[1]}{_hidden(found[2] or '', found[3])}"


def _hidden(scheme: str | None, rest: str) -> str:
    """Leave out what is, or may be, a login in what follows the scheme of a URL.

    Without a scheme it is a path, which begins with no host; an empty one is any scheme.
    """
    at = 0
    # Behind a slash too many stands what was meant for the host.
    while scheme is None or (scheme.lower() in _WEB and _HOST.match(rest, at)):
        begins = _BEGINS.search(rest, at)
        if begins is None:
            return rest
        scheme, at = begins[1] or "", begins.end()
    return rest[:at] + rest[at:].rpartition("@")[2]


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
