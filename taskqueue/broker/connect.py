"""How to reach a broker: the same connection parameters for everything that connects."""

from __future__ import annotations

import ast
import re
import ssl
from collections.abc import Mapping
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pika
from pika.adapters.utils.connection_workflow import AMQPConnectorStackTimeout
from pika.connection import Parameters
from pika.exceptions import (
    AMQPError,
    AuthenticationError,
    ConnectionClosed,
    ConnectionOpenAborted,
    IncompatibleProtocolError,
    ProbableAccessDeniedError,
    ProbableAuthenticationError,
)

from taskqueue import tls
from taskqueue.broker.replies import NOT_LET_IN
from taskqueue.errors import BrokerRefused, BrokerUnreachable, ConfigError
from taskqueue.settings import Settings

HEARTBEAT = 30
"""Seconds between heartbeats. A peer that is silently gone is noticed in about a minute."""
LEAST_FRAME = 8192
"""Bytes: the least `frame_max` that RabbitMQ takes from 4.1 on. It says why in its own log only."""
OLDEST = (3, 10)
"""The first RabbitMQ whose quorum queues have message TTL and at-least-once dead-lettering."""
_IN_REPR = re.compile(r"""^ConnectionClosed\w*: \(\d+\) (?P<text>'.*'|".*")$""", re.DOTALL)
_HUNG_UP = re.compile("Transport indicated EOF|ConnectionResetError|BrokenPipeError")
_NOT_LET_IN = re.compile(r"vhost .* not found$|access to vhost .* refused for user '.*'$")
"""A virtual host that is not there, or not for this user; all else is told by the broker's words alone."""


def parameters(settings: Settings, *, name: str = "taskqueue") -> list[pika.URLParameters]:
    """Give pika's parameters for each host, in order; the broker shows `name` for the connection.

    Raises ConfigError for a URL that pika can't use or a TLS file that can't be read.
    """
    return [_parameters(url, settings, name) for url in settings.servers]


def connect(
    settings: Settings, *, name: str, implementation: type[pika.SelectConnection] | None = None
) -> pika.BlockingConnection:
    """Connect to the first host that answers; each is tried once.

    `implementation` is what pika runs beneath, its own if None.

    Raises BrokerUnreachable where none does, or none lets the user in.
    """
    failures: list[BrokerUnreachable] = []
    for host in parameters(settings, name=name):
        try:
            # The stubs ask for an object where pika takes a class.
            return pika.BlockingConnection(host, implementation)  # type: ignore[arg-type]
        except (AMQPError, OSError) as error:
            failures.append(failure(error, host))
    raise together(failures)


def version(connection: pika.BlockingConnection) -> tuple[int, ...]:
    """Give the broker's version, such as ``(3, 10, 8)``; empty where the broker does not tell it."""
    return parsed_version(properties(connection))


def properties(connection: pika.BlockingConnection) -> Mapping[str, Any]:
    """Give the properties that the broker sent when the connection was opened."""
    # BlockingConnection has no accessor of its own for it, nor do the type stubs know the attribute.
    return connection._impl.server_properties or {}  # type: ignore[attr-defined]  # noqa: SLF001


def parsed_version(server_properties: Mapping[str, Any]) -> tuple[int, ...]:
    """Read the version from the broker's properties, without a suffix such as ``-rc.1``."""
    found = re.match(r"\d+(\.\d+)*", _text(server_properties.get("version")))
    return tuple(int(part) for part in found[0].split(".")) if found else ()


def refuse_version(server_properties: Mapping[str, Any]) -> None:
    """Raise BrokerRefused unless the properties are those of RabbitMQ 3.10 or later."""
    if parsed_version(server_properties) >= OLDEST:
        return
    product = _text(server_properties.get("product")) or "an unknown product"
    stated = _text(server_properties.get("version")) or "an unknown version"
    msg = (
        f"the broker is {product} {stated}: taskqueue needs RabbitMQ 3.10 or later "
        "(quorum queues with message TTL and at-least-once dead-lettering), upgrade the broker"
    )
    raise BrokerRefused(msg)


def where(host: Parameters) -> str:
    """Name a broker without its login: ``localhost:5672/tasks``."""
    vhost = "" if host.virtual_host == "/" else f"/{host.virtual_host}"
    return f"{host.host}:{host.port}{vhost}"


def _parameters(url: str, settings: Settings, name: str) -> pika.URLParameters:
    address = urlsplit(url)
    try:
        result = pika.URLParameters(url)
    except (ValueError, TypeError, SyntaxError) as error:
        # The error of pika can quote the whole URL, and with it the password.
        msg = f"server: {address.hostname or 'the URL'} can't be used: write amqp://user:password@host:port/vhost"
        raise ConfigError(msg) from _harmless(error)
    options = parse_qs(address.query)
    if "heartbeat" not in options:
        result.heartbeat = HEARTBEAT
    result.client_properties = {"connection_name": name, **(result.client_properties or {})}
    if address.scheme == "amqps" and "ssl_options" not in options:
        result.ssl_options = pika.SSLOptions(_tls(settings), result.host)
    return result


def _harmless(error: Exception) -> Exception:
    return type(error)("(text left out: it may hold a password)")


def _tls(settings: Settings) -> ssl.SSLContext:
    key = "ca_file"
    try:
        context = ssl.create_default_context(cafile=settings.ca_file)
        key = "cert_file"
        if settings.cert_file is not None:
            # Without the callback OpenSSL would ask for a passphrase on the terminal.
            context.load_cert_chain(settings.cert_file, settings.key_file, password=lambda: "")
    except (OSError, ssl.SSLError) as error:
        msg = f"{key}: can't use {getattr(settings, key)}: {error}"
        raise ConfigError(msg) from error
    return context


def refusal(error: BaseException, host: Parameters) -> BrokerUnreachable | None:
    """Read an answer that waiting does not change: the broker does not let the user in.

    It refuses the login or the virtual host, or has as many connections as it may have.
    """
    user = getattr(host.credentials, "username", "")
    if isinstance(error, (ProbableAuthenticationError, AuthenticationError)):
        return BrokerUnreachable(f"{where(host)} refused the login of user {user!r}: check 'server'")
    if not isinstance(error, ProbableAccessDeniedError) and not (
        isinstance(error, ConnectionClosed) and error.reply_code in NOT_LET_IN
    ):
        return None
    words = _words(error)
    if words and not _NOT_LET_IN.search(words):
        return BrokerUnreachable(f"{host.host}:{host.port} refused the connection of user {user!r}: {words}")
    if not words and host.frame_max < LEAST_FRAME:
        return BrokerUnreachable(
            f"{where(host)} has hung up, as RabbitMQ does from 4.1 on over a frame_max below {LEAST_FRAME}: "
            f"raise frame_max={host.frame_max} in 'server', or leave it out"
        )
    return BrokerUnreachable(
        f"user {user!r} may not use virtual host {host.virtual_host!r} of {host.host}:{host.port}, "
        f"or it does not exist{f' ({words})' if words else ''}: check 'server', or the user's permissions"
    )


def _words(error: BaseException) -> str:
    """Give the broker's own words, empty where it has just hung up."""
    if isinstance(error, ConnectionClosed):
        return str(error.reply_text)
    # Of an error in the middle of a handshake pika keeps the repr only.
    found = _IN_REPR.search(str(error))
    return str(ast.literal_eval(found["text"])) if found else ""


def failure(error: BaseException, host: Parameters) -> BrokerUnreachable:
    """Say why a host could not be connected to, and what to do."""
    return refusal(error, host) or BrokerUnreachable(f"no broker at {where(host)}: {reason(error)}")


def together(failures: list[BrokerUnreachable]) -> BrokerUnreachable:
    """Make one error of those of all hosts."""
    told = "; ".join(dict.fromkeys(str(failure) for failure in failures))
    return BrokerUnreachable(told or "no broker is configured: set 'server'")


def cause(error: BaseException | str) -> Exception:
    """Find the error that ended an attempt to connect, beneath what pika wraps it in."""
    while isinstance(error, BaseException):
        every = getattr(error, "exceptions", None)
        inner = every[-1] if every else getattr(error, "exception", None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    return error if isinstance(error, Exception) else AMQPError(str(error))


def reason(error: BaseException | str) -> str:
    """Tell in a word or two what went wrong, and what an alert of TLS means."""
    told = _told(error)
    meant = tls.meaning(told, "the broker", "cert_file")
    return f"{meant}: {told}" if meant else told


def _told(error: BaseException | str) -> str:
    """Find what was said: pika wraps the socket's error several times."""
    while isinstance(error, BaseException):
        every = getattr(error, "exceptions", None)
        inner = every[-1] if every else getattr(error, "exception", None)
        inner = inner or (error.args[0] if error.args else None)
        if not isinstance(inner, BaseException):
            break
        error = inner
    if isinstance(error, TimeoutError | AMQPConnectorStackTimeout | ConnectionOpenAborted):
        return "no answer in time"
    if isinstance(error, ConnectionClosed):
        return f"{error.reply_code} {error.reply_text}"
    if isinstance(error, IncompatibleProtocolError) and _HUNG_UP.search(str(error)):
        return "it hung up before it spoke AMQP: is it a broker, and does it want TLS (amqps)?"
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    return str(error) or type(error).__name__


def _text(value: object) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value or "")
