"""A task that takes its consumer down with it, every time."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from typing import Self

from sandbox.receiver import Answer, Receiver
from tests.support.stage import PATIENCE, Process, Stage, eventually

HANDLER = "tests.faults.poison:Poison"


def test_a_poison_task_dies_in_the_dead_queue_and_the_others_go_on(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """At most delivery_limit times; then its roll_back is called, and no other task was lost or blamed."""
    stage = staged(handlers=HANDLER, delivery_limit=3, concurrency=4)
    receiver.answer("/innocent", Answer(delay=0.3))
    # Given a queue full of tasks, with the poison among those that are prefetched
    for number in range(6):
        stage.publish({"url": "/innocent"}, message_id=f"before-{number}")
    stage.publish({"url": "/poison", "roll_back": "/rolled"}, message_id="poison")
    for number in range(20):
        stage.publish({"url": "/innocent"}, message_id=f"after-{number}")
    # When consumers die of it and are started again
    with Consumers(stage, 1) as consumers:
        receiver.wait_for(1, timeout=PATIENCE, path="/rolled")
        eventually(lambda: done(receiver) >= 26, "every innocent run")
    # Then it is the only one that is dead
    ((headers, _, properties),) = stage.dead()
    assert (properties.message_id, headers["taskqueue-reason"]) == ("poison", "delivery_limit")
    (rolled,) = receiver.to("/rolled")
    assert rolled.headers["Taskqueue-Failed-Id"] == "poison"
    assert consumers.deaths == 3
    finish(stage)
    assert stage.depth(f"{stage.name}.dead") == 0


def test_two_poison_tasks_and_several_consumers_blame_nobody_else(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """What the dying consumers held goes from one to the next, and to those that live."""
    stage = staged(handlers=HANDLER, delivery_limit=3, concurrency=4)
    receiver.answer("/innocent", Answer(delay=0.1))
    for number in range(60):
        if number in {5, 9}:
            stage.publish({"url": "/poison", "roll_back": "/rolled"}, message_id=f"poison-{number}")
        stage.publish({"url": "/innocent"}, message_id=f"innocent-{number}")
    with Consumers(stage, 3):
        receiver.wait_for(2, timeout=PATIENCE, path="/rolled")
        eventually(lambda: done(receiver) >= 60, "every innocent run")
    dead = Counter(properties.message_id for _, _, properties in stage.dead(2))
    assert dead == {"poison-5": 1, "poison-9": 1}
    finish(stage)
    assert stage.depth(f"{stage.name}.dead") == 0


def test_a_poison_task_of_one_queue_does_not_kill_the_tasks_of_another(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Both run in one process, and all that it held is counted when it dies."""
    other = staged()
    stage = staged()
    keys = {"base_url": receiver.url, "concurrency": 4, "delivery_limit": 3}
    stage.configure(others={other.name: keys}, handlers=HANDLER, delivery_limit=3)
    receiver.answer("/innocent", Answer(delay=1))
    for number in range(8):
        other.publish({"url": "/innocent"}, message_id=f"innocent-{number}")
    stage.publish({"url": "/poison", "roll_back": "/rolled"}, message_id="poison")
    with Consumers(stage, 1):
        receiver.wait_for(1, timeout=PATIENCE, path="/rolled")
        eventually(lambda: other.depth() == 0 and done(receiver) >= 8, "every innocent run")
    assert [properties.message_id for _, _, properties in stage.dead()] == ["poison"]
    finish(other)
    assert other.depth(f"{other.name}.dead") == 0


def done(receiver: Receiver) -> int:
    """Count the innocents that were answered, whatever became of the process that asked."""
    return len({request.headers["Taskqueue-Id"] for request in receiver.to("/innocent")})


def finish(stage: Stage) -> None:
    """Run what the end of the consumers has given back: it came again after a death, with its answer lost."""

    def left() -> tuple[int, int]:
        with stage.connection() as connection:
            declared = connection.channel().queue_declare(stage.name, passive=True).method
            return declared.consumer_count, declared.message_count

    eventually(lambda: left()[0] == 0, "the broker knows that the consumers are gone")
    if (count := left()[1]) > 0:
        stage.run().wait_for("event=done", count)
    stage.settle()


class Consumers:
    """So many consumers, each started again when it dies; a context manager."""

    def __init__(self, stage: Stage, count: int) -> None:
        self.deaths = 0
        self._stage = stage
        self._ending = False
        self._lock = threading.Lock()
        self._processes: dict[int, Process] = {}
        self._threads = [threading.Thread(target=self._keep, args=(number,)) for number in range(count)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._ending = True
            processes = list(self._processes.values())
        for process in processes:
            process.stop()
        for thread in self._threads:
            thread.join()

    def _keep(self, number: int) -> None:
        while True:
            with self._lock:
                if self._ending:
                    return
                process = self._processes[number] = Process("run", "--config", str(self._stage.path))
            code = process.wait(10 * PATIENCE)
            print(process.log)  # noqa: T201 pytest shows it where the test fails
            with self._lock:
                # One that is stopped before Python has begun ends by the signal.
                self.deaths += code != 0 and not self._ending
