"""From a task to its result: make the request, and say how it went."""

from __future__ import annotations

import logging
import math
import random
import ssl
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from time import monotonic

from taskqueue import tracing
from taskqueue.handlers import Answer, Request
from taskqueue.redact import without_login, without_logins
from taskqueue.request.handlers.chain import Chain
from taskqueue.request.handlers.rules import header_text
from taskqueue.request.http import fault, target
from taskqueue.request.http.dial import Resolve, system_resolve
from taskqueue.request.http.fault import Blame, RequestFailed
from taskqueue.request.http.transport import Exchanges, Transport
from taskqueue.request.per_host import Crowd
from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Task
from taskqueue.task.fields import joined
from taskqueue.task.result import Result, succeeded

LONGEST_RETRY_AFTER = 100
STOP = "Taskqueue-Stop"
"""The header of an answer that asks for no other attempt; its value says why."""
LONGEST_STOP = 200
_AWAY = (1.0, 3.0)
"""Seconds (from, to) after which a task is tried again that a shortage on this machine has held up."""
_QUIET = 10.0
"""Seconds in which a shortage is not logged again."""
log = logging.getLogger(__name__)


class Executor:
    """Makes the requests of one queue. The threads of the queue share it and its connections.

    Raises ConfigError where the queue's settings can't be used. `context` replaces the system's
    CAs, `resolve` the system's resolver, `transport` all that goes over a network.
    """

    def __init__(
        self,
        settings: QueueSettings,
        *,
        context: ssl.SSLContext | None = None,
        resolve: Resolve = system_resolve,
        transport: Exchanges | None = None,
    ) -> None:
        self._settings = settings
        self._headers = {
            "Content-Type": "application/json",
            # Every browser and library sends this header. Some firewalls refuse a request without it.
            "Accept": "*/*",
            "User-Agent": f"taskqueue/{_version()}",
        }
        self._chain = Chain(settings)
        self._tracing = tracing.started(settings.tracing)
        self._crowd = None if settings.per_host is None else Crowd(settings.per_host)
        if transport is None:
            transport = Transport(settings, context, resolve, needs_bodies=self._chain.reads_answers)
        self._transport = transport
        self._quiet_until = -math.inf

    def run(self, task: Task, *, queue: str) -> Result:
        """Make one attempt, in `timeout` seconds at most. Never raises, whatever task and answer hold."""
        started = monotonic()
        try:
            result = self._attempt(task, queue, started)
        except RequestFailed as failure:
            result = self._failed(failure, task, queue, started)
        except BaseException as failure:
            # A fault of taskqueue or a handler's sys.exit must end the attempt and not the thread.
            log.exception("%s %s: attempt broke off", queue, task.id)
            error = fault.line(f"unexpected {type(failure).__name__}: {failure}")
            result = Result(None, error, None, monotonic() - started)
        return result

    def _failed(self, failure: RequestFailed, task: Task, queue: str, started: float) -> Result:
        away = None
        if failure.blame is Blame.SENDER:
            # Tasks come back at different moments: what is too little for all may be enough for each in turn.
            away = random.uniform(*_AWAY)
            self._complain(f"{queue} {task.id}: not sent, which costs no run: {failure.error}", started)
        invalid = failure.blame is Blame.TASK
        seconds = monotonic() - started
        return Result(failure.status, failure.error, None, seconds, invalid=invalid, busy=away)

    def _complain(self, text: str, now: float) -> None:
        level = logging.DEBUG if now < self._quiet_until else logging.WARNING
        if level == logging.WARNING:
            self._quiet_until = now + _QUIET
        log.log(level, "%s", text)

    def close(self) -> None:
        """Close the connections that are kept for later requests."""
        self._transport.close()

    def _attempt(self, task: Task, queue: str, started: float) -> Result:
        request = Request("POST", self._full(task.url), self._headers_for(task, queue), task.content)
        request = self._chain.prepare(request, task)
        if self._crowd is None:
            return self._traced(request, task, queue, started)
        host = self._transport.host(request.url)
        away = self._crowd.enter(host)
        if away is not None:
            return Result(None, None, None, monotonic() - started, busy=away)
        started = monotonic()
        try:
            return self._traced(request, task, queue, started)
        finally:
            self._crowd.leave(host, monotonic() - started)

    def _traced(self, request: Request, task: Task, queue: str, started: float) -> Result:
        if self._tracing is None:
            return self._exchange(request, task, started)
        with self._tracing.run(task, queue) as run:
            try:
                result = self._exchange(request.with_headers(run.headers), task, started)
            except RequestFailed as failure:
                run.ended(failure.status, failure.error)
                raise
            failed = None if succeeded(result, self._settings) else result.error or f"status {result.status}"
            run.ended(result.status, failed)
            return result

    def _exchange(self, request: Request, task: Task, started: float) -> Result:
        reply = self._transport.send(request, started + self._settings.timeout)
        answer, verdict = None, None
        if self._chain.reads_answers:
            answer = Answer(reply.status, reply.head.joined(), reply.body, reply.whole)
            verdict = self._chain.judge(answer, task)
        retry_after, stop = reply.head.first("retry-after"), reply.head.first(STOP.lower())
        result = Result(
            reply.status,
            None if verdict is None or verdict.error is None else fault.line(verdict.error),
            retry_after and retry_after[:LONGEST_RETRY_AFTER],
            monotonic() - started,
            permanent=verdict is not None and verdict.permanent,
            accepted=verdict is not None and verdict.error is None,
            stop=None if stop is None else fault.line(stop[:LONGEST_STOP].strip() or "no reason given"),
            host=reply.host,
        )
        if answer is None or not succeeded(result, self._settings):
            return result
        return replace(result, following=self._chain.follow(answer, task))

    def _full(self, url: str) -> str:
        full = joined(self._settings.base_url, url)
        if full is None:
            raise target.refused(f"{target.quoted(url)} is a path, and the queue has no base_url")
        return full

    def _headers_for(self, task: Task, queue: str) -> dict[str, str]:
        name = header_text(task.id)
        headers = {
            **self._headers,
            "Taskqueue-Id": name,
            "Idempotency-Key": name,
            "Taskqueue-Queue": header_text(queue),
            "Taskqueue-Attempt": str(task.runs + 1),
            # Seconds since the epoch, as HTTP's own dates have no fractions.
            "Taskqueue-Due": f"{task.due // 1000}.{task.due % 1000:03d}",
        }
        if task.runs and task.error is not None:
            headers["Taskqueue-Previous-Error"] = header_text(task.error)
        if task.missed is not None:
            headers["Taskqueue-Missed"] = str(task.missed)
        if task.failed is not None:
            headers["Taskqueue-Failed-Id"] = header_text(task.failed.id)
            headers["Taskqueue-Failed-Url"] = header_text(without_login(task.failed.url))
            headers["Taskqueue-Failure"] = header_text(without_logins(task.failed.failure))
        if task.traceparent is not None:
            headers["traceparent"] = task.traceparent
            if task.tracestate is not None:
                headers["tracestate"] = task.tracestate
        return headers


def _version() -> str:
    try:
        return version("taskqueue")
    except PackageNotFoundError:
        return "0"
