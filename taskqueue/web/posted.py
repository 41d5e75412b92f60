"""`POST /queues/Q/tasks`: the message that the queue takes, for who has no AMQP; and its description."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from taskqueue.errors import ConfigError, InvalidTask, PublishFailed, TaskqueueError
from taskqueue.redact import redacted
from taskqueue.send.new_task import NewTask
from taskqueue.task import document
from taskqueue.task.decode import KNOWN, LARGEST_BODY
from taskqueue.task.fields import shown
from taskqueue.web import answers
from taskqueue.web.answers import RETRY_AFTER, site
from taskqueue.web.openapi import description

KEY = "Idempotency-Key"
_PROBLEM = "application/problem+json"
_TRACES = ("traceparent", "tracestate")
_TITLES = {
    400: "Invalid task", 401: "Unauthorized", 403: "Forbidden", 404: "Not found", 413: "Too large",
    415: "Not JSON", 503: "Not taken",
}  # fmt: skip


class _Refused(Exception):
    """What is wrong, and the status of the answer that says so."""

    def __init__(self, status: int, detail: object, **more: Any) -> None:
        super().__init__(str(detail))
        self.answer = problem(status, str(detail), **more)


async def post(request: Request) -> Response:
    """Send a task, and answer once the broker has confirmed it."""
    who = answers.visitor(request)
    # A cookie does not do: a page of others could have a browser send it.
    if who is None or who.csrf is not None:
        return problem(401, "the header Authorization must be 'Bearer' and the token")
    try:
        return await _sent(request, await _read(request))
    except _Refused as refused:
        return refused.answer


async def _read(request: Request) -> NewTask:
    """Read the task, checked as any client does."""
    try:
        queue = answers.queue(request).name
        kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if kind != "application/json" and not kind.endswith("+json"):
            raise _Refused(415, f"Content-Type must be application/json, got {kind[:60]!r}")
        data = await answers.body(request, LARGEST_BODY)
    except TaskqueueError as error:
        raise _Refused(answers.status(error), error) from error
    fields: Mapping[str, Any] = {}
    try:
        fields = _fields(data)
        headers = {name: request.headers[name] for name in _TRACES if name in request.headers}
        given = {"url": None, "queue": queue, **fields, "id": _key(request), "headers": headers or None}
        return site(request).client.checked(**given)
    except InvalidTask as error:
        raise _Refused(400, error, field=error.field, value=_value(fields, error.field)) from error
    except ConfigError as error:
        raise _Refused(400, error, field="queue", value=_value(fields, "queue")) from error


async def _sent(request: Request, task: NewTask) -> Response:
    try:
        (task_id,) = await site(request).client.send_many([task])
    except InvalidTask as error:
        raise _Refused(400, error, field=error.field, value=None) from error
    except TaskqueueError as error:
        # It may be there all the same, where the confirm was lost: sent again it has to have its id.
        unsure = {"id": task.id} if isinstance(error, PublishFailed) and error.ids else {}
        raise _Refused(503, error, **unsure) from error
    return JSONResponse({"id": task_id, "queue": task.queue}, 202)


async def described(request: Request) -> Response:
    """Give the description of what is above, as OpenAPI."""
    return JSONResponse(description(site(request).place.prefix))


def problem(status: int, detail: str, **more: Any) -> Response:
    """Make an answer that says what is wrong (RFC 9457)."""
    said = {"title": _TITLES.get(status, "Error"), "status": status, "detail": detail, **more}
    headers = {"WWW-Authenticate": "Bearer"} if status == 401 else RETRY_AFTER if status == 503 else None  # noqa: PLR2004 statuses
    return JSONResponse(said, status, headers, media_type=_PROBLEM)


def _fields(data: bytes) -> dict[str, Any]:
    """Read the message; the payload goes out as it was written. Raises InvalidTask."""
    read = document.read(data)
    # What nobody knows is left out, as a consumer does.
    fields = {name: value for name, value in read.values.items() if name in KNOWN}
    if not isinstance(fields.get("payload", ""), str):
        fields["payload"] = read.written("payload").decode()
    return fields


def _key(request: Request) -> str | None:
    """Read the header that gives the task its id; raises InvalidTask for one that can't be."""
    key = request.headers.get(KEY)
    if key is None:
        return None
    if not key or not key.isascii() or not key.isprintable():
        raise InvalidTask(KEY, f"must be printable ASCII and not empty, got {shown(key)}")
    return key


def _value(fields: Mapping[str, Any], field: str) -> str | None:
    """Write the value that is wrong, without login and query; None where it is absent or inside."""
    value = fields.get(field)
    if isinstance(value, str):
        value = redacted(value)
    return None if value is None else shown(value)
