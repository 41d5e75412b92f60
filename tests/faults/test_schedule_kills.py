"""Schedules while whoever enqueues is killed, the broker restarts, or a node of a cluster is lost."""

from __future__ import annotations

import random
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.broker import Broker, cluster, find_script
from sandbox.receiver import Receiver, Request
from taskqueue.consume.wakeup import WakeUp
from taskqueue.declare.apply import declare
from tests.faults.harness import parameter, staged
from tests.support.stage import PATIENCE, Process, Stage, eventually
from tests.support.timetable import configure, lateness, occurrences, write

LATE = 20.0
"""Seconds by which an occurrence may be late here, with a broker that lives and a machine that is busy."""
SETTLED = 120.0


@pytest.fixture(scope="module")
def node() -> Iterator[Broker]:
    """Give one node for this module, which its tests may kill."""
    if find_script() is None:
        pytest.fail("no local rabbitmq-server to kill and restart: run `make broker`")
    with Broker.start() as node:
        yield node


@pytest.fixture
def timed(node: Broker, receiver: Receiver, tmp_path: Path) -> Iterator[Stage]:
    """Give a queue on that node with a schedule that is due every second."""
    stage = Stage(node.url, receiver, tmp_path)
    begin(stage)
    node.sync()
    yield stage
    stage.stop()


def begin(stage: Stage) -> None:
    """Declare a schedule that is due every second."""
    configure(stage)
    declare(stage.settings)
    write(stage, fast="* * * * * *")


def uncovered(requests: list[Request]) -> list[int]:
    """List the instants between the first and the last that no id is for, and that no other one counts."""
    instants = occurrences(requests)
    covered = set(instants)
    for request, instant in zip(requests, instants, strict=True):
        missed = int(request.headers.get("Taskqueue-Missed", 1))
        covered.update(range(instant - missed + 1, instant + 1))
    return sorted(set(range(min(instants), max(instants) + 1)) - covered)


@pytest.mark.parametrize("step", ["_taken", "_enqueue", "_replace", "_end"])
def test_a_consumer_that_ends_at_any_step_leaves_nothing_undone(
    timed: Stage, receiver: Receiver, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    """With the book in hand; with all but the new book confirmed; with that confirmed and nothing acked."""
    original: Callable[..., None] = getattr(WakeUp, step)
    cuts = threading.Semaphore(3)

    def cut(work: WakeUp, *given: object) -> None:
        # Not at each of them, so that the schedule gets on.
        if len(receiver.requests) % 2 and cuts.acquire(blocking=False):
            # What is written so far has gone out: the broker gets it before it learns of the end.
            # Not closed here: the loop would take the next socket, of the same number, for this one.
            transport: Any = getattr(work._channel.connection, "_transport", None)
            transport._sock.shutdown(socket.SHUT_RDWR)
            return
        original(work, *given)

    monkeypatch.setattr(WakeUp, step, cut)
    timed.consume()
    eventually(lambda: not cuts._value, "three cuts")
    requests = receiver.wait_for(len(receiver.requests) + 4, timeout=PATIENCE)
    assert uncovered(requests) == []
    assert min(lateness(requests)) >= 0


@pytest.mark.slow
def test_each_occurrence_comes_though_whoever_enqueues_is_killed_and_the_broker_restarts(
    node: Broker, timed: Stage, receiver: Receiver
) -> None:
    """Three consumers, six of them killed, at least 60 occurrences."""
    chance = random.Random(5)
    trial = Kills(timed, receiver, chance, consumers=3)
    trial.run(kills=6, occurrences=45)
    worst = trial.worst()
    print(f"worst: {worst:.2f} s late")  # noqa: T201
    assert worst < LATE
    node.kill()
    node.restart()
    trial.run(kills=0, occurrences=60)
    trial.stop()
    assert uncovered(trial.requests) == []
    assert min(lateness(trial.requests)) >= 0


@pytest.mark.soak
def test_each_occurrence_comes_over_many_kills(node: Broker, timed: Stage, receiver: Receiver) -> None:
    """Five consumers, 20 kills, 200 occurrences, two restarts of the broker in between."""
    seed = parameter("SEED", random.randrange(10**6))
    trial = Kills(timed, receiver, random.Random(seed), consumers=5)
    kills, count = parameter("KILLS", 20), parameter("OCCURRENCES", 200)
    for part in (1, 2):
        trial.run(kills=kills // 2, occurrences=part * count // 2)
        print(f"seed {seed}: worst {trial.worst():.2f} s late")  # noqa: T201
        node.kill()
        node.restart()
        trial.run(kills=0, occurrences=part * count // 2 + 10)
    trial.stop()
    repeated = len(trial.requests) - len(set(occurrences(trial.requests)))
    print(f"seed {seed}: {len(trial.requests)} requests, {repeated} repeated")  # noqa: T201
    assert uncovered(trial.requests) == []
    assert min(lateness(trial.requests)) >= 0


@pytest.mark.soak
def test_each_occurrence_comes_while_one_node_of_three_after_another_dies(
    receiver: Receiver, tmp_path: Path
) -> None:
    """The book, the wake-ups and the ladder are on all of them."""
    with cluster(3) as nodes:
        stage = staged([node.url for node in nodes], receiver, tmp_path)
        begin(stage)
        for node in nodes:
            node.sync()
        trial = Kills(stage, receiver, random.Random(1), consumers=3)
        trial.run(kills=0, occurrences=5)
        for place, node in enumerate(nodes):
            node.kill()
            trial.run(kills=1, occurrences=(place + 1) * 30)
            node.restart()
        trial.run(kills=0, occurrences=120)
        trial.stop()
    assert uncovered(trial.requests) == []
    assert min(lateness(trial.requests)) >= 0


class Kills:
    """Consumers as processes, of which the one that has enqueued last is killed, and another one started."""

    def __init__(self, stage: Stage, receiver: Receiver, chance: random.Random, *, consumers: int) -> None:
        self._stage = stage
        self._receiver = receiver
        self._chance = chance
        self._pause = threading.Event()
        self._consumers = [self._start() for _ in range(consumers)]
        for consumer in self._consumers:
            consumer.wait_for("heeding the schedules")
        self._since = time.time()

    @property
    def requests(self) -> list[Request]:
        """Give all requests so far."""
        return list(self._receiver.requests)

    def worst(self) -> float:
        """Give the worst lateness of those that were due since all consumers ran, or since `run` began."""
        late = zip(occurrences(self.requests), lateness(self.requests), strict=True)
        return max(lateness for instant, lateness in late if instant >= self._since)

    def run(self, *, kills: int, occurrences: int) -> None:
        """Kill so many, and wait until so many occurrences have come in all."""
        self._since = max(self._since, time.time())
        for _ in range(kills):
            place = self._who_enqueues()
            # Anywhere between two occurrences, and most often while one is being enqueued.
            self._pause.wait(self._chance.choice([0.0, 0.9, self._chance.random(), 0.98]))
            self._consumers[place].kill()
            self._consumers[place] = self._start()
        deadline = time.monotonic() + SETTLED + occurrences
        while len({request.headers["Taskqueue-Id"] for request in self.requests}) < occurrences:
            assert time.monotonic() < deadline, self._consumers[0].log[-3000:]
            self._pause.wait(0.2)

    def stop(self) -> None:
        """Stop all consumers, as an operator does."""
        for consumer in self._consumers:
            consumer.stop()

    def _who_enqueues(self) -> int:
        before = [self._enqueued(consumer) for consumer in self._consumers]
        found: list[int] = []

        def look() -> bool:
            found[:] = [
                place
                for place, consumer in enumerate(self._consumers)
                if self._enqueued(consumer) > before[place]
            ]
            return bool(found)

        eventually(look, "an occurrence that is enqueued")
        return found[-1]

    def _enqueued(self, consumer: Process) -> int:
        return sum(" enqueued" in line for line in consumer.lines)

    def _start(self) -> Process:
        return Process("run", "--config", str(self._stage.path))
