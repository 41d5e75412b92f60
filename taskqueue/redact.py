"""URLs as they may stand in an error or a log: without user and password."""

from __future__ import annotations

import re

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*")
_HOST = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]*)(:\d+)?")
# The only schemes in whose paths people write an @.
_WEB = frozenset({"http", "https"})


def redacted(url: str) -> str:
    """Write a URL without user and password, and with ``?…`` for its query and fragment.

    Takes any text and never fails. An unencoded ``/``, ``?`` or ``#`` in a password leaves in doubt where the
    login ends. Everything up to the last ``@`` is hidden then: hiding too much does no harm.
    """
    scheme, separator, rest = url.partition("://")
    if not separator or not _SCHEME.fullmatch(scheme):
        scheme, separator, rest = "", "", url
    authority = re.split(r"[/?#]", rest, maxsplit=1)[0]
    if scheme.lower() not in _WEB or "@" in authority or not _HOST.fullmatch(authority):
        rest = rest.rpartition("@")[2]
    place, query, _ = re.split(r"([?#]|\Z)", rest, maxsplit=1)
    return f"{scheme}{separator}{place}{'?…' if query else ''}"
