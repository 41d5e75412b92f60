"""A TCP server on loopback that plays any other end of a request: each move is the test's own."""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import termios
import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
_PATIENCE = 20.0
"""Seconds after which a visit that nobody ends breaks off, so that no test hangs for ever."""


class Visit:
    """One accepted connection."""

    def __init__(self, peer: Peer, sock: socket.socket, number: int) -> None:
        self.peer = peer
        self.sock = sock
        self.number = number
        """0 for the first connection."""
        self._buffer = b""

    def read(self) -> bytes:
        """Read one request with its body; empty once the other side has closed."""
        while b"\r\n\r\n" not in self._buffer:
            if not self._more():
                return b""
        head, _, rest = self._buffer.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(rest) < length:
            if not self._more():
                return b""
            rest = self._buffer.partition(b"\r\n\r\n")[2]
        self._buffer = rest[length:]
        request = head + b"\r\n\r\n" + rest[:length]
        self.peer.requests.append(request)
        return request

    def send(self, data: bytes) -> None:
        """Send bytes as they are."""
        self.sock.sendall(data)

    def arrived(self) -> None:
        """Wait until all that was sent has arrived at the other end; a busy kernel puts that off.

        TIOCOUTQ counts what is not acknowledged yet (tcp(7), SIOCOUTQ).
        """
        deadline = time.monotonic() + _PATIENCE
        while struct.unpack("i", fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)))[0]:
            if time.monotonic() > deadline:
                raise TimeoutError("what was sent does not arrive")
            time.sleep(0.001)

    def until_closed(self) -> None:
        """Wait until the other side closes, or the peer is stopped."""
        while self._more():
            pass

    def start_tls(self, context: ssl.SSLContext) -> None:
        """Go on with TLS, as the tunnel of a proxy does."""
        self.sock = context.wrap_socket(self.sock, server_side=True)

    def _more(self) -> bool:
        data = self.sock.recv(65536)
        self._buffer += data
        return bool(data)


Script = Callable[[Visit], object]
"""What a peer does with a connection; it is closed after that."""


def answering(answer: bytes = OK) -> Script:
    """Make a script that answers every request of a connection alike."""

    def play(visit: Visit) -> None:
        while visit.read():
            visit.send(answer)

    return play


class Peer:
    """Plays `script` for every connection, each in a thread of its own; a context manager."""

    def __init__(self, script: Script, *, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> None:
        self._script = script
        self._tls = tls
        self.visits: list[Visit] = []
        self.requests: list[bytes] = []
        self.stopped = threading.Event()
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._listener = socket.create_server((host, 0), family=family)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> Self:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stopped.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()
        self._listener.close()
        for visit in self.visits:
            with contextlib.suppress(OSError):
                visit.sock.shutdown(socket.SHUT_RDWR)
        for thread in self._threads[1:]:
            thread.join()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.settimeout(_PATIENCE)
            visit = Visit(self, sock, len(self.visits))
            self.visits.append(visit)
            thread = threading.Thread(target=self._play, args=(visit,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _play(self, visit: Visit) -> None:
        # The other side may leave at any moment: that is what many tests are about.
        with contextlib.suppress(OSError):
            if self._tls is not None:
                visit.start_tls(self._tls)
            self._script(visit)
        visit.sock.close()
