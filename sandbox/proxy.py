"""A TCP proxy on loopback that does to a connection what networks do: cut, stall, delay, half-close."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import Self

Filter = Callable[[bytes], bytes]
"""Takes what came from the server and gives what goes on to the client; one for each connection."""
_RESET = struct.pack("ii", 1, 0)


class _Pair:
    """One connection from a client, and its counterpart to the server."""

    def __init__(self, client: socket.socket, server: socket.socket) -> None:
        self.client = client
        self.server = server

    def cut(self) -> None:
        """End both with a reset."""
        for sock in (self.client, self.server):
            with suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


class Proxy:
    """Forwards connections to a port of loopback; a context manager.

    Whatever is done to it holds for every connection, new ones too, until `resume`.
    """

    def __init__(self, port: int, *, at: int = 0, filtered: Callable[[], Filter] | None = None) -> None:
        """Stand before `port`; listens on port `at`, or on a free one."""
        self._target = port
        self._filtered = filtered
        self._flows = threading.Event()
        self._flows.set()
        self._closing = threading.Event()
        self._delay = 0.0
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        self._listener = socket.create_server(("127.0.0.1", at))
        self.port: int = self._listener.getsockname()[1]
        self._acceptor = threading.Thread(target=self._accept, name="proxy")

    def __enter__(self) -> Self:
        """Begin to accept."""
        self._acceptor.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Cut everything, and wait until all threads are done."""
        self._closing.set()
        self._flows.set()
        self._listener.shutdown(socket.SHUT_RDWR)
        self._acceptor.join()
        self._listener.close()
        self.cut()
        for thread in self._threads:
            thread.join()

    @property
    def url(self) -> str:
        """Give the AMQP URL of the broker behind it."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def cut(self) -> None:
        """Reset every connection there is; new ones are welcome."""
        pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.cut()

    def stall(self) -> None:
        """Keep all that comes, on either side, and say nothing: as a cable pulled out somewhere far away."""
        self._flows.clear()

    def slow(self, seconds: float) -> None:
        """Hold each piece for so long."""
        self._delay = seconds

    def resume(self) -> None:
        """Let everything flow again, at once."""
        self._delay = 0.0
        self._flows.set()

    def half_close(self) -> None:
        """Tell every client that the server sends no more, and go on taking what they send."""
        for pair in self._pairs:
            with suppress(OSError):
                pair.client.shutdown(socket.SHUT_WR)

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            try:
                server = socket.create_connection(("127.0.0.1", self._target))
            except OSError:
                client.close()
                continue
            pair = _Pair(client, server)
            self._pairs.append(pair)
            for source, sink, filtered in (
                (client, server, None),
                (server, client, self._filtered() if self._filtered else None),
            ):
                thread = threading.Thread(target=self._pump, args=(source, sink, filtered))
                self._threads.append(thread)
                thread.start()

    def _pump(self, source: socket.socket, sink: socket.socket, filtered: Filter | None) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                self._flows.wait()
                if self._delay:
                    self._closing.wait(self._delay)
                sink.sendall(filtered(data) if filtered else data)
        # One side has ended: the other one learns it, once the stall is over.
        self._flows.wait()
        for sock in (source, sink):
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
