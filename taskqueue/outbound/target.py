"""A URL taken apart once, strictly: no second reader of it exists that could see another host."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from urllib.parse import quote

from taskqueue.addresses import host_name
from taskqueue.outbound.fault import RequestFailed

PORTS = {"http": 80, "https": 443}
_UNSAFE = re.compile(r"[\x00-\x20\x7f-\xa0\ud800-\udfff\u2028\u2029]")
_URL = re.compile(r"(https?)://([^/?#]*)([^?#]*)(\?[^#]*)?(?:#.*)?", re.IGNORECASE)
_AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^\[\]:]*)(?::([0-9]{0,5}))?")
_LAST_PORT = 65_535
# What RFC 3986 allows in a path and a query; a % is left alone, as what is encoded already stays so.
_TARGET = re.compile(r"[A-Za-z0-9\-._~!$&'()*+,;=:@/?%\[\]|]*")
_KEPT = "-._~!$&'()*+,;=:@/?%[]|"


@dataclass(frozen=True, slots=True)
class Origin:
    """The other end: what connections are kept by, and what credentials belong to."""

    scheme: str
    host: str
    """Lower case and ASCII (IDNA 2008); an IPv6 address without its brackets."""
    port: int

    @property
    def where(self) -> str:
        """Write it for operators."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"

    @property
    def authority(self) -> str:
        """Write it as a Host header has it, with no port where it is the scheme's own."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORTS[self.scheme] else f"{host}:{self.port}"

    @property
    def url(self) -> str:
        """Write it as the beginning of a URL."""
        return f"{self.scheme}://{self.authority}"


def split(url: str) -> tuple[str, str, str]:
    """Split a URL into scheme, authority, and the path and query that are asked for.

    Raises RequestFailed where it is not a clean http or https URL.
    """
    if _UNSAFE.search(url):
        raise RequestFailed(f"url refused: holds a space, line end or control character: {url[:60]!a}")
    match = _URL.fullmatch(url)
    if match is None:
        raise RequestFailed(f"url refused: must begin with http:// or https://: {url[:60]!a}")
    scheme, authority, path, query = match.groups()
    target = (path or "/") + (query or "")
    if not target.startswith("/"):
        raise RequestFailed(f"url refused: is no URL: {url[:60]!a}")
    if not _TARGET.fullmatch(target):
        target = quote(target, safe=_KEPT)
    return scheme.lower(), authority, target


def origin(scheme: str, authority: str) -> Origin:
    """Read an authority (``host``, ``host:port``); raises RequestFailed on anything unusual in it."""
    if "@" in authority:
        raise RequestFailed("url refused: holds credentials before an @: they belong in a header")
    match = _AUTHORITY.fullmatch(authority)
    if match is None:
        raise RequestFailed(f"url refused: no host and port: {authority[:60]!a}")
    host, digits = match.groups()
    port = int(digits) if digits else PORTS[scheme]
    if not 1 <= port <= _LAST_PORT:
        raise RequestFailed(f"url refused: port must be from 1 to {_LAST_PORT}: {authority[:60]!a}")
    return Origin(scheme, _address(host) if host.startswith("[") else _name(host), port)


def _address(host: str) -> str:
    try:
        address = ipaddress.IPv6Address(host[1:-1])
    except ValueError as error:
        raise RequestFailed(f"url refused: no IPv6 address: {host[:60]!a}") from error
    if address.scope_id is not None:
        raise RequestFailed(f"url refused: names an interface of this machine: {host[:60]!a}")
    return str(address)


def _name(host: str) -> str:
    try:
        return host_name(host)
    except ValueError as error:
        raise RequestFailed(f"url refused: no host name: {host[:60]!a}") from error
