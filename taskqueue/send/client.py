"""Send tasks from a program: confirmed, and straight onto the ladder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from taskqueue.send.new_task import NewTask, taking
from taskqueue.send.producer import Producer
from taskqueue.settings import Settings, load

TIMEOUT = 30.0
CANCEL_TIMEOUT = 60.0
"""Seconds that a look for tasks may take: some hundred thousand that wait take ten."""
SERVER = "amqp://guest:guest@localhost:5672/"


class Client:
    """Sends tasks to a broker. It is thread-safe and fork-safe, and connects at the first send.

    `server` is one AMQP URL or several with commas between; `tracing` makes spans (extra `opentelemetry`).
    Settings that name queues (`from_config`) limit it to them.
    Raises ConfigError for a server that can't be one.
    Every send returns when the broker has confirmed the task, or raises: BrokerUnreachable,
    BrokerRefused, NotDeclared or PublishFailed after at most `timeout` seconds, InvalidTask
    before anything is sent. Where the broker takes no publishes (a memory or disk alarm), a send waits for
    that to end, and without `through_alarms` raises PublishFailed at once.
    """

    def __init__(
        self,
        server: str = SERVER,
        *,
        timeout: float = TIMEOUT,
        tracing: bool = False,
        settings: Settings | None = None,
        through_alarms: bool = True,
    ) -> None:
        self._producer = Producer(server, settings, tracing=tracing)
        self._timeout = timeout
        self._through_alarms = through_alarms

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

    @taking(NewTask)
    def checked(self, task: NewTask) -> NewTask:
        """Give a task as `send_many` takes it, with its id; sends nothing. Raises what `send` does for it."""
        return self._producer.checked(task)

    def send_many(self, tasks: Iterable[NewTask | Mapping[str, Any]]) -> list[str]:
        """Send many tasks, each a mapping of `send`'s arguments, and give their ids in that order.

        Confirms are streamed: tasks that are confirmed before an error stay sent.
        """
        ids: list[str] = []
        with self._producer.span() as span:
            publishes = self._producer.publishes(tasks, ids, span)
            sender = self._producer.sender()
            sender.send(publishes, self._timeout, through_alarms=self._through_alarms)
        return ids

    def cancel(self, task_id: str, queue: str = "default", *, timeout: float = CANCEL_TIMEOUT) -> bool:
        """Cancel a task that waits, and tell whether one did: `cancel_many` for one, at the same price."""
        return self.cancel_many([task_id], queue, timeout=timeout)[0]

    def cancel_many(
        self, ids: Iterable[str], queue: str = "default", *, timeout: float = CANCEL_TIMEOUT
    ) -> list[bool]:
        """Cancel tasks that wait, and tell of each, in that order, whether it was found waiting.

        They come to the dead queue, reason cancelled, without a roll_back: `dead replay` undoes it. What is
        ready, runs, or has run is not found waiting, nor is what waits on a rung that the ini no longer names
        (docs/sending.md).

        **The price**: nothing finds a task by its id but a look at all that waits on the ladder of its queue:
        1.5 s for 20,000 tasks and 9 s for 200,000 on a quiet machine, with one core of this process. One look
        at a ladder at a time; others wait 15 s for it. It takes the rights of an operator, and an ini.

        `timeout` is in seconds. Raises NotKnown where the look does not end in that, or can't be complete;
        BrokerUnreachable, BrokerRefused, NotDeclared, PublishFailed (an alarm); InvalidTask for what is no
        id, or a task whose headers can't be read; ConfigError without an ini. What was cancelled stays so.
        Whatever ends it, a killed process too, each task is still waiting, or dead; what was just under way
        may be both.
        """
        from taskqueue.send import cancelling  # noqa: PLC0415 few cancel

        return cancelling.wait(self._producer.cancel(ids, queue), timeout)

    def close(self) -> None:
        """Close the connection; a later send makes a new one."""
        self._producer.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
