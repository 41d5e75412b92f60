"""Producers of a trial: tasks of every kind, at random moments, each confirmed or given up."""

from __future__ import annotations

import json
import random
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import pika
from pika.exceptions import AMQPError

from taskqueue import Client
from taskqueue.broker.connect import connect
from taskqueue.errors import TaskqueueError
from taskqueue.settings import Settings
from tests.faults.ledger import Job, Ledger, doomed

_LARGEST_BATCH = 20


@dataclass(frozen=True, slots=True)
class Mix:
    """What the tasks of a trial are like."""

    longest_delay: float = 8.0
    flaky: float = 0.2
    doomed: float = 0.08
    slow: float = 0.05


def jobs(count: int, mix: Mix, chance: random.Random, prefix: str) -> Iterator[Job]:
    """Yield jobs; `not_before` is still 0, as it counts from the moment of sending."""
    for number in range(count):
        name = f"{prefix}-{number}"
        delay = 0.0 if chance.random() < 0.3 else round(chance.uniform(0.05, mix.longest_delay), 2)
        by_eta = delay > 0 and chance.random() < 0.3
        dice = chance.random()
        if dice < mix.doomed:
            yield doomed(
                id=name,
                not_before=0.0,
                delay=delay,
                by_eta=by_eta,
                max_retries=2,
                roll_back=chance.random() < 0.8,
            )
        elif dice < mix.doomed + mix.flaky:
            yield Job(name, 0.0, delay, by_eta, failures=chance.randint(1, 2))
        elif dice < mix.doomed + mix.flaky + mix.slow:
            yield Job(name, 0.0, delay, by_eta, slow=round(chance.uniform(0.2, 1.5), 2))
        else:
            yield Job(name, 0.0, delay, by_eta, max_retries=chance.choice((None, 3)))


class Producer(threading.Thread):
    """Sends its jobs evenly over `seconds`; what raises is not confirmed, and forgotten."""

    def __init__(self, todo: Sequence[Job], ledger: Ledger, *, seconds: float, chance: random.Random) -> None:
        super().__init__(name=f"producer {todo[0].id}")
        self._todo = todo
        self._ledger = ledger
        self._seconds = seconds
        self._chance = chance
        self._never = threading.Event()

    def run(self) -> None:
        """Send everything."""
        begin = time.monotonic()
        done = 0
        while done < len(self._todo):
            ahead = begin + self._seconds * done / len(self._todo) - time.monotonic()
            self._never.wait(max(0.0, ahead))
            size = self._chance.randint(1, _LARGEST_BATCH)
            batch = [_now(job) for job in self._todo[done : done + size]]
            for job in batch:
                self._ledger.sending(job)
            self._send(batch)
            done += len(batch)

    def _send(self, batch: Sequence[Job]) -> None:
        raise NotImplementedError


class ClientProducer(Producer):
    """Sends with a Client, which it may share with others."""

    def __init__(self, client: Client, queue: str, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._client = client
        self._queue = queue

    def _send(self, batch: Sequence[Job]) -> None:
        try:
            self._client.send_many({**job.fields(), "id": job.id, "queue": self._queue} for job in batch)
        except TaskqueueError:
            return
        for job in batch:
            self._ledger.confirmed(job)


class RawProducer(Producer):
    """Publishes JSON to the work queue as any program would, and knows nothing of the ladder."""

    def __init__(self, settings: Settings, queue: str, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._settings = settings
        self._queue = queue
        self._connection: pika.BlockingConnection | None = None
        self._channel: Any = None

    def run(self) -> None:
        """Send everything, and close."""
        super().run()
        self._close()

    def _send(self, batch: Sequence[Job]) -> None:
        for job in batch:
            try:
                self._publish(job)
            except (AMQPError, TaskqueueError):
                # A nack, or a channel that was closed, leaves the connection open.
                self._close()
                # The broker is away: trying at once again would only use up the jobs.
                self._never.wait(0.5)
            else:
                self._ledger.confirmed(job)

    def _close(self) -> None:
        connection, self._connection, self._channel = self._connection, None, None
        if connection is not None and connection.is_open:
            with suppress(AMQPError):
                connection.close()

    def _publish(self, job: Job) -> None:
        if self._channel is None:
            self._connection = connect(self._settings, name="raw producer")
            self._channel = self._connection.channel()
            self._channel.confirm_delivery()
        properties: dict[str, Any] = {"message_id": job.id, "delivery_mode": 2}
        if self._chance.random() < 0.5:
            properties["timestamp"] = int(time.time())
        body = json.dumps(job.fields()).encode()
        basic = pika.BasicProperties(**properties)
        self._channel.basic_publish("", self._queue, body, basic, mandatory=True)


def _now(job: Job) -> Job:
    return replace(job, not_before=time.time() + job.delay)
