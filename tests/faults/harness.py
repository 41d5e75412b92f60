"""A trial: a load, a real receiver, consumers as processes, and faults in between; then the verdict.

It is the receiver who says whether a task ran, the confirm who says whether it was sent, and one
clock for both, as all of it is on one machine.
"""

from __future__ import annotations

import json
import os
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pika.exceptions import AMQPError

from sandbox.broker import Broker
from sandbox.receiver import Receiver
from taskqueue import Client
from taskqueue.errors import TaskqueueError
from tests.faults.ledger import ROLL_BACK, TASK, Ledger, Summary
from tests.faults.load import ClientProducer, Mix, Producer, RawProducer, jobs
from tests.support.stage import Process, Stage

STALLED = 210.0
"""Seconds without any progress after which a trial counts what is missing as lost.

On a broker without our `deploy/advanced.config` a message may stand still for 3 minutes.
"""
REPORT = "TASKQUEUE_FAULTS_REPORT"
"""Names a file to which each summary is appended, one JSON object a line."""


class Trial:
    """One load on one stage. `run` does it all; the faults are a function of the trial."""

    def __init__(
        self,
        stage: Stage,
        *,
        tasks: int,
        seconds: float,
        seed: int,
        consumers: int = 2,
        mix: Mix | None = None,
    ) -> None:
        self.stage = stage
        self.chance = random.Random(seed)
        self.faults: Counter[str] = Counter()
        self.ledger = Ledger()
        self._tasks = tasks
        self._seconds = seconds
        self._seed = seed
        self._mix = mix or Mix()
        self._pause = threading.Event()
        for path in (TASK, ROLL_BACK):
            stage.receiver.answer(path, self.ledger.answer)
        self.consumers = [self._consumer() for _ in range(consumers)]

    def run(self, inject: Callable[[Trial], None]) -> Summary:
        """Produce while `inject` does harm, wait until all is settled, and give the verdict."""
        begin = time.monotonic()
        for consumer in self.consumers:
            consumer.wait_for("consuming from")
        client = self.stage.client()
        producers = self._producers(client)
        for producer in producers:
            producer.start()
        try:
            inject(self)
            for producer in producers:
                producer.join()
            self._wait_until_settled()
        finally:
            client.close()
            self._stop()
        summary = self.ledger.summary(
            seed=self._seed, seconds=time.monotonic() - begin, left=self._left(), faults=self.faults
        )
        _report(summary)
        if summary.lost:
            print(f"missing: {self.ledger.missing()}")  # noqa: T201
        return summary

    def pause(self, shortest: float, longest: float) -> None:
        """Let some time pass: faults come at moments that nothing waits for."""
        self._pause.wait(self.chance.uniform(shortest, longest))

    def kill_consumer(self) -> None:
        """End one consumer with SIGKILL, whatever it does, and start another."""
        number = self.chance.randrange(len(self.consumers))
        self.consumers[number].kill()
        self.consumers[number] = self._consumer()
        self.faults["consumer killed"] += 1

    def kill_broker(self, broker: Broker, *, longest: float = 3.0) -> None:
        """End a node with SIGKILL, leave it down for up to `longest` seconds, and start it again."""
        broker.kill()
        self.pause(0, longest)
        broker.restart()
        self.faults["broker killed"] += 1

    def _consumer(self) -> Process:
        return Process("run", "--config", str(self.stage.path))

    def _producers(self, client: Client) -> list[Producer]:
        share = self._tasks // 3
        lots = [
            list(jobs(count, self._mix, self.chance, prefix))
            for count, prefix in ((self._tasks - 2 * share, "a"), (share, "b"), (share, "raw"))
        ]
        options = {"seconds": self._seconds, "chance": random.Random(self.chance.random())}
        name = self.stage.name
        # Two threads share one client.
        first, second = (ClientProducer(client, name, lot, self.ledger, **options) for lot in lots[:2])
        return [first, second, RawProducer(self.stage.settings, name, lots[2], self.ledger, **options)]

    def _wait_until_settled(self) -> None:
        progress, since = -1, time.monotonic()
        while time.monotonic() - since < STALLED:
            try:
                self._read_dead()
                if not self.ledger.missing() and not self._left():
                    return
            except (AMQPError, TaskqueueError):
                pass
            if self.ledger.progress() != progress:
                progress, since = self.ledger.progress(), time.monotonic()
            self._pause.wait(0.5)

    def _read_dead(self) -> None:
        with self.stage.connection() as connection:
            channel = connection.channel()
            while True:
                method, properties, _ = channel.basic_get(f"{self.stage.name}.dead")
                if method is None or properties is None:
                    return
                headers = properties.headers or {}
                reason = headers.get("taskqueue-reason") or "delivery_limit"
                self.ledger.died(properties.message_id or "", str(reason))
                channel.basic_ack(method.delivery_tag or 0)

    def _left(self) -> int:
        return self.stage.depth() + self.stage.waiting()

    def _stop(self) -> None:
        for consumer in self.consumers:
            consumer.stop()


def kills(
    broker: Broker, *, brokers: int, consumers: int, gap: tuple[float, float]
) -> Callable[[Trial], None]:
    """Make the faults of a kill loop: so many of each, in an order and at moments that chance decides."""

    def inject(trial: Trial) -> None:
        order = ["broker"] * brokers + ["consumer"] * consumers
        trial.chance.shuffle(order)
        for victim in order:
            trial.pause(*gap)
            if victim == "broker":
                trial.kill_broker(broker)
            else:
                trial.kill_consumer()

    return inject


def staged(servers: Sequence[str], receiver: Receiver, folder: Path, **keys: Any) -> Stage:
    """Declare a queue of the trial's own."""
    return Stage(",".join(servers), receiver, folder, concurrency=8, **keys).declare()


def parameter(name: str, default: int) -> int:
    """Read a size of the soak from the environment, ``TASKQUEUE_SOAK_<NAME>``."""
    return int(os.environ.get(f"TASKQUEUE_SOAK_{name}", default))


def _report(summary: Summary) -> None:
    line = json.dumps(summary.as_dict())
    print(line)  # noqa: T201 pytest shows it with -s and where the trial fails
    if path := os.environ.get(REPORT):
        with Path(path).open("a") as report:
            report.write(f"{line}\n")
