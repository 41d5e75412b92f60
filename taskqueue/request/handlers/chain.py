"""Runs the handlers of a queue in their order: before the request, on its answer, after a success."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from taskqueue.errors import InvalidTask
from taskqueue.handlers import Answer, FollowUp, Handler, Request, Verdict
from taskqueue.request.handlers.loading import load
from taskqueue.request.handlers.rules import HandlerError, check
from taskqueue.request.http import target
from taskqueue.request.http.fault import Blame, RequestFailed
from taskqueue.settings import QueueSettings
from taskqueue.task import decode as state
from taskqueue.task.decode import Task
from taskqueue.task.fields import is_full
from taskqueue.task.message import Message
from taskqueue.task.result import Following

MOST_FOLLOW_UPS = 100
log = logging.getLogger(__name__)


class Chain:
    """The handlers of one queue; raises ConfigError where one can't be loaded or made."""

    def __init__(self, settings: QueueSettings) -> None:
        handlers = load(settings)
        self._has_base = settings.base_url is not None
        self._preparing = [each for each in handlers if _overrides(each[1], "prepare")]
        self._judging = [each for each in handlers if _overrides(each[1], "judge")]
        self._following = [each for each in handlers if _overrides(each[1], "follow")]

    @property
    def reads_answers(self) -> bool:
        """Tell whether any handler looks at answers."""
        return bool(self._judging or self._following)

    def prepare(self, request: Request, task: Task) -> Request:
        """Let each handler change the request; raises RequestFailed that names a handler that fails."""
        for name, handler in self._preparing:
            try:
                prepared = handler.prepare(request, task)
                if prepared is not request:
                    check(prepared, request)
                    _check_url(prepared, request)
            except InvalidTask as error:
                raise RequestFailed(f"handler {name}: {error}", blame=Blame.TASK) from error
            except Exception as error:
                raise RequestFailed(_failed(name, error)) from error
            request = prepared
        return request

    def judge(self, answer: Answer, task: Task) -> Verdict | None:
        """Give the first verdict on an answer, None where no handler has one."""
        for name, handler in self._judging:
            try:
                verdict = handler.judge(answer, task)
            except Exception as error:  # noqa: BLE001 it is somebody else's code
                return Verdict(_failed(name, error))
            if verdict is not None:
                return _verdict(name, verdict)
        return None

    def follow(self, answer: Answer, task: Task) -> tuple[Following, ...]:
        """List the tasks that follow from a success; raises RequestFailed that names a handler that fails."""
        found: dict[str, Following] = {}
        for name, handler in self._following:
            try:
                for follow_up in handler.follow(answer, task):
                    _add(found, self._ready(follow_up, task))
            except Exception as error:
                raise RequestFailed(_failed(name, error), answer.status) from error
        return tuple(found.values())

    def _ready(self, follow_up: object, task: Task) -> Following:
        if not isinstance(follow_up, FollowUp) or not follow_up.name or type(follow_up.name) is not str:
            raise HandlerError("follow must give FollowUps, each with a name")
        try:
            body = state.encode(_document(follow_up), copied=True)
            made = state.decode(Message(body, {}, {"message_id": follow_up.name}), now=0)
        except InvalidTask as error:
            msg = f"follow-up {follow_up.name[:60]!a}: {error}"
            raise HandlerError(msg) from error
        if not self._has_base and not is_full(made.url):
            msg = f"follow-up {follow_up.name[:60]!a}: url is a path, and the queue has no base_url"
            raise HandlerError(msg)
        return Following(state.related_id(task.id, follow_up.name), body)


def _check_url(prepared: Request, before: Request) -> None:
    """Refuse a URL from a handler that can't be requested: not the task's fault, so it costs a run."""
    if prepared.url != before.url:
        try:
            target.origin(*target.split(prepared.url)[:2])
        except RequestFailed as error:
            raise HandlerError(error.error) from error


def _document(follow_up: FollowUp) -> Mapping[str, Any]:
    document: dict[str, Any] = {"url": follow_up.url, "payload": follow_up.payload}
    if follow_up.max_retries is not None:
        document["max_retries"] = follow_up.max_retries
    if follow_up.metadata:
        document["metadata"] = follow_up.metadata
    return document


def _add(found: dict[str, Following], following: Following) -> None:
    if following.id in found:
        msg = f"two follow-ups have the id {following.id[:60]!a}"
        raise HandlerError(msg)
    if len(found) >= MOST_FOLLOW_UPS:
        msg = f"more than {MOST_FOLLOW_UPS} follow-ups"
        raise HandlerError(msg)
    found[following.id] = following


def _verdict(name: str, verdict: object) -> Verdict:
    if isinstance(verdict, Verdict):
        return verdict
    return Verdict(f"handler {name}: judge must give a Verdict or None")


def _failed(name: str, error: Exception) -> str:
    if isinstance(error, HandlerError):
        return f"handler {name}: {error}"
    log.warning("handler %s failed", name, exc_info=error)
    return f"handler {name}: {type(error).__name__}: {error}"


def _overrides(handler: Handler, method: str) -> bool:
    return getattr(type(handler), method) is not getattr(Handler, method)
