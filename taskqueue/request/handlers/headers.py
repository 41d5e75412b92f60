"""The built-in handler ``headers``: method and headers from a task's metadata.

``{"metadata": {"method": "PUT", "headers": {"Authorization": "Bearer …"}}}``. GET and DELETE are
sent without a body (RFC 9110, 9.3.1 and 9.3.5, gives it no meaning).
"""

from __future__ import annotations

from dataclasses import replace

from taskqueue.errors import InvalidTask
from taskqueue.handlers import Handler, Request
from taskqueue.request.handlers.rules import HandlerError, check
from taskqueue.task.decode import Task
from taskqueue.task.metadata import asked

WITHOUT_BODY = frozenset({"GET", "DELETE"})


class Headers(Handler):
    """Sets what ``metadata.method`` and ``metadata.headers`` ask for."""

    def prepare(self, request: Request, task: Task) -> Request:
        """Change the request as the metadata says; raises InvalidTask where it can't be used."""
        if not task.metadata:
            return request
        wanted = asked(task.metadata, task.id)
        prepared = request if wanted.method is None else _with_method(request, wanted.method)
        if wanted.headers:
            prepared = prepared.with_headers(wanted.headers)
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
