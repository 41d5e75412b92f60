"""Send tasks from a program: confirmed, and straight onto the ladder."""

from __future__ import annotations

import math
import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from taskqueue.errors import ConfigError, InvalidTask
from taskqueue.settings import Settings, load
from taskqueue.task import decode as state
from taskqueue.task.fields import shown
from taskqueue.task.message import Message, Publish
from taskqueue.topology.ladder import Way
from taskqueue.tracing import Tracing

if TYPE_CHECKING:
    from taskqueue.send.publisher import Sender

ABSENT: Any = object()
"""The payload that is not given: the receiver gets an empty object."""
TIMEOUT = 30.0
_BODY_FIELDS = ("countdown", "eta", "max_retries", "expires", "roll_back", "metadata")


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
        """Read taskqueue.ini, found as the command line finds it; raises ConfigError."""
        return cls(settings=load(Path(path) if path is not None else None), timeout=timeout)

    def send(
        self,
        url: str,
        queue: str = "default",
        *,
        payload: Any = ABSENT,
        countdown: float | None = None,
        eta: float | None = None,
        max_retries: int | None = None,
        roll_back: str | None = None,
        expires: float | None = None,
        metadata: Mapping[str, Any] | None = None,
        id: str | None = None,  # noqa: A002 the field's own name
        priority: int | None = None,
        headers: Mapping[str, Any] | None = None,
    ) -> str:
        """Send one task and give its id; the fields are those of the message (README).

        Seconds throughout; `eta` and `expires` since the epoch. Sending again with the `id` of a
        task whose confirm did not come lets the receiver tell the duplicate.
        """
        fields = {
            "url": url, "queue": queue, "payload": payload, "countdown": countdown, "eta": eta,
            "max_retries": max_retries, "roll_back": roll_back, "expires": expires,
            "metadata": metadata, "id": id, "priority": priority, "headers": headers,
        }  # fmt: skip
        return self.send_many([fields])[0]

    def send_many(self, tasks: Iterable[Mapping[str, Any]]) -> list[str]:
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
                self._sender = _connecting(self._settings)
            return self._sender

    def _publishes(self, tasks: Iterable[Mapping[str, Any]], ids: list[str]) -> Iterator[Publish]:
        for fields in tasks:
            queue = fields.get("queue", "default")
            if not isinstance(queue, str) or not queue:
                raise InvalidTask("queue", f"must be a text that is not empty, got {shown(queue)}")
            if self._settings.queues and queue not in self._settings.queues:
                known = ", ".join(self._settings.queues)
                raise ConfigError(
                    f"queue {queue!r} is in no section of the configuration, which has: {known}"
                )
            traced = dict(fields)
            if self._tracing is not None:
                traced["headers"] = self._tracing.carried(fields.get("headers") or {})
            publish = publish_of(traced, self._settings.way(queue), time.time())
            ids.append(publish.message.properties["message_id"])
            yield publish


def _connecting(settings: Settings) -> Sender:
    # pika takes longer to import than all else, and most programs that import a Client send much later.
    from taskqueue.broker.connect import parameters  # noqa: PLC0415
    from taskqueue.send.publisher import Sender  # noqa: PLC0415

    return Sender(parameters(settings))


def publish_of(fields: Mapping[str, Any], way: Way, now: float) -> Publish:
    """Make the message of a new task and its way onto the ladder; raises InvalidTask."""
    unknown = set(fields) - {"url", "queue", "payload", "id", "priority", "headers", *_BODY_FIELDS}
    if unknown:
        msg = f"send takes no {', '.join(sorted(unknown))}"
        raise TypeError(msg)
    document: dict[str, Any] = {"url": fields.get("url")}
    if fields.get("payload", ABSENT) is not ABSENT:
        document["payload"] = fields["payload"]
    document.update((name, fields[name]) for name in _BODY_FIELDS if fields.get(name) is not None)
    properties: dict[str, Any] = {
        "message_id": fields.get("id") or uuid.uuid4().hex,
        "content_type": "application/json",
        "timestamp": math.floor(now),
    }
    if fields.get("priority") is not None:
        properties["priority"] = fields["priority"]
    body = state.encode(document)
    task = state.decode(Message(body, {}, {"message_id": properties["message_id"]}), now=now)
    headers = dict(fields.get("headers") or {}) | {
        state.DUE: task.due,
        state.FIRST_SEEN: task.first_seen,
    }
    exchange, keys = way.route(task.due, now)
    return Publish(exchange, keys, Message(body, headers, properties))


def _settings(server: str) -> Settings:
    return Settings(servers=tuple(part.strip() for part in server.split(",") if part.strip()))
