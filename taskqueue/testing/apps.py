"""Run tasks against an application in the same process: the requests are those of the consumer."""

from __future__ import annotations

import asyncio
import io
import sys
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from typing import Any
from urllib.parse import unquote, urlsplit

from taskqueue.handlers import Request
from taskqueue.request.execute import Executor
from taskqueue.request.http.answer import Head
from taskqueue.request.http.transport import Outgoing, Reply
from taskqueue.settings import QueueSettings, Settings
from taskqueue.task.fields import is_full
from taskqueue.task.result import Result, succeeded
from taskqueue.testing import SentTask

WsgiApp = Callable[[dict[str, Any], Any], Iterable[bytes]]
AsgiApp = Callable[[dict[str, Any], Any, Any], Awaitable[None]]
Call = Callable[[Outgoing], Reply]
TEST_SERVER = "http://testserver"


@dataclass(frozen=True, slots=True)
class Answered:
    """A task that was run once, and how its attempt went."""

    task: SentTask
    succeeded: bool
    """By the settings of its queue: a status of success_status, unless a handler judges."""
    status: int | None
    error: str | None
    """Why no request was made, or what a handler said; None where the status decides."""
    headers: Mapping[str, str]
    """Of the answer, in lower case."""
    body: bytes = field(repr=False)


def run_wsgi(app: WsgiApp, tasks: Iterable[SentTask], settings: Settings) -> list[Answered]:
    """Run each that is for this application."""
    return [_run(task, queue, lambda request: _wsgi(app, request)) for task, queue in _ours(tasks, settings)]


async def run_asgi(app: AsgiApp, tasks: Iterable[SentTask], settings: Settings) -> list[Answered]:
    """Run each that is for this application; it runs in this loop, the rest in a thread."""
    loop = asyncio.get_running_loop()

    def call(request: Outgoing) -> Reply:
        return asyncio.run_coroutine_threadsafe(_asgi(app, request), loop).result()

    return [await asyncio.to_thread(_run, task, queue, call) for task, queue in _ours(tasks, settings)]


def _ours(tasks: Iterable[SentTask], settings: Settings) -> Iterator[tuple[SentTask, QueueSettings]]:
    for task in tasks:
        queue = settings.queues.get(task.queue) or QueueSettings(task.queue)
        queue = queue if queue.base_url else replace(queue, base_url=TEST_SERVER)
        if not is_full(task.url) or _origin(task.url) == _origin(queue.base_url or ""):
            yield task, queue


def _origin(url: str) -> tuple[str, str]:
    parts = urlsplit(url)
    return parts.scheme, parts.netloc.lower()


class _InProcess:
    """Stands where the connections do."""

    def __init__(self, call: Call) -> None:
        self._call = call
        self.raised: BaseException | None = None
        self.reply: Reply | None = None

    def send(self, request: Outgoing, ends: float) -> Reply:
        del ends
        try:
            self.reply = self._call(request)
        except BaseException as error:
            self.raised = error
            raise
        return self.reply

    def host(self, url: str) -> str:
        return urlsplit(url).hostname or ""

    def close(self) -> None:
        """Have nothing to close."""


def _run(sent: SentTask, queue: QueueSettings, call: Call) -> Answered:
    transport = _InProcess(call)
    result: Result = Executor(queue, transport=transport).run(sent.task, queue=queue.name)
    if transport.raised is not None:
        raise transport.raised
    reply = transport.reply
    headers, body = ({}, b"") if reply is None else (reply.head.joined(), reply.body)
    return Answered(sent, succeeded(result, queue), result.status, result.error, headers, body)


def _reply(status: int, fields: Iterable[tuple[str, str]], body: bytes, request: Outgoing) -> Reply:
    head = Head(status, 1, tuple((name.lower(), value) for name, value in fields))
    return Reply(status, head, body, whole=True, host=urlsplit(request.url).netloc)


def _headers(request: Outgoing) -> dict[str, str]:
    made = Request(request.method, request.url, request.headers, request.body)
    return {
        **made.with_headers({"Host": urlsplit(request.url).netloc}).headers,
        "Content-Length": str(len(request.body or b"")),
    }


def _wsgi(app: WsgiApp, request: Outgoing) -> Reply:
    parts, body = urlsplit(request.url), request.body or b""
    port = parts.port or (443 if parts.scheme == "https" else 80)
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method, "SCRIPT_NAME": "",
        # WSGI has bytes as Latin-1 (PEP 3333).
        "PATH_INFO": unquote(parts.path, "latin-1") or "/", "QUERY_STRING": parts.query,
        "SERVER_NAME": parts.hostname, "SERVER_PORT": str(port),
        "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
        "wsgi.version": (1, 0), "wsgi.url_scheme": parts.scheme, "wsgi.input": io.BytesIO(body),
        "wsgi.errors": sys.stderr, "wsgi.multithread": False, "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }  # fmt: skip
    for name, value in _headers(request).items():
        key = name.upper().replace("-", "_")
        environ[key if key in {"CONTENT_TYPE", "CONTENT_LENGTH"} else f"HTTP_{key}"] = value
    started: list[tuple[str, list[tuple[str, str]]]] = []
    written: list[bytes] = []

    def start(status: str, fields: list[tuple[str, str]], _error: object = None) -> Callable[[bytes], None]:
        started.append((status, fields))
        return written.append

    chunks = app(environ, start)
    try:
        written.extend(chunks)
    finally:
        if close := getattr(chunks, "close", None):
            close()
    status, fields = started[-1]
    return _reply(int(status.split()[0]), fields, b"".join(written), request)


async def _asgi(app: AsgiApp, request: Outgoing) -> Reply:
    parts = urlsplit(request.url)
    given = _headers(request).items()
    scope: dict[str, Any] = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": request.method, "scheme": parts.scheme, "path": unquote(parts.path) or "/",
        "raw_path": parts.path.encode(), "query_string": parts.query.encode(), "root_path": "",
        "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in given],
        "client": ("127.0.0.1", 0), "server": (parts.hostname, parts.port), "state": {},
    }  # fmt: skip
    events = [{"type": "http.request", "body": request.body or b"", "more_body": False}]
    heads: list[MutableMapping[str, Any]] = []
    written: list[bytes] = []
    answered = asyncio.Event()

    async def receive() -> dict[str, Any]:
        if events:
            return events.pop()
        # Who asks again waits for the end of the connection, which comes after the answer.
        await answered.wait()
        return {"type": "http.disconnect"}

    async def send(event: MutableMapping[str, Any]) -> None:
        if event["type"] == "http.response.start":
            heads.append(event)
        elif event["type"] == "http.response.body":
            written.append(event.get("body", b""))
            if not event.get("more_body", False):
                answered.set()

    await app(scope, receive, send)
    fields = [
        (name.decode("latin-1"), value.decode("latin-1")) for name, value in heads[0].get("headers", [])
    ]
    return _reply(heads[0]["status"], fields, b"".join(written), request)
