"""A queue of its own for each test, declared on a real broker, with a consumer that really runs."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

import pika
from pika.adapters.blocking_connection import BlockingChannel

from sandbox.receiver import Receiver
from taskqueue.broker.connect import parameters
from taskqueue.consume.consumer import Consumer
from taskqueue.consume.metrics import Metrics, NullMetrics
from taskqueue.declare.apply import declare
from taskqueue.send.client import Client
from taskqueue.settings import Settings, parse
from taskqueue.topology import names
from taskqueue.topology.plan import plan

PATIENCE = 90.0
"""Seconds that a test waits for what must happen; far more than it takes."""
_LATE = 0.25
"""Seconds after which RabbitMQ says zero where the leader of a queue has not answered it."""


class Process:
    """A `taskqueue` command that runs: its log is read as it comes, so that a test can wait for a line."""

    def __init__(self, *arguments: str, environment: dict[str, str] | None = None) -> None:
        self.lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._process = subprocess.Popen(
            [sys.executable, "-m", "taskqueue", *arguments],
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            env={**os.environ, "PYTHONFAULTHANDLER": "1", **(environment or {})}, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        stream = self._process.stdout
        assert stream is not None
        self._reader = threading.Thread(target=self._read, args=(stream,))
        self._reader.start()

    @property
    def pid(self) -> int:
        """Give its process id."""
        return self._process.pid

    @property
    def log(self) -> str:
        """Give all that it has written."""
        return "\n".join(self.lines)

    def wait_for(self, text: str, times: int = 1) -> None:
        """Wait until so many lines with `text` have been written."""

        def there() -> bool:
            return sum(text in line for line in self.lines) >= times

        with self._changed:
            self._changed.wait_for(lambda: there() or self._ended, PATIENCE)
            if not there():
                msg = f"{text!r} never came:\n{self.log}"
                raise TimeoutError(msg)

    def wait_repeating(self, number: signal.Signals) -> int:
        """Wait for its end and give its exit code, with the signal sent again and again meanwhile."""
        deadline = time.monotonic() + PATIENCE
        while self._process.poll() is None and time.monotonic() < deadline:
            self.signal(number)
            time.sleep(0.05)
        return self.wait()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self._process.send_signal(number)

    def wait(self, timeout: float = PATIENCE) -> int:
        """Wait for its end and give its exit code; raises TimeoutError with its log and what it stands in."""
        try:
            code = self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            self._abort()
            msg = f"it did not end in {timeout} s:\n{self.log}"
            raise TimeoutError(msg) from error
        self._reader.join(PATIENCE)
        return code

    def _abort(self) -> None:
        """Have it and its children write where their threads stand, which ends them."""
        children = Path(f"/proc/{self.pid}/task/{self.pid}/children")
        pids = [int(pid) for pid in children.read_text().split()] if children.exists() else []
        for pid in (*pids, self.pid):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGABRT)
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(10)
        self._reader.join(10)

    def stop(self) -> None:
        """End it as an operator does, if it still runs."""
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        self.wait()

    def kill(self) -> None:
        """End it without a word, and wait until it has ended."""
        if self._process.poll() is None:
            self._process.kill()
        self.wait()

    def _read(self, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                with self._changed:
                    self.lines.append(line.rstrip("\n"))
                    self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


class _Confirming(pika.BlockingConnection):
    """A connection with confirms on each of its channels.

    Without them the last publishes before a channel closes may be lost, in good order as they came: a leader
    that is late learns first that their channel is gone (``out_of_sequence`` in RabbitMQ's ``rabbit_fifo``).
    """

    def channel(self, channel_number: int | None = None) -> BlockingChannel:
        channel = super().channel(channel_number)
        channel.confirm_delivery()
        return channel


class Stage:
    """One queue `name` on the broker, what runs on it, and what an operator could see of it."""

    def __init__(
        self,
        server: str,
        receiver: Receiver,
        folder: Path,
        *,
        resolution: float = 0.1,
        probe: bool = False,
        **keys: Any,
    ) -> None:
        self.receiver = receiver
        self.name = f"q-{uuid.uuid4().hex[:8]}"
        self.path = folder / f"{self.name}.ini"
        self._processes: list[Process] = []
        self._consumers: list[tuple[Consumer, threading.Thread]] = []
        self._server = server
        self._resolution = resolution
        # What walks the ladder beside the tasks of a test would be counted with them.
        self._probe = "on" if probe else "off"
        self._others: list[str] = []
        self.settings = self.configure(**keys)

    def configure(self, others: dict[str, dict[str, Any]] | None = None, **keys: Any) -> Settings:
        """Write the ini anew; keys are those of the queue's section, `others` are more sections."""
        defaults = {
            "base_url": self.receiver.url,
            "min_backoff_seconds": 0.2,
            "max_backoff_seconds": 2,
            "jitter": 0,
            "concurrency": 4,
        }
        sections = {self.name: defaults | keys, **(others or {})}
        lines = [f"server = {self._server}", "levels = 3", f"resolution = {self._resolution}"]
        lines.append(f"probe = {self._probe}")
        for name, values in sections.items():
            lines += [f"[{name}]", *(f"{key} = {value}" for key, value in values.items())]
        self.path.write_text("\n".join(lines))
        self.settings = parse(self.path.read_text(), source=str(self.path), environ={})
        return self.settings

    def declare(self) -> Self:
        """Create the whole topology, as the plan has it; the permits of a limit come by the real command."""
        if any(queue.max_concurrency for queue in self.settings.queues.values()):
            declare(self.settings)
            return self
        with self.connection() as connection:
            channel = connection.channel()
            planned = plan(self.settings.layout)
            for exchange in planned.exchanges:
                channel.exchange_declare(
                    exchange.name, exchange.type, durable=True, arguments=exchange.arguments
                )
            for queue in planned.queues:
                channel.queue_declare(queue.name, durable=True, arguments=dict(queue.arguments))
            for binding in planned.bindings:
                channel.queue_bind(binding.queue, binding.exchange, binding.routing_key)
        return self

    def cut_off(self, *rungs: str) -> None:
        """Leave what is to wait on these rungs without a way, as by a slip of the hand; `declare` mends it.

        Without them alone it would come to the work queue, early.
        """
        with self.connection() as connection:
            channel = connection.channel()
            for rung in rungs:
                channel.queue_delete(f"{self.name}.wait.{rung}")
            channel.queue_unbind(self.name, f"{self.name}.wait.due", "")

    def connection(self) -> pika.BlockingConnection:
        """Connect to the broker, apart from everything under test; every publish waits for its confirm."""
        return _Confirming(parameters(self.settings, name="test"))

    def consume(self, metrics: Metrics | None = None) -> Consumer:
        """Run a consumer in a thread of the test."""
        consumer = Consumer(self.settings, parameters(self.settings), metrics or NullMetrics())
        thread = threading.Thread(target=consumer.run, kwargs={"grace": 10.0})
        thread.start()
        self._consumers.append((consumer, thread))
        return consumer

    def run(self, *options: str) -> Process:
        """Run `taskqueue run` as a process of its own, and wait until it consumes."""
        process = Process("run", "--config", str(self.path), *options)
        self._processes.append(process)
        process.wait_for(f"consuming from {self.name}")
        return process

    def run_paused(self) -> Process:
        """Run `taskqueue run` as a process of its own, for a queue that it may not consume yet."""
        process = Process("run", "--config", str(self.path))
        self._processes.append(process)
        return process

    def client(self) -> Client:
        """Give a client for the stage's queue."""
        return Client.from_config(self.path)

    def send(self, url: str, **fields: Any) -> str:
        """Send one task with the client."""
        with self.client() as client:
            return client.send(url, self.name, **fields)

    def publish(self, body: bytes | dict[str, Any], **properties: Any) -> None:
        """Publish a raw message to the work queue, as any program would, and wait for its confirm."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        with self.connection() as connection:
            channel = connection.channel()
            basic = pika.BasicProperties(delivery_mode=2, **properties)
            channel.basic_publish("", self.name, data, basic, mandatory=True)

    def publish_astray(self, body: dict[str, Any], queue: str, **properties: Any) -> None:
        """Publish a raw message for a queue on this ladder by a rung that is not there: it comes here."""
        with self.connection() as connection:
            channel = connection.channel()
            headers: dict[str, Any] = {"CC": [names.last_hop("0.01s", queue)]}
            basic = pika.BasicProperties(delivery_mode=2, headers=headers, **properties)
            data, lost = json.dumps(body).encode(), names.hop(names.ENTRY, "0.05s")
            channel.basic_publish(names.wait(self.name), lost, data, basic, mandatory=True)

    def depth(self, queue: str | None = None) -> int:
        """Count what is ready in a queue, the work queue by default."""
        with self.connection() as connection:
            return _ready(connection.channel(), queue or self.name)

    def waiting(self) -> int:
        """Count what is on the ladder."""
        with self.connection() as connection:
            channel = connection.channel()
            rungs = [queue.name for queue in plan(self.settings.layout).queues if ".wait." in queue.name]
            return sum(_ready(channel, rung) for rung in rungs)

    def dead(self, count: int = 1) -> list[tuple[dict[str, Any], bytes, pika.BasicProperties]]:
        """Wait until so many messages are in the dead queue, and take them out."""
        taken: list[tuple[dict[str, Any], bytes, pika.BasicProperties]] = []
        with self.connection() as connection:
            channel = connection.channel()
            for method, properties, body in channel.consume(f"{self.name}.dead", inactivity_timeout=PATIENCE):
                if method is None or properties is None or body is None:
                    break
                channel.basic_ack(method.delivery_tag or 0)
                taken.append((dict(properties.headers or {}), body, properties))
                if len(taken) >= count:
                    break
            channel.cancel()
        assert len(taken) == count, f"{len(taken)} dead messages, {count} expected"
        return taken

    def settle(self) -> None:
        """Wait until nothing of the stage is ready, unacked or waiting: stop the consumers, then look."""
        self.stop()
        assert self.depth() == 0
        assert self.waiting() == 0

    def stop(self) -> None:
        """Stop every consumer gracefully."""
        for consumer, _ in self._consumers:
            consumer.stop()
        for _, thread in self._consumers:
            thread.join(PATIENCE)
            assert not thread.is_alive()
        self._consumers.clear()
        for process in self._processes:
            process.stop()
        self._processes.clear()

    def close(self) -> None:
        """Stop what runs and delete what was declared."""
        self.stop()
        with self.connection() as connection:
            channel = connection.channel()
            planned = plan(self.settings.layout)
            for queue in planned.queues:
                channel.queue_delete(queue.name)
            for name in (names.paused(self.name), names.pause_note(self.name)):
                channel.queue_delete(name)
            for exchange in planned.exchanges:
                channel.exchange_delete(exchange.name)


def _ready(channel: BlockingChannel, queue: str) -> int:
    """Count what is ready in a queue.

    RabbitMQ says zero, and no error, for a leader that is late (``rabbit_quorum_queue:stat/2``): a busy
    machine is enough. So a zero counts only where it came before that.
    """
    deadline = time.monotonic() + PATIENCE
    while True:
        asked = time.monotonic()
        count = int(channel.queue_declare(queue, passive=True).method.message_count)
        if count or time.monotonic() - asked < _LATE:
            return count
        if time.monotonic() > deadline:
            msg = f"{queue}: the broker does not count it in time"
            raise TimeoutError(msg)


def eventually(condition: Callable[[], bool], what: str) -> None:
    """Wait for a state that only the broker knows, by asking it again."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        if time.monotonic() > deadline:
            msg = f"never: {what}"
            raise TimeoutError(msg)
        time.sleep(0.05)
