"""One small HTTP server: /metrics for Prometheus, /healthz and /readyz for whoever starts and stops us."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from socketserver import ThreadingMixIn
from threading import Thread
from typing import Any
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from taskqueue.consume.health import Board
from taskqueue.errors import ConfigError

App = Callable[[dict[str, Any], Callable[..., Any]], Iterable[bytes]]
_PATIENCE = 10.0
"""Seconds that a client gets to send its request and to take the answer."""
_POLL = 0.1
"""Seconds that the end of the server may take."""


@contextmanager
def served(address: str, metrics: App, board: Board) -> Iterator[None]:
    """Serve on ``host:port`` (loopback where the host is empty) while the context lasts.

    Raises ConfigError where the address can't be used.
    """
    host, _, port = address.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    server_class = _ServerV6 if ":" in host else _Server
    try:
        server = make_server(host, int(port), _app(metrics, board), server_class, _Handler)
    except OSError as error:
        raise ConfigError(f"metrics: can't listen on {address}: {error.strerror or error}") from error
    thread = Thread(target=server.serve_forever, args=(_POLL,), name="taskqueue-page", daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()


def _app(metrics: App, board: Board) -> App:
    def app(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
        match environ["PATH_INFO"]:
            case "/healthz":
                faults = board.faults()
                return _answer(start_response, {"ok": not faults, "reasons": faults})
            case "/readyz":
                reasons = board.reasons()
                found = {"ok": not reasons, "reasons": reasons, "paused": board.paused()}
                return _answer(start_response, found)
            case "/" | "/metrics":
                return metrics(environ, start_response)
        start_response("404 Not Found", [("Content-Type", "text/plain")])
        return [b"there is /metrics, /healthz and /readyz\n"]

    return app


def _answer(start_response: Callable[..., Any], found: dict[str, Any]) -> list[bytes]:
    body = json.dumps(found).encode() + b"\n"
    status = "200 OK" if found["ok"] else "503 Service Unavailable"
    length = ("Content-Length", str(len(body)))
    start_response(status, [("Content-Type", "application/json"), length, ("Cache-Control", "no-store")])
    return [body]


class _Server(ThreadingMixIn, WSGIServer):
    daemon_threads = True

    def server_bind(self) -> None:
        """Bind, and leave out the look-up of our own name, which may take long and is of no use."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = str(self.server_address[0]), int(self.server_address[1])
        self.setup_environ()

    def handle_error(self, *_: object) -> None:
        """Say nothing of a client that went away."""


class _ServerV6(_Server):
    address_family = socket.AF_INET6


class _Handler(WSGIRequestHandler):
    timeout = _PATIENCE

    def log_message(self, *_: object) -> None:
        """Write no line for each look at the page."""
