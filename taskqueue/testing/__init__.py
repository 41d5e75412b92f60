"""Test what an application sends, without a broker: it is checked as ever, and kept for the test to see.

In a conftest.py: ``pytest_plugins = ["taskqueue.testing.plugin"]`` gives the fixture ``taskqueue_client``.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unittest.mock import patch

from taskqueue.send import cancelling
from taskqueue.send.batch import Batch
from taskqueue.send.client import Client
from taskqueue.send.new_task import NewTask
from taskqueue.send.producer import Producer
from taskqueue.settings import Settings, load
from taskqueue.task.decode import Task, decode, encode
from taskqueue.task.document import value_of
from taskqueue.task.message import Publish
from taskqueue.topology import names

if TYPE_CHECKING:
    from taskqueue.testing.apps import Answered, AsgiApp, WsgiApp

__all__ = ["RecordingClient", "SentTask", "recording"]


@dataclass(frozen=True, slots=True)
class SentTask:
    """A task as the broker would have it."""

    id: str
    url: str
    queue: str
    fields: Mapping[str, Any]
    """The JSON object of the message."""
    due: float
    """When it would run: seconds since the epoch."""
    headers: Mapping[str, Any] = field(repr=False)
    """Of the message, not of the request."""
    task: Task = field(repr=False)
    waits: bool = field(repr=False)
    """Whether it was sent for later, so that it can be cancelled."""

    @property
    def payload(self) -> Any:
        """Give the payload as it was sent: an empty object where there is none."""
        return self.fields.get("payload", {})


class RecordingClient(Client):
    """A Client whose tasks go nowhere: `sent` has them in the order of their sending.

    It raises what the real one raises for what is given, never what a broker would say. `settings` that
    name queues limit it to them, as does `from_config`. `cancel` finds what was sent for later and has not
    run, without an ini too.
    """

    def __init__(self, *, timeout: float = 30.0, settings: Settings | None = None) -> None:
        super().__init__(settings=settings, timeout=timeout)
        self._recorder = _Recorder()
        self._producer = _RecordingProducer(self._producer.settings, self._recorder)

    @property
    def sent(self) -> list[SentTask]:
        """List what was sent."""
        return self._recorder.sent

    @property
    def cancelled(self) -> list[SentTask]:
        """List what of it was cancelled: it is not run."""
        return self._recorder.cancelled

    def assert_sent(self, url: str | None = None, queue: str | None = None, **fields: Any) -> SentTask:
        """Give the first task with this URL, queue and other fields; raises AssertionError without one."""
        wanted = _wanted(url, fields)
        for task in self.sent:
            if queue in {None, task.queue} and wanted.items() <= task.fields.items():
                return task
        given = {"url": url, "queue": queue, **fields}
        asked = ", ".join(f"{name}={value!r}" for name, value in given.items() if value is not None)
        raise AssertionError(f"no task was sent with {asked or 'anything'}; {self._told()}")

    def assert_nothing_sent(self) -> None:
        """Raise AssertionError where a task was sent."""
        if self.sent:
            raise AssertionError(self._told())

    def run_wsgi(self, app: WsgiApp, config: str | Path | None = None) -> list[Answered]:
        """Make the request of each task that was sent, and not run before, to a WSGI application.

        Once, at once and in order of their due times: what is sent meanwhile is for the next call. What an
        application raises is raised here. `config` is the ini with base_url, handlers and secrets; without it
        a path is one of ``http://testserver``. A task for another origin is left alone.
        """
        from taskqueue.testing import apps  # noqa: PLC0415 what makes requests, which most tests do not

        return apps.run_wsgi(app, self._next(), _full(config))

    async def run_asgi(self, app: AsgiApp, config: str | Path | None = None) -> list[Answered]:
        """Do what `run_wsgi` does with an ASGI application, in the loop that runs; lifespan is not called."""
        from taskqueue.testing import apps  # noqa: PLC0415

        return await apps.run_asgi(app, self._next(), _full(config))

    def _next(self) -> list[SentTask]:
        return sorted(self._recorder.take(), key=lambda task: task.due)

    def _told(self) -> str:
        lines = "".join(f"\n  {task.queue} {task.url} {dict(task.fields)}" for task in self.sent)
        return f"sent were:{lines}" if lines else "nothing was sent"


@contextmanager
def recording() -> Iterator[RecordingClient]:
    """Have every Client and AsyncClient of the process send to the client that is given, for a block.

    Each checks by its own settings, as it would without.
    """
    client = RecordingClient()
    recorder = client._recorder  # noqa: SLF001 it is ours
    with (
        patch.object(Producer, "sender", lambda _: recorder),
        patch.object(cancelling, "look", lambda _, queue, ids: cancelling.over(recorder.cancel(queue, ids))),
    ):
        yield client


class _Recorder:
    """Stands where the sender does, and has every publish confirmed."""

    blocked = False

    def __init__(self) -> None:
        self.sent: list[SentTask] = []
        self.cancelled: list[SentTask] = []
        self._left: list[SentTask] = []

    def send(self, publishes: Iterable[Publish], _timeout: float, **_: object) -> None:
        for publish in publishes:
            self._take_in(publish)

    def begin(self, publish: Publish, batch: Batch) -> None:
        self._take_in(publish)
        batch.confirmed(publish)

    def take(self) -> list[SentTask]:
        """Give what has not run and was not cancelled, to be run now."""
        left, self._left = self._left, []
        return left

    def cancel(self, queue: str, ids: Iterable[str]) -> list[bool]:
        """Cancel each task of these ids that waits, as a look does, and tell which there were."""
        named = frozenset(ids)
        found = [task for task in self._left if task.waits and task.queue == queue and task.id in named]
        self._left = [task for task in self._left if all(task is not each for each in found)]
        self.cancelled += found
        return [any(task.id == each for task in found) for each in ids]

    def _take_in(self, publish: Publish) -> None:
        task = _sent(publish)
        self.sent.append(task)
        self._left.append(task)


class _RecordingProducer(Producer):
    def __init__(self, settings: Settings, recorder: _Recorder) -> None:
        super().__init__("", settings, tracing=False)
        self._recorder = recorder

    def sender(self) -> Any:
        return self._recorder

    def cancel(self, ids: Iterable[str], queue: str) -> Future[list[bool]]:
        return cancelling.over(self._recorder.cancel(self.known(queue), cancelling.checked(ids)))


def _sent(publish: Publish) -> SentTask:
    message = publish.message
    task = decode(message, now=message.properties["timestamp"])
    queue = names.destination(publish.routing_keys[-1]) or publish.routing_keys[0]
    fields = value_of(message.body.decode())
    waits = publish.exchange != names.due(queue)
    return SentTask(task.id, task.url, queue, fields, task.due / 1000, message.headers, task, waits)


def _wanted(url: str | None, given: Mapping[str, Any]) -> dict[str, Any]:
    """Write what is asked for as a message would have it."""
    document = NewTask.of({"url": url, **given}).document()
    written: dict[str, Any] = value_of(encode(document).decode())
    return {name: value for name, value in written.items() if name != "url" or url is not None}


def _full(config: str | Path | None) -> Settings:
    return Settings() if config is None else load(Path(config))
