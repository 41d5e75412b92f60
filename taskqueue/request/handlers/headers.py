"""The built-in handler ``headers``: method and headers from a task's metadata.

``{"metadata": {"method": "PUT", "headers": {"Authorization": "Bearer …"}}}``. GET and DELETE are
sent without a body (RFC 9110, 9.3.1 and 9.3.5, gives it no meaning).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from taskqueue.errors import InvalidTask
from taskqueue.handlers import Handler, Request
from taskqueue.request.handlers.rules import HandlerError, check, header_text
from taskqueue.task import fields
from taskqueue.task.decode import Task

WITHOUT_BODY = frozenset({"GET", "DELETE"})


class Headers(Handler):
    """Sets what ``metadata.method`` and ``metadata.headers`` ask for."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Change the request as the metadata says; raises InvalidTask where it can't be used."""
        metadata = task.metadata
        if not metadata:
            return request
        prepared = request
        if (method := fields.method(metadata)) is not None:
            prepared = _with_method(prepared, method)
        if (headers := metadata.get("headers")) is not None:
            prepared = prepared.with_headers(_read(headers))
        try:
            check(prepared, request)
        except HandlerError as error:
            raise InvalidTask("metadata.headers", str(error)) from error
        return prepared


def _with_method(request: Request, method: str) -> Request:
    if method not in WITHOUT_BODY:
        return replace(request, method=method)
    headers = {name: value for name, value in request.headers.items() if name.lower() != "content-type"}
    return replace(request, method=method, headers=headers, body=None)


def _read(headers: object) -> Mapping[str, str]:
    if headers == []:
        # PHP writes an empty object like this.
        return {}
    if not isinstance(headers, Mapping):
        raise InvalidTask("metadata.headers", f"must be an object of texts, got {type(headers).__name__}")
    return {name: _value(name, value) for name, value in headers.items()}


def _value(name: str, value: Any) -> str:
    if not isinstance(value, str):
        # The error never shows the value, as it may be a credential.
        raise InvalidTask("metadata.headers", f"{name[:60]!a} must be a text, got {type(value).__name__}")
    if any(char < " " or char == "\x7f" for char in value):
        raise InvalidTask("metadata.headers", f"{name[:60]!a} holds a line end or control character")
    return header_text(value)
