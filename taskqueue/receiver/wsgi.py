"""Wrap a WSGI application: no request that is not genuine (401), and no task twice (200), gets through."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterable
from typing import Any

from taskqueue.receiver import (
    DUPLICATE,
    LARGEST_BODY,
    NotDone,
    NotGenuine,
    Store,
    Verifier,
    check_done,
    check_size,
)

App = Callable[[dict[str, Any], Any], Iterable[bytes]]
_PLAIN = [("Content-Type", "text/plain; charset=utf-8")]


class Receiver:
    """An application that only gets genuine tasks, each done once where there is a `store`."""

    def __init__(self, app: App, verifier: Verifier, store: Store | None = None) -> None:
        self._app = app
        self._verifier = verifier
        self._store = store

    def __call__(self, environ: dict[str, Any], start: Any) -> Iterable[bytes]:
        """Answer a request."""
        headers = {
            name.removeprefix("HTTP_").replace("_", "-"): value
            for name, value in environ.items()
            if name.startswith("HTTP_")
        }
        try:
            body = _body(environ)
            task_id = self._verifier.verify(headers, body)
        except NotGenuine as error:
            start("401 Unauthorized", _PLAIN)
            return [str(error).encode()]
        environ = {**environ, "wsgi.input": io.BytesIO(body), "CONTENT_LENGTH": str(len(body))}
        if self._store is None:
            return self._app(environ, start)
        answer = _Answer()
        try:
            with self._store.once(task_id) as new:
                if not new:
                    start("200 OK", _PLAIN)
                    return [DUPLICATE]
                answer.take(self._app, environ)
        except NotDone:
            pass
        start(answer.status, answer.fields)
        return answer.body


class _Answer:
    """A whole answer, which is sent only when what it says is kept."""

    def __init__(self) -> None:
        self.status = ""
        self.fields: list[tuple[str, str]] = []
        self.body: list[bytes] = []

    def take(self, app: App, environ: dict[str, Any]) -> None:
        chunks = app(environ, self._start)
        try:
            self.body.extend(chunks)
        finally:
            if close := getattr(chunks, "close", None):
                close()
        check_done(int(self.status.split(maxsplit=1)[0]))

    def _start(
        self, status: str, fields: list[tuple[str, str]], error: Any = None
    ) -> Callable[[bytes], None]:
        del error
        self.status, self.fields = status, fields
        return self.body.append


def _body(environ: dict[str, Any]) -> bytes:
    """Read the body; a server says where one without a length ends (``wsgi.input_terminated``)."""
    length = environ.get("CONTENT_LENGTH") or ""
    if length.isdecimal():
        size = int(length)
    else:
        size = LARGEST_BODY + 1 if environ.get("wsgi.input_terminated") else 0
    body: bytes = environ["wsgi.input"].read(min(size, LARGEST_BODY + 1))
    check_size(len(body))
    return body
