"""The built-in handler ``callback``: calls a URL after a success, with the answer as its body.

``{"metadata": {"on_success": "/paid"}}``, or with more fields for that task:
``{"on_success": {"url": "/paid", "max_retries": 5, "metadata": {…}}}``. The call is a task of its own
in the same queue: retried, rate-limited and counted like any other.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Any

from taskqueue.errors import InvalidTask
from taskqueue.handlers import Answer, FollowUp, Handler, Request
from taskqueue.request.http import target
from taskqueue.request.http.fault import RequestFailed
from taskqueue.settings import QueueSettings
from taskqueue.task import fields
from taskqueue.task.decode import Task
from taskqueue.task.fields import is_full

NAME = "on_success"
FIELD = f"metadata.{NAME}"
_KNOWN = frozenset({"url", "max_retries", "metadata"})


class Callback(Handler):
    """Sends the task that ``metadata.on_success`` names, once this one has succeeded."""

    def __init__(self, settings: QueueSettings) -> None:
        super().__init__(settings)
        self._has_base = settings.base_url is not None

    def prepare(self, request: Request, task: Task) -> Request:
        """Refuse an `on_success` that could not be called later, before the request is made."""
        wanted = task.metadata.get(NAME)
        if wanted is not None and not is_full(_follow_up(wanted).url) and not self._has_base:
            raise InvalidTask(FIELD, "is a path, and the queue has no base_url")
        return request

    def follow(self, answer: Answer, task: Task) -> Sequence[FollowUp]:
        """Give the task that `on_success` asks for, if any."""
        wanted = task.metadata.get(NAME)
        # A roll_back carries the metadata of the task that failed; its success is not that one's.
        return () if wanted is None or task.failed is not None else (_follow_up(wanted, _told(answer, task)),)


def _follow_up(wanted: object, payload: Any = None) -> FollowUp:
    document: Mapping[str, Any] = wanted if isinstance(wanted, Mapping) else {"url": wanted}
    try:
        url = fields.url(document, "url")
        limit = fields.count(document, "max_retries")
        metadata = fields.mapping(document, "metadata")
        if url is not None and is_full(url):
            target.origin(*target.split(url)[:2])
    except (InvalidTask, RequestFailed) as error:
        raise InvalidTask(FIELD, str(error)) from error
    if url is None or set(document) - _KNOWN:
        raise InvalidTask(FIELD, f"must be a URL, or an object of {', '.join(sorted(_KNOWN))}")
    return FollowUp(NAME, url, payload, limit, metadata)


def _told(answer: Answer, task: Task) -> dict[str, Any]:
    text = _text(answer)
    told: dict[str, Any] = {
        "id": task.id,
        "url": task.url,
        "attempt": task.runs + 1,
        "status": answer.status,
        "content_type": answer.headers.get("content-type"),
        "body": text,
        "truncated": not answer.whole,
    }
    if text is None:
        told["body_base64"] = base64.b64encode(answer.body).decode()
    return told


def _text(answer: Answer) -> str | None:
    """Read the body as UTF-8, None where it is not. A body that was cut may end within a character."""
    for cut in range(1 if answer.whole else 4):
        try:
            return answer.body[: len(answer.body) - cut].decode()
        except UnicodeDecodeError:
            continue
    return None
