"""The built-in handler ``headers``: method and headers from a task's metadata.

``{"metadata": {"method": "PUT", "headers": {"Authorization": "Bearer …"}}}``. GET and DELETE are
sent without a body (RFC 9110, 9.3.1 and 9.3.5, gives it no meaning).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from taskqueue.handlers import Handler, Request
from taskqueue.handlers.rules import METHODS, HandlerError, header_text
from taskqueue.task import Task

WITHOUT_BODY = frozenset({"GET", "DELETE"})


class Headers(Handler):
    """Sets what ``metadata.method`` and ``metadata.headers`` ask for."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Change the request as the metadata say; raises HandlerError where they can't be used."""
        metadata = task.metadata
        if not metadata:
            return request
        if (method := metadata.get("method")) is not None:
            request = _with_method(request, method)
        if (headers := metadata.get("headers")) is not None:
            request = request.with_headers(_read(headers))
        return request


def _with_method(request: Request, method: object) -> Request:
    if not isinstance(method, str) or method.upper() not in METHODS:
        msg = f"metadata.method must be one of {', '.join(METHODS)}, got {_shown(method)}"
        raise HandlerError(msg)
    method = method.upper()
    if method not in WITHOUT_BODY:
        return replace(request, method=method)
    headers = {name: value for name, value in request.headers.items() if name.lower() != "content-type"}
    return replace(request, method=method, headers=headers, body=None)


def _read(headers: object) -> Mapping[str, str]:
    if not isinstance(headers, Mapping):
        msg = f"metadata.headers must be an object of texts, got {_shown(headers)}"
        raise HandlerError(msg)
    return {name: _value(name, value) for name, value in headers.items()}


def _value(name: str, value: Any) -> str:
    if not isinstance(value, str):
        # Never the value itself: it may be a credential.
        msg = f"metadata.headers: {name[:60]!a} must be a text, got {type(value).__name__}"
        raise HandlerError(msg)
    if any(char < " " or char == "\x7f" for char in value):
        msg = f"metadata.headers: {name[:60]!a} holds a line end or control character"
        raise HandlerError(msg)
    return header_text(value)


def _shown(value: object) -> str:
    return f"{value[:60]!a}" if isinstance(value, str) else type(value).__name__
