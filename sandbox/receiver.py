"""A real HTTP/1.1 server on loopback that records every request and answers as it is told."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Self, cast
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came."""

    method: str
    path: str
    """With the query, as on the request line."""
    headers: Message
    """Case-insensitive; `get_all` gives repeated ones."""
    body: bytes
    at: float
    """POSIX seconds at which the head of the request was there."""
    connection: int
    """1 for the first connection; the same number for requests over one kept-alive connection."""

    @property
    def json(self) -> Any:
        """Decode the body; raises ValueError where it is not JSON."""
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Answer:
    """What a request gets."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    delay: float = 0.0
    """Seconds until the answer begins; cut short when the receiver closes."""
    close: bool = False
    """Close the connection without a byte of answer."""
    hold: threading.Event | None = None
    """The answer begins only once this is set (or the receiver closes)."""
    drip: float = 0.0
    """Seconds between two bytes of the body, to be a receiver that never quite finishes."""


Script = int | Answer | Sequence[int | Answer] | Callable[[Request], int | Answer]
"""How a path answers: always the same, one after another (the last one stays), or as computed."""


class Receiver:
    """The server: `answer` programs a path, `requests` is what came, `wait_for` waits for more.

    A path that nobody programmed answers 200.
    """

    def __init__(self) -> None:
        """Listen on a free port of loopback, and serve in threads until `close`."""
        self._changed = threading.Condition()
        self._requests: list[Request] = []
        self._scripts: dict[str, Script] = {}
        self._connections = 0
        self.closing = threading.Event()
        self._server = _Server(self)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), name="receiver")
        self._thread.start()

    def __enter__(self) -> Self:
        """Give the receiver itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close it."""
        self.close()

    @property
    def port(self) -> int:
        """Give the port it listens on."""
        return int(self._server.server_address[1])

    @property
    def url(self) -> str:
        """Give the URL of the server, without a slash at the end."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def requests(self) -> list[Request]:
        """List every request so far, in the order of their arrival."""
        with self._changed:
            return list(self._requests)

    def to(self, path: str) -> list[Request]:
        """List the requests to `path`, whatever their query."""
        return [request for request in self.requests if urlsplit(request.path).path == path]

    def answer(self, path: str, script: Script) -> None:
        """Program what requests to `path` get from now on."""
        with self._changed:
            self._scripts[path] = list(script) if isinstance(script, Sequence) else script

    def wait_for(
        self, wanted: int | Callable[[list[Request]], bool], timeout: float = 90.0, path: str | None = None
    ) -> list[Request]:
        """Wait until so many requests came (to `path`), or until `wanted` of the list is true.

        Returns the requests (to `path`); raises TimeoutError with what did come after `timeout` seconds.
        """

        def chosen() -> list[Request]:
            return [r for r in self._requests if path is None or urlsplit(r.path).path == path]

        def enough() -> bool:
            return len(chosen()) >= wanted if isinstance(wanted, int) else wanted(chosen())

        with self._changed:
            if not self._changed.wait_for(enough, timeout):
                came = [f"{r.method} {r.path}" for r in self._requests]
                raise TimeoutError(f"after {timeout} s: {len(came)} requests, the last ones: {came[-10:]}")
            return chosen()

    def clear(self) -> None:
        """Forget every request and every script."""
        with self._changed:
            self._requests.clear()
            self._scripts.clear()

    def close(self) -> None:
        """Stop, let go of every request that is held, and wait until all threads are done."""
        self.closing.set()
        self._server.shutdown()
        self._server.hang_up()
        self._server.server_close()
        self._thread.join()

    def connected(self) -> int:
        """Number a new connection."""
        with self._changed:
            self._connections += 1
            return self._connections

    def record(self, request: Request) -> Answer:
        """Keep a request, wake who waits for it, and give the answer that its path is programmed for."""
        with self._changed:
            self._requests.append(request)
            self._changed.notify_all()
            script = self._scripts.get(urlsplit(request.path).path, 200)
            if isinstance(script, list):
                script = script.pop(0) if len(script) > 1 else script[0]
        answer = script(request) if callable(script) else script
        return answer if isinstance(answer, Answer) else Answer(cast("int", answer))

    def pause(self, answer: Answer) -> None:
        """Wait as the answer says, but no longer than the receiver lives."""
        if answer.delay:
            self.closing.wait(answer.delay)
        while answer.hold is not None and not answer.hold.wait(0.05) and not self.closing.is_set():
            pass


class _Server(ThreadingHTTPServer):
    daemon_threads = False
    block_on_close = True
    request_queue_size = 128

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self._open: set[Any] = set()
        super().__init__(("127.0.0.1", 0), _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """End kept-alive connections, whose threads else wait for the next request for ever."""
        for connection in list(self._open):
            with suppress(OSError):
                connection.shutdown(2)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that hang up in the middle are what many tests are about."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server
    disable_nagle_algorithm: ClassVar[bool] = True

    def setup(self) -> None:
        super().setup()
        self.number = self.server.receiver.connected()

    def _serve(self) -> None:
        at = time.time()
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        receiver = self.server.receiver
        answer = receiver.record(Request(self.command, self.path, self.headers, body, at, self.number))
        receiver.pause(answer)
        if answer.close:
            self.close_connection = True
            return
        self._write(answer)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Serve every method there is or may be; http.server looks for ``do_<METHOD>``."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _write(self, answer: Answer) -> None:
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        if not {"content-length", "transfer-encoding"} & {name.lower() for name in answer.headers}:
            self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        if not answer.drip:
            self.wfile.write(answer.body)
            return
        for byte in answer.body:
            if self.server.receiver.closing.wait(answer.drip):
                return
            self.wfile.write(bytes((byte,)))

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing on standard error."""
