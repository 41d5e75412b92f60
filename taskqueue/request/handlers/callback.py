"""The built-in handler ``callback``: calls a URL after a success, with the answer as its body.

``{"metadata": {"on_success": "/paid"}}``, or with more fields for that task:
``{"on_success": {"url": "/paid", "max_retries": 5, "metadata": {…}}}``. The call is a task of its own
in the same queue: retried, rate-limited and counted like any other.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

from taskqueue.errors import InvalidTask
from taskqueue.handlers import Answer, FollowUp, Handler, Request
from taskqueue.redact import without_login
from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Task
from taskqueue.task.fields import is_full
from taskqueue.task.metadata import ON_SUCCESS, on_success


class Callback(Handler):
    """Sends the task that ``metadata.on_success`` names, once this one has succeeded."""

    def __init__(self, settings: QueueSettings) -> None:
        super().__init__(settings)
        self._has_base = settings.base_url is not None

    def prepare(self, request: Request, task: Task) -> Request:
        """Refuse an `on_success` that could not be called later, before the request is made."""
        wanted = on_success(task.metadata)
        if wanted is not None and not is_full(wanted.url) and not self._has_base:
            raise InvalidTask(f"metadata.{ON_SUCCESS}", "is a path, and the queue has no base_url")
        return request

    def follow(self, answer: Answer, task: Task) -> Sequence[FollowUp]:
        """Give the task that `on_success` asks for, if any."""
        wanted = on_success(task.metadata)
        # A roll_back carries the metadata of the task that failed; its success is not that one's.
        if wanted is None or task.failed is not None:
            return ()
        told = _told(answer, task)
        return (FollowUp(ON_SUCCESS, wanted.url, told, wanted.max_retries, wanted.metadata),)


def _told(answer: Answer, task: Task) -> dict[str, Any]:
    text = _text(answer)
    told: dict[str, Any] = {
        "id": task.id,
        "url": without_login(task.url),
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
