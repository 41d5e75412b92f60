"""What went wrong with a request, as one short line for operators."""

from __future__ import annotations

import errno
import os
import socket
import ssl
from enum import Enum

from taskqueue import tls
from taskqueue.redact import begun

LONGEST = 300
_NEEDED = 3
"""About the most descriptors that a resolver has open at the same time."""
CLOSED = (ConnectionError, ssl.SSLEOFError, ssl.SSLZeroReturnError)
"""The errors that mean that the other end has closed."""
_SHORT_OF = {
    errno.EMFILE: "too many open files in this process: raise its limit (LimitNOFILE, ulimit -n)",
    errno.ENFILE: "too many open files on this machine: raise its limit (fs.file-max)",
    errno.ENOMEM: "this machine is out of memory",
    errno.ENOBUFS: "this machine is out of buffers for sockets",
}
_NO_ROUTE = frozenset({errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT})


class Blame(Enum):
    """Whose fault it is that there is no answer."""

    RECEIVER = "receiver"
    """The receiver's or the network's: another attempt may succeed."""
    TASK = "task"
    """The task's: it asks for something that can never be done."""
    SENDER = "sender"
    """This machine's or process's, which is short of something: no request was made."""


class RequestFailed(Exception):
    """No complete answer came; `error` says why, `status` is that of an answer that broke off."""

    def __init__(self, error: str, status: int | None = None, blame: Blame = Blame.RECEIVER) -> None:
        super().__init__(error)
        self.error = line(error)
        self.status = status
        self.blame = blame


class BadAnswer(Exception):
    """The bytes that came can't be used as an answer. The text says what is wrong with them."""


def line(text: str) -> str:
    """Make a text fit for logs, AMQP headers and terminals: one line, printable, no logins."""
    text = begun(text, 2 * LONGEST)
    if not text.isprintable():
        text = "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


class SenderShort(OSError):
    """This machine or process is short of something for which there is no errno."""


def short_of(error: BaseException) -> str | None:
    """Say what this machine or process is short of, None where the error has another reason."""
    if isinstance(error, SenderShort):
        return str(error)
    return _SHORT_OF.get(error.errno or 0) if isinstance(error, OSError) else None


def check_descriptors() -> None:
    """Raise the OSError for too few descriptors where there are too few: libraries report something else.

    A resolver that can't open its files finds no name, and TLS that can't read its CAs trusts nobody.
    """
    opened: list[socket.socket] = []
    try:
        opened.extend(socket.socket() for _ in range(_NEEDED))
    finally:
        for each in opened:
            each.close()


def while_connecting(error: Exception, where: str, seconds: float) -> str:
    """Say why `where` (host:port) could not be connected to within so many seconds."""
    if isinstance(error, TimeoutError):
        return f"connect timed out after {seconds:g} s: {where}"
    if isinstance(error, ConnectionRefusedError):
        return f"connection refused: {where}"
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"TLS certificate not trusted: {where}: {error.verify_message}"
    if isinstance(error, ssl.SSLError):
        return _tls(error, where)
    kind = "no route" if isinstance(error, OSError) and error.errno in _NO_ROUTE else "connection failed"
    return f"{kind}: {where}: {_reason(error)}"


def while_talking(error: Exception, where: str, seconds: float, *, answered: bool) -> str:
    """Say why `where` gave no complete answer within so many seconds; `answered`: an answer had begun."""
    if isinstance(error, TimeoutError):
        return f"timed out after {seconds:g} s"
    if isinstance(error, CLOSED):
        return f"{'answer broken off' if answered else 'connection closed before an answer'}: {where}"
    if isinstance(error, BadAnswer):
        return f"not an HTTP answer: {where}: {error}"
    if isinstance(error, ssl.SSLError):
        # With TLS 1.3 the handshake is over for us before the receiver has looked at our certificate.
        return _tls(error, where)
    return f"request failed: {where}: {_reason(error)}"


def _tls(error: ssl.SSLError, where: str) -> str:
    # Never the errno, which numbers OpenSSL's own errors here.
    told = error.reason or str(error)
    meant = tls.meaning(told, "the receiver", "request_cert_file")
    return f"TLS failed: {where}: {f'{meant}: {told}' if meant else told}"


def _reason(error: Exception) -> str:
    if isinstance(error, OSError):
        return os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
    return f"{type(error).__name__}: {error}"
