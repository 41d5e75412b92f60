"""Attempts without a broker: a task by hand, and an executor for it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from taskqueue.request.execute import Executor
from taskqueue.settings import QueueSettings
from taskqueue.task.decode import Task
from taskqueue.task.result import Result


def a_task(url: str, **changes: Any) -> Task:
    """Make a task that runs for the first time."""
    values: dict[str, Any] = {
        "id": "id-1", "url": url, "content": b'{"a":1}', "due": 1_700_000_000_123, "runs": 0,
        "max_retries": None, "expires": None, "roll_back": None, "queue": None, "metadata": {},
        "first_seen": 0, "error": None, "failed": None, "unknown": (),
    }  # fmt: skip
    return Task(**{**values, **changes})


class Runner:
    """An executor, and what it takes to make one attempt with it."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor

    def __call__(self, url: str, **changes: Any) -> Result:
        """Make one attempt at a task with this URL."""
        return self.executor.run(a_task(url, **changes), queue="default")


@contextmanager
def executing(*, context: Any = None, **settings: Any) -> Iterator[Runner]:
    """Give a Runner for a queue with these settings; ``resolve`` stands in for the system's resolver."""
    options = {"resolve": settings.pop("resolve")} if "resolve" in settings else {}
    queue = QueueSettings("default", **{"timeout": 60.0, **settings})
    executor = Executor(queue, context=context, **options)
    try:
        yield Runner(executor)
    finally:
        executor.close()


def headers(request: bytes) -> dict[str, str]:
    """Read the headers of a raw request by lower-case name."""
    lines = request.partition(b"\r\n\r\n")[0].decode().split("\r\n")[1:]
    return {name.lower(): value for name, _, value in (line.partition(": ") for line in lines)}
