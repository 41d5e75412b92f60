"""What every client has: the settings, the checks, and one sender for each process."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from taskqueue.errors import ConfigError, InvalidTask
from taskqueue.send.new_task import NewTask
from taskqueue.settings import Settings
from taskqueue.settings.addresses import servers
from taskqueue.task import metadata
from taskqueue.task.fields import mapping, shown
from taskqueue.task.message import Publish
from taskqueue.tracing import Sending, Tracing

if TYPE_CHECKING:
    from concurrent.futures import Future

    from taskqueue.send.publisher import Sender


class Producer:
    """Makes publishes of new tasks, and the sender for them; thread-safe and fork-safe."""

    def __init__(self, server: str, settings: Settings | None, *, tracing: bool) -> None:
        self.settings = _settings(server) if settings is None else settings
        traced = tracing or any(queue.tracing != "off" for queue in self.settings.queues.values())
        self._tracing = Tracing() if traced else None
        self._sender: Sender | None = None
        self._pid = 0
        self._lock = threading.Lock()

    def sender(self) -> Sender:
        """Give the sender of this process; it connects by itself."""
        self._notice_fork()
        with self._lock:
            if self._sender is None or not self._sender.alive:
                self._sender = _connecting(self.settings)
            return self._sender

    def close(self) -> None:
        """Close the connection; the next sender makes a new one."""
        self._notice_fork()
        with self._lock:
            sender, self._sender = self._sender, None
        if sender is not None:
            sender.close()

    def _notice_fork(self) -> None:
        if self._pid != os.getpid():
            # A fork has this object but not its thread; the lock may be held by a thread that is not here.
            self._lock = threading.Lock()
            self._sender = None
            self._pid = os.getpid()

    def span(self) -> AbstractContextManager[Sending | None]:
        """Wrap a call that sends; gives what `publishes` notes the tasks in."""
        return nullcontext() if self._tracing is None else self._tracing.send()

    def publishes(
        self, tasks: Iterable[NewTask | Mapping[str, Any]], ids: list[str], span: Sending | None
    ) -> Iterator[Publish]:
        """Make the publishes of tasks one by one, and add their ids to `ids`."""
        for each in tasks:
            task = each if isinstance(each, NewTask) else NewTask.of(each)
            publish = self.publish(task)
            ids.append(publish.message.properties["message_id"])
            if span is not None:
                span.sends(task.queue, publish)
            yield publish

    def checked(self, task: NewTask) -> NewTask:
        """Give a task its id, and what it holds now; raises as `publish` does."""
        task = replace(task, id=task.id or uuid.uuid4().hex)
        self.publish(task)
        # What is sent later is what was given, whatever becomes of it until then.
        return deepcopy(task)

    def publish(self, task: NewTask) -> Publish:
        """Make the publish of a task; raises InvalidTask, or ConfigError for a queue of no section."""
        queue = self._checked_queue(task)
        if self._tracing is not None:
            task = replace(task, headers=self._tracing.carried(task.headers or {}))
        return task.publish(self.settings.way(queue), time.time())

    def cancel(self, ids: Iterable[str], queue: str) -> Future[list[bool]]:
        """Begin to cancel tasks where they wait: was each, in that order? Raises InvalidTask, ConfigError."""
        from taskqueue.send import cancelling  # noqa: PLC0415 few cancel

        return cancelling.begin(self.settings, self.known(queue), cancelling.checked(ids))

    def known(self, queue: object) -> str:
        """Give the name of a queue; raises InvalidTask, or ConfigError for one of no section."""
        if not isinstance(queue, str) or not queue:
            raise InvalidTask("queue", f"must be a text that is not empty, got {shown(queue)}")
        if self.settings.queues and queue not in self.settings.queues:
            known = ", ".join(self.settings.queues)
            raise ConfigError(f"queue {queue!r} is in no section of the configuration, which has: {known}")
        return queue

    def _checked_queue(self, task: NewTask) -> str:
        queue = self.known(task.queue)
        given = mapping({"metadata": task.metadata}, "metadata")
        settings = self.settings.queues.get(queue)
        for handler, check in metadata.CHECKS.items():
            # Else the task would be dead at its first run, far from whoever wrote it.
            if given and (settings is None or handler in settings.handlers):
                check(given, task.id or "")
        return queue


def _connecting(settings: Settings) -> Sender:
    # pika takes longer to import than all else, and most programs that import a client send much later.
    from taskqueue.broker.connect import parameters  # noqa: PLC0415
    from taskqueue.send.publisher import Sender  # noqa: PLC0415

    return Sender(parameters(settings))


def _settings(server: str) -> Settings:
    try:
        return Settings(servers=servers(server))
    except ValueError as error:
        raise ConfigError(f"server: {error}") from None
