"""A request on its way out, with an eye on the answer that may come before it is sent (RFC 9112, 9.5)."""

from __future__ import annotations

import select
import ssl

from taskqueue.request.http.fault import CLOSED
from taskqueue.request.http.incoming import Incoming
from taskqueue.request.http.limits import LimitedSocket

_AT_ONCE = 16 * 1024
"""Bytes that a connection takes at once: no socket buffer is smaller."""
_PIECE = 64 * 1024


def send(sock: LimitedSocket, head: bytes, body: bytes | None, incoming: Incoming) -> bool:
    """Send a request, in one packet if it fits: half the system calls, and no wait for an ACK.

    Returns False where the request was not sent whole. A receiver may answer, and even close, before it
    has read everything. Its answer is still to be read, so a closed connection is not an error here.
    """
    body = body or b""
    try:
        if len(head) + len(body) <= _AT_ONCE:
            sock.sendall(head + body)
            return True
        with sock.unblocked():
            first = memoryview(head + body[:_PIECE])
            return _pour(sock, first, incoming) and _pour(sock, memoryview(body)[_PIECE:], incoming)
    except CLOSED:
        return False


def _pour(sock: LimitedSocket, data: memoryview, incoming: Incoming) -> bool:
    while data:
        try:
            data = data[sock.send(data[:_PIECE]) :]
        except (BlockingIOError, ssl.SSLWantWriteError):
            readable = sock.wait(select.POLLIN | select.POLLOUT)
        except ssl.SSLWantReadError:
            readable = sock.wait(select.POLLIN)
        else:
            continue
        if readable and incoming.comes_early():
            return False
    return True
