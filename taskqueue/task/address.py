"""A URL, parsed once and strictly: there is no second parser that could see another host.

Each check raises ValueError that says what is wrong, and never quotes what may be a password.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import quote

from taskqueue.redact import escaped, redacted
from taskqueue.settings.addresses import host_name

PORTS = {"http": 80, "https": 443}
UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff\u2028\u2029]")
_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?")
_LAST_PORT = 65_535
# The characters that RFC 3986 allows in a path and a query, and %, so that what is encoded stays so.
_TARGET = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%\[\]|]*")
_KEPT = "-._~!$&'()*+,;=:@/?%[]|"


@dataclass(frozen=True, slots=True)
class Origin:
    """The other end of requests. Connections are kept, and credentials given, for each origin."""

    scheme: str
    host: str
    """Lower case and ASCII (IDNA 2008); an IPv6 address without its brackets."""
    port: int

    @property
    def where(self) -> str:
        """Write the origin for operators."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def authority(self) -> str:
        """Write the origin as a Host header has it: without the default port of the scheme."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Write the origin as the beginning of a URL."""
        return f"{self.scheme}://{self.authority}"


def split(url: str) -> tuple[str, str, str]:
    """Split a URL into scheme, authority, and path with query.

    Raises ValueError where it is not a clean http or https URL.
    """
    if UNSAFE.search(url):
        raise ValueError(f"holds a space, line end or control character: {quoted(url)}")
    match = _URL.fullmatch(url)
    if match is None:
        raise ValueError(f"must begin with http:// or https://: {quoted(url)}")
    scheme, authority, path, query = match.groups()
    target = (path or "/") + (query or "")
    if not target.startswith("/"):
        raise ValueError(f"not a URL: {quoted(url)}")
    if not _TARGET.fullmatch(target):
        target = quote(target, safe=_KEPT)
    return scheme.lower(), authority, target


@lru_cache(maxsize=1024)
def origin(scheme: str, authority: str) -> Origin:
    """Read an authority (``host``, ``host:port``); raises ValueError on anything unusual in it."""
    if "@" in authority:
        raise ValueError("holds credentials before an @: they belong in a header")
    # Never what follows the colon: it is a part of the password in http://user:pass/word@host.
    shown = f"{authority.partition(':')[0][:60]!a}"
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise ValueError(f"not a host and port: {shown}")
    host, digits = match.groups()
    port = int(digits) if digits else PORTS[scheme]
    if not 1 <= port <= _LAST_PORT:
        raise ValueError(f"port must be from 1 to {_LAST_PORT}: {shown}")
    return Origin(scheme, _address(host) if host.startswith("[") else _name(host), port)


def quoted(url: str) -> str:
    """Quote the beginning of a URL or path for an error, without login and query, where secrets may stand."""
    return escaped(redacted(url)[:60])


def _address(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError:
        raise ValueError(f"not an IPv6 address: {host[:60]!a}") from None
    if address.scope_id is not None:
        raise ValueError(f"names an interface of this machine: {host[:60]!a}")
    return str(address)


def _name(host: str) -> str:
    try:
        return host_name(host)
    except ValueError:
        raise ValueError(f"not a host name: {host[:60]!a}") from None
