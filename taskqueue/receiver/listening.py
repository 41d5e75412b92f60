"""A server on loopback that takes every request and answers as told, to see what a receiver would get."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from taskqueue.receiver import LARGEST_BODY, NotGenuine, Verifier

HOST = "127.0.0.1"
_IDLE = 75.0
"""Seconds after which a connection without a request is closed."""


@dataclass(frozen=True, slots=True)
class Answers:
    """How requests are answered."""

    status: int = 200
    slow: float = 0.0
    """Seconds until the answer."""
    flaky: int = 0
    """How many attempts of each task fail first, with `failing`; a request without a number is a first."""
    failing: int = 500

    def to(self, attempt: int | None) -> int:
        """Give the status for an attempt."""
        return self.failing if (attempt or 1) <= self.flaky else self.status


@dataclass(frozen=True, slots=True)
class Heard:
    """A request as it came, and the status that it gets."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int
    fault: str | None
    """Why it is not genuine; None where it is, or where nothing is verified."""

    def header(self, name: str) -> str | None:
        """Look up a header. Upper and lower case are the same."""
        return next((value for key, value in self.headers.items() if key.lower() == name.lower()), None)

    @property
    def attempt(self) -> int | None:
        """Give the number of the attempt, None where the request has none."""
        return _number(self.header("Taskqueue-Attempt"))


class Listening(ThreadingHTTPServer):
    """Gives each request to `heard`, on a thread of its own, and answers it.

    Raises OSError for a port in use. An exception of `heard` ends `serve_forever`, and is `broken` then.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(
        self, port: int, answers: Answers, verifier: Verifier | None, heard: Callable[[Heard], None]
    ) -> None:
        self.answers = answers
        self.broken: BaseException | None = None
        self.stopping = threading.Event()
        self._verifier = verifier
        self._heard = heard
        self._one_at_a_time = threading.Lock()
        super().__init__((HOST, port), _Handler)

    @property
    def url(self) -> str:
        """Give what `base_url` has to be."""
        return f"http://{HOST}:{self.server_port}"

    def fault(self, headers: Mapping[str, str], body: bytes) -> str | None:
        """Say why a request is not genuine."""
        try:
            if self._verifier is not None:
                self._verifier.verify(headers, body)
        except NotGenuine as error:
            return str(error)
        return None

    def tell(self, heard: Heard) -> None:
        """Tell of a request, one after the other."""
        with self._one_at_a_time:
            try:
                self._heard(heard)
            except BaseException as error:  # noqa: BLE001 raised again by who serves
                self.broken = error
                threading.Thread(target=self.shutdown, daemon=True).start()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Pass over who has gone away before the answer."""

    def server_close(self) -> None:
        """Close the server, and end what waits for an answer."""
        self.stopping.set()
        super().server_close()


class _Handler(BaseHTTPRequestHandler):
    server: Listening
    protocol_version = "HTTP/1.1"
    server_version, sys_version = "taskqueue-listen", ""
    timeout = _IDLE

    def __getattr__(self, name: str) -> Any:
        # http.server looks for do_POST and such: every method is taken.
        if name.startswith("do_"):
            return self._take
        raise AttributeError(name)

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing: what came is told by who listens."""

    def _take(self) -> None:
        at = time.time()
        length = _number(self.headers.get("Content-Length", "0"))
        if length is None or length > LARGEST_BODY or self.headers.get("Transfer-Encoding"):
            self.close_connection = True
            self._answer(413 if (length or 0) > LARGEST_BODY else 411)
            return
        body = self.rfile.read(length)
        headers = dict(self.headers.items())
        fault = self.server.fault(headers, body)
        answers = self.server.answers
        status = 401 if fault else answers.to(_number(self.headers.get("Taskqueue-Attempt")))
        self.server.tell(Heard(at, self.command, self.path, headers, body, status, fault))
        self.server.stopping.wait(answers.slow)
        self._answer(status)

    def _answer(self, status: int) -> None:
        self.send_response(status)
        if status not in {204, 304}:
            self.send_header("Content-Length", "0")
        self.end_headers()


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isascii() and text.isdigit() and len(text) <= len(str(2**63)) else None
