"""The values of taskqueue.ini that say where something is: URLs, hosts, networks.

As in values.py, each reader raises ValueError with what is allowed. No error quotes a URL, as
a URL may hold a password.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from urllib.parse import parse_qsl, urlsplit

from taskqueue.settings.values import listed

_NAME = re.compile(r"(?=.{1,254}$)[a-z0-9_-]{1,63}(\.[a-z0-9_-]{1,63})*\.?")
_HOST_PATTERN = re.compile(r"(?P<any>\*\.)?(?P<name>.+)")
_HOSTS = "must be hosts such as example.com, *.example.com or an IP address, with commas between"
_AUTHORITY = re.compile(r"(\[(?P<address>[^\[\]]*)\]|(?P<name>[^\[\]:]*))(:[0-9]{0,5})?")
_LAST_PORT = 65_535
_SERVERS = (
    "must be amqp://user:password@host:port/vhost or amqps://…, several with commas between "
    "(in a password or vhost write %2C for a comma, %2F for /, %40 for @, %23 for #, %3F for ?)"
)
_CELERYS = frozenset({"pyamqp", "librabbitmq"})
_WHOLE = frozenset({"channel_max", "connection_attempts", "frame_max", "heartbeat"})
_NUMBERS = frozenset({"blocked_connection_timeout", "retry_delay", "socket_timeout", "stack_timeout"})
PARAMETERS = _WHOLE | _NUMBERS | {"client_properties", "locale", "ssl_options", "tcp_options"}
"""The parameters that may stand behind the ``?`` of a server: those that pika knows."""
_ELSEWHERE = {
    "cacertfile": "ca_file = …",
    "certfile": "cert_file = …",
    "keyfile": "key_file = …",
    "ssl": "amqps://",
    "vhost": "/vhost behind the host",
}
"""Parameters of other libraries, and where the same thing is set here."""
DEFAULT = "default"
"""A word in a list of networks, which stands for the default networks."""


def host_name(text: str) -> str:
    """Write a host name in lower case and ASCII, as it is looked up; raises ValueError for what is not one.

    What is not ASCII is encoded by IDNA 2008, after the mapping of UTS 46 (capital letters, full-width
    letters). Python itself has IDNA 2003, which takes faß.de for fass.de: another owner's domain.
    """
    try:
        name = text.lower() if text.isascii() else _idna(text)
    except UnicodeError as error:
        raise ValueError("is not a host name") from error
    if not _NAME.fullmatch(name):
        raise ValueError("is not a host name")
    return name


def _idna(text: str) -> str:
    import idna  # noqa: PLC0415 its tables take 40 ms to load, and few names need them

    mapped = idna.uts46_remap(text, std3_rules=False)
    return ".".join(label if label.isascii() else idna.alabel(label).decode() for label in mapped.split("."))


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


def servers(text: str) -> tuple[str, ...]:
    """Read AMQP URLs with commas between. pika decodes what they hold."""
    # Files of the Go taskqueue have it in quotes.
    urls = listed(_server)(text[1:-1] if len(text) > 1 and text[0] == text[-1] == '"' else text)
    if not urls:
        raise ValueError(_SERVERS)
    return urls


def _server(text: str) -> str:
    scheme = text.partition("://")[0].lower()
    if scheme in _CELERYS:
        raise ValueError(f"{scheme}:// is Celery's name for it: write amqp://, or amqps:// for TLS")
    try:
        parts = urlsplit(url("amqp", "amqps")(text))
    except ValueError:
        raise ValueError(_SERVERS) from None
    # An @ here ends a password that holds a / or ?, and no part of that may be shown.
    if "@" in parts.path + parts.query or parts.fragment:
        raise ValueError(_SERVERS)
    if parts.path == "//":
        raise ValueError("// at its end is how Celery writes the virtual host /: write one /")
    if found := re.fullmatch(r"//([\w.-]+)", parts.path):
        raise ValueError(f"// is how Celery begins the virtual host /{found[1]}: write /%2F{found[1]}")
    # pika would take the first part for the vhost.
    if "/" in parts.path[1:]:
        raise ValueError(_SERVERS)
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        _check_parameter(name, value)
    return text


def _check_parameter(name: str, value: str) -> None:
    """Refuse what pika would ignore without a word, or quote in an error."""
    if name in _ELSEWHERE:
        raise ValueError(f"{name} is not a parameter: write {_ELSEWHERE[name]} instead")
    if name not in PARAMETERS:
        shown = name if re.fullmatch(r"[A-Za-z_]{1,40}", name) else "what stands behind the ?"
        raise ValueError(f"{shown} is not a parameter: the parameters are {', '.join(sorted(PARAMETERS))}")
    if name in _WHOLE and not re.fullmatch(r"[0-9]{1,9}", value):
        raise ValueError(f"{name} must be a whole number")
    if name in _NUMBERS and not re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", value):
        raise ValueError(f"{name} must be a number")


def base_url(text: str) -> str:
    """Read the URL that the paths of tasks are joined to."""
    parts = urlsplit(url("http", "https")(text))
    if "@" in parts.netloc:
        raise ValueError("must hold no user and password (write handlers = basic and basic_auth)")
    if "?" in text or "#" in text:
        raise ValueError("must hold neither ? nor #, as paths are joined to it")
    try:
        _check_host(parts.netloc)
    except ValueError:
        raise ValueError("must name a host as IDNA 2008 allows it, or an address") from None
    return text


def _check_host(authority: str) -> None:
    found = _AUTHORITY.fullmatch(authority)
    if found is None:
        raise ValueError("is no host")
    if found["address"] is None:
        host_name(found["name"])
    elif ipaddress.IPv6Address(found["address"]).scope_id is not None:
        raise ValueError("names an interface of this machine")


def address(text: str) -> str:
    """Read ``host:port`` or ``:port``."""
    found = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[\w.-]*):([0-9]{1,5})", text)
    if found is None or int(found[2]) > _LAST_PORT:
        raise ValueError("must be host:port or :port")
    return text


def host_pattern(text: str) -> str:
    """Read a host name, ``*.`` before one, ``*`` or an IP address, in the form that the host of a URL has."""
    if text == "*":
        return text
    if ":" in text:
        return _ipv6(text.removeprefix("[").removesuffix("]"))
    found = _HOST_PATTERN.fullmatch(text)
    if found is None:
        raise ValueError(_HOSTS)
    try:
        name = host_name(found["name"]).removesuffix(".")
    except ValueError:
        raise ValueError(_HOSTS) from None
    return f"{found['any'] or ''}{name}"


def _ipv6(text: str) -> str:
    try:
        return str(ipaddress.IPv6Address(text))
    except ValueError:
        raise ValueError(_HOSTS) from None


def network(text: str) -> str:
    """Read a network such as ``10.0.0.0/8``, or the word ``default`` for the default networks."""
    if text == DEFAULT:
        return text
    try:
        return str(ipaddress.ip_network(text))
    except ValueError as error:
        raise ValueError(
            "must be networks such as 10.0.0.0/8 or fe80::/10, or default, with commas between"
        ) from error
