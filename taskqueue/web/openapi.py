"""What `POST /queues/Q/tasks` takes and answers, as OpenAPI 3.1 describes it. Pure."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from taskqueue.task.decode import LARGEST_BODY
from taskqueue.task.fields import LAST_SECOND, LONGEST_URL, MOST_RETRIES

_CLEAN = r"[^\u0000-\u0020\u007f-\u00a0\u2028\u2029]"
"""A character that may stand in a URL: encoded or not, but no blank, line end or control character."""
_URL: dict[str, Any] = {
    "type": "string",
    "minLength": 1,
    "maxLength": LONGEST_URL,
    "pattern": rf"^(?:[hH][tT]{{2}}[pP][sS]?://|(?![A-Za-z][A-Za-z0-9+.-]*:)){_CLEAN}+$",
}


def _maybe(kind: str, about: str, **more: Any) -> dict[str, Any]:
    """Describe a field that may be absent; null is as absent."""
    return {"type": [kind, "null"], **more, "description": about}


def _seconds(about: str) -> dict[str, Any]:
    return _maybe("number", about, minimum=0, maximum=int(LAST_SECOND))


_PROPERTIES: dict[str, Any] = {
    "url": _URL | {"description": "A path, which is joined to the queue's base_url, or a full http(s) URL."},
    "payload": {
        "description": "The body of the POST. A string is sent as it is; anything else as JSON. Absent: {}."
    },
    "countdown": _seconds("Seconds to wait before it runs, which end by the year 9999. Not with eta."),
    "eta": _seconds("When to run it: POSIX seconds. In the past: now."),
    "max_retries": _maybe(
        "integer",
        "It runs at most so often; 0 and 1: once. Absent: as the queue says.",
        minimum=0,
        maximum=MOST_RETRIES,
    ),
    "expires": _seconds("It is not run after this time: POSIX seconds."),
    "roll_back": _URL
    | {"type": ["string", "null"], "description": "Called once it has failed for good, with its payload."},
    "queue": {
        "type": "string",
        "minLength": 1,
        "description": "The queue, where it is not that of the path.",
    },
    "metadata": {
        "type": ["object", "array", "null"],
        "maxItems": 0,
        "description": "For request handlers: method, headers, and so on. PHP writes an empty one as array.",
    },
}
_PROBLEM = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
_RETRY = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds."}}
_ANSWERS: dict[str, Any] = {
    "202": {
        "description": "The broker has confirmed it.",
        "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Sent"}}},
    },
    "400": {"description": "It is no task; field and value say why.", "content": _PROBLEM},
    "401": {"description": "The token is not there, or another one.", "content": _PROBLEM},
    "403": {"description": "It came by a name of this page that is not allowed."},
    "404": {"description": "There is no such queue.", "content": _PROBLEM},
    "413": {"description": f"It has over {LARGEST_BODY} bytes.", "content": _PROBLEM},
    "415": {"description": "It does not say that it is JSON.", "content": _PROBLEM},
    "503": {
        "description": "The broker is away, or did not take it. Send it again with the same Idempotency-Key.",
        "headers": _RETRY,
        "content": _PROBLEM,
    },
}


def description(prefix: str) -> dict[str, Any]:
    """Give the document; `prefix` is where a proxy shows the page."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "taskqueue",
            "version": version("taskqueue"),
            "description": "Call a URL later, reliably. What is sent is the message of the queue.",
        },
        "servers": [{"url": prefix or "/"}],
        "security": [{"token": []}],
        "paths": {"/queues/{queue}/tasks": {"post": _post()}},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": {"Task": _task(), "Sent": _sent(), "Problem": _problem()},
        },
    }


def _post() -> dict[str, Any]:
    return {
        "operationId": "send",
        "summary": "Send a task.",
        "parameters": [
            {
                "name": "queue",
                "in": "path",
                "required": True,
                "schema": {"type": "string", "minLength": 1},
                "description": "A queue of taskqueue.ini.",
            },
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": False,
                "schema": {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[ -~]+$"},
                "description": "The id of the task, by which its receiver tells a duplicate.",
            },
        ],
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Task"}}},
        },
        "responses": _ANSWERS,
    }


def _task() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["url"],
        "properties": _PROPERTIES,
        "not": {"required": ["countdown", "eta"]},
    }


def _sent() -> dict[str, Any]:
    return {
        "type": "object",
        "required": ["id", "queue"],
        "properties": {"id": {"type": "string"}, "queue": {"type": "string"}},
    }


def _problem() -> dict[str, Any]:
    text = {"type": ["string", "null"]}
    return {
        "type": "object",
        "required": ["title", "status", "detail"],
        "properties": {
            "title": {"type": "string"},
            "status": {"type": "integer"},
            "detail": {"type": "string"},
            "field": text | {"description": "The field that is wrong."},
            "value": text | {"description": "What stands there, where that is short and no secret."},
            "id": text | {"description": "The id of a task that may have been taken all the same."},
        },
    }
