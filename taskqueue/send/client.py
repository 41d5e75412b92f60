"""Send tasks from a program: confirmed, and straight onto the ladder."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskqueue.broker.connect import parameters
from taskqueue.errors import ConfigError, InvalidTask
from taskqueue.send.new_task import NewTask, taking
from taskqueue.send.publisher import Sender
from taskqueue.settings import Settings, load
from taskqueue.task.fields import mapping, method, shown
from taskqueue.task.message import Publish
from taskqueue.tracing import Tracing

TIMEOUT = 30.0
_HEADERS = "headers"
"""The handler that reads the method of a request from metadata."""


class Client:
    """Sends tasks to a broker; thread-safe, fork-safe, and connects when it first has to.

    `server` is one AMQP URL or several with commas between; `tracing` makes spans (extra `opentelemetry`).
    Settings that name queues (`from_config`) limit it to them.
    Every send returns when the broker has confirmed the task, or raises: BrokerUnreachable,
    BrokerRefused, NotDeclared or PublishFailed after at most `timeout` seconds, InvalidTask
    before anything is sent.
    """

    def __init__(
        self,
        server: str = "amqp://guest:guest@localhost:5672/",
        *,
        timeout: float = TIMEOUT,
        tracing: bool = False,
        settings: Settings | None = None,
    ) -> None:
        if settings is None:
            settings = _settings(server)
        self._settings = settings
        traced = tracing or any(queue.tracing != "off" for queue in settings.queues.values())
        self._tracing = Tracing() if traced else None
        self._timeout = timeout
        self._sender: Sender | None = None
        self._pid = 0
        self._lock = threading.Lock()

    @classmethod
    def from_config(cls, path: str | Path | None = None, *, timeout: float = TIMEOUT) -> Self:
        """Read taskqueue.ini, found as the command line finds it; raises ConfigError.

        What only a consumer needs is not read: neither its secrets nor their variables have to be there.
        """
        settings = load(Path(path) if path is not None else None, sending=True)
        return cls(settings=settings, timeout=timeout)

    @taking(NewTask)
    def send(self, task: NewTask) -> str:
        """Send one task and give its id; the fields are those of the message (README).

        `countdown` is in seconds or a timedelta; `eta` and `expires` are seconds since the epoch or a
        datetime with a time zone. An object or an array in second place is the payload. Sending again with
        the `id` of a task whose confirm did not come lets the receiver tell the duplicate.
        """
        return self.send_many([task])[0]

    def send_many(self, tasks: Iterable[NewTask | Mapping[str, Any]]) -> list[str]:
        """Send many tasks, each a mapping of `send`'s arguments, and give their ids in that order.

        Confirms are streamed: what is confirmed when an error is raised stays sent.
        """
        ids: list[str] = []
        deadline = self._timeout
        if self._tracing is None:
            self._ready().send(self._publishes(tasks, ids), deadline)
        else:
            with self._tracing.send():
                self._ready().send(self._publishes(tasks, ids), deadline)
        return ids

    def close(self) -> None:
        """Close the connection; a later send makes a new one."""
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None and self._pid == os.getpid():
            sender.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _ready(self) -> Sender:
        if self._pid != os.getpid():
            # A fork has this object but not its thread; the lock may be held by a thread that is not here.
            self._lock = threading.Lock()
            self._sender = None
            self._pid = os.getpid()
        with self._lock:
            if self._sender is None or not self._sender.alive:
                self._sender = Sender(parameters(self._settings))
            return self._sender

    def _publishes(self, tasks: Iterable[NewTask | Mapping[str, Any]], ids: list[str]) -> Iterator[Publish]:
        for each in tasks:
            task = each if isinstance(each, NewTask) else NewTask.of(each)
            queue = self._checked_queue(task)
            if self._tracing is not None:
                task = replace(task, headers=self._tracing.carried(task.headers or {}))
            publish = task.publish(self._settings.way(queue), time.time())
            ids.append(publish.message.properties["message_id"])
            yield publish

    def _checked_queue(self, task: NewTask) -> str:
        queue = task.queue
        if not isinstance(queue, str) or not queue:
            raise InvalidTask("queue", f"must be a text that is not empty, got {shown(queue)}")
        if self._settings.queues and queue not in self._settings.queues:
            known = ", ".join(self._settings.queues)
            raise ConfigError(f"queue {queue!r} is in no section of the configuration, which has: {known}")
        settings = self._settings.queues.get(queue)
        if settings is None or _HEADERS in settings.handlers:
            # It would be dead at its first run, far from whoever wrote it.
            method(mapping({"metadata": task.metadata}, "metadata"))
        return queue


def _settings(server: str) -> Settings:
    return Settings(servers=tuple(part.strip() for part in server.split(",") if part.strip()))
