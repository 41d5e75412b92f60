"""A request handler for partners that want a key of their own, and say no with a 200.

It shows all that a handler can do: change the request from a task's metadata (`prepare`), judge the
answer by more than its status (`judge`), and send tasks that follow from a success (`follow`).
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence

from taskqueue.errors import ConfigError
from taskqueue.handlers import Answer, FollowUp, Handler, Request, Verdict
from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Task

KEYS = "PARTNER_KEYS"
"""The environment variable with the partners' keys: ``acme=k1 globex=k2``."""


class Partner(Handler):
    """Works for tasks with ``metadata.partner``; leaves all others alone."""

    def __init__(self, settings: QueueSettings) -> None:
        """Read the keys once: a queue that can't work should not begin."""
        super().__init__(settings)
        pairs = (word.partition("=") for word in os.environ.get(KEYS, "").split())
        self._keys = {name: key for name, _, key in pairs}
        if not self._keys:
            message = f"queue {settings.name}: handler partner needs {KEYS}=name=key …"
            raise ConfigError(message)

    def prepare(self, request: Request, task: Task) -> Request:
        """Add the partner's key. The KeyError of an unknown partner fails the attempt, and says so."""
        partner = task.metadata.get("partner")
        if partner is None:
            return request
        return request.with_headers({"X-Partner-Key": self._keys[partner]})

    def judge(self, answer: Answer, task: Task) -> Verdict | None:
        """Take ``{"ok": false}`` for a failure, and one that says so for a permanent one."""
        said = _json(answer, task)
        if said.get("ok") is not False:
            return None
        return Verdict(f"partner said {said.get('error')!a}", permanent=said.get("retry") is False)

    def follow(self, answer: Answer, task: Task) -> Sequence[FollowUp]:
        """Have the receipt fetched that the partner names, as a task of its own."""
        receipt = _json(answer, task).get("receipt")
        if not isinstance(receipt, str):
            return ()
        return (
            FollowUp("receipt", receipt, {"for": task.id}, metadata={"partner": task.metadata["partner"]}),
        )


def _json(answer: Answer, task: Task) -> dict[str, object]:
    if "partner" not in task.metadata or not answer.whole:
        return {}
    try:
        said = json.loads(answer.body)
    except ValueError:
        return {}
    return said if isinstance(said, dict) else {}
