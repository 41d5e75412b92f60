"""Commands of an operator that are killed in the middle: each task is somewhere, the rest is done later."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pika
import pytest

from sandbox.receiver import Receiver
from taskqueue.settings import parse
from tests.support import command
from tests.support.stage import PATIENCE, Stage, eventually

pytestmark = pytest.mark.slow

COUNT = 3000
MOST_TWICE = 600
"""Tasks that may have been on their way when the command was killed: a window of them, and what it held."""


@pytest.fixture
def full(staged: Callable[..., Stage]) -> Stage:
    """Give a queue with many waiting tasks, and another one beside it."""
    stage = staged()
    stage.configure(others={f"{stage.name}-b": {"base_url": stage.receiver.url}})
    stage.path.write_text(stage.path.read_text().replace("levels = 3", "levels = 4"))
    stage.settings = parse(stage.path.read_text(), source="test", environ={})
    stage.declare()
    due = time.time() + 900
    with stage.client() as client:
        client.send_many(
            {"url": "/x", "queue": stage.name, "id": f"t{n}", "eta": due + n / 10} for n in range(COUNT)
        )
    return stage


def ids(stage: Stage, what: str, queue: str) -> dict[str, Any]:
    """Give the due time, or the reason, of each task by its id; each must be there once or twice."""
    rows = command.read(stage.path, what, "list", queue, "--limit", "100000")
    return {row["id"]: row.get("due", row.get("reason")) for row in rows}


def ready(stage: Stage) -> set[str]:
    """Take out what is in the work queue."""
    found = set()
    with stage.connection() as connection:
        channel = connection.channel()
        while (got := channel.basic_get(stage.name, auto_ack=True))[0] is not None:
            assert isinstance(got[1], pika.BasicProperties)
            found.add(str(got[1].message_id))
    return found


@contextmanager
def counting(stage: Stage) -> Iterator[Callable[[str], int]]:
    """Give what counts the messages in a queue, quickly."""
    with stage.connection() as connection:
        channel = connection.channel()
        yield lambda queue: int(channel.queue_declare(queue, passive=True).method.message_count)


def killed(stage: Stage, watched: str, *arguments: str) -> None:
    """Begin a command, and kill it once something has come to the queue that is watched."""
    killed_python(stage, watched, "-m", "taskqueue", *arguments, "--yes", "--config", str(stage.path))


def killed_python(stage: Stage, watched: str, *arguments: str) -> None:
    """Begin a program of Python, and kill it once something has come to the queue that is watched."""
    with counting(stage) as count:
        process = subprocess.Popen(
            [sys.executable, *arguments],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while count(watched) == 0 and process.poll() is None:
            assert time.monotonic() < deadline
        process.kill()
        assert process.wait(PATIENCE) == -9
        assert 0 < count(watched) < COUNT


EVERY = {f"t{n}" for n in range(COUNT)}


def test_a_killed_cancel_leaves_each_task_waiting_or_dead(full: Stage) -> None:
    """What waits is due when it was; the next cancel does the rest, and the undo brings back all."""
    before = ids(full, "waiting", full.name)
    killed(full, f"{full.name}.dead", "waiting", "cancel", full.name, "--url", "/x")
    waiting, dead = ids(full, "waiting", full.name), ids(full, "dead", full.name)
    assert waiting.keys() | dead.keys() == EVERY
    assert len(waiting.keys() & dead.keys()) <= MOST_TWICE
    assert {task: before[task] for task in waiting} == waiting
    done = command.read(full.path, "waiting", "cancel", full.name, "--all", "--yes")
    assert done["done"] == len(waiting)
    assert ids(full, "waiting", full.name) == {}
    command.ran(full.path, "dead", "replay", full.name, "--reason", "cancelled", "--yes")
    assert ids(full, "waiting", full.name) == before
    assert full.depth() == 0


def test_a_killed_cancel_of_a_program_leaves_each_task_waiting_or_dead(full: Stage) -> None:
    """The same look, in a thread of a program that ends with it; the next one finds what waits still."""
    before = ids(full, "waiting", full.name)
    program = """
import sys
from taskqueue import Client
Client.from_config(sys.argv[1]).cancel_many([f"t{n}" for n in range(int(sys.argv[3]))], sys.argv[2])
"""
    killed_python(full, f"{full.name}.dead", "-c", program, str(full.path), full.name, str(COUNT))
    waiting, dead = ids(full, "waiting", full.name), ids(full, "dead", full.name)
    assert waiting.keys() | dead.keys() == EVERY
    assert len(waiting.keys() & dead.keys()) <= MOST_TWICE
    assert {task: before[task] for task in waiting} == waiting
    with full.client() as client:
        told = client.cancel_many(sorted(EVERY), full.name)
    assert {task for task, waited in zip(sorted(EVERY), told, strict=True) if waited} == waiting.keys()


def test_a_killed_run_now_leaves_each_task_waiting_or_ready(full: Stage) -> None:
    """And nothing else in the work queue: what the look has put on the ladder goes nowhere."""
    before = ids(full, "waiting", full.name)
    killed(full, full.name, "waiting", "run-now", full.name, "--all")
    waiting, started = ids(full, "waiting", full.name), ready(full)
    assert waiting.keys() | started == EVERY
    assert len(waiting.keys() & started) <= MOST_TWICE
    assert {task: before[task] for task in waiting} == waiting
    (state, _) = command.read(full.path, "inspect")["queues"]
    assert state["waiting"] == len(waiting)


def test_a_killed_move_leaves_each_task_in_one_queue_or_the_other(full: Stage) -> None:
    """Due when it was, in either."""
    other = f"{full.name}-b"
    before = ids(full, "waiting", full.name)
    killed(full, f"{other}.wait.900s", "waiting", "move", full.name, "--queue", other, "--all")
    here, there = ids(full, "waiting", full.name), ids(full, "waiting", other)
    assert here.keys() | there.keys() == EVERY
    assert len(here.keys() & there.keys()) <= MOST_TWICE
    assert {task: before[task] for task in (*here, *there)} == before


def test_a_killed_replay_leaves_each_task_dead_or_ready(full: Stage, receiver: Receiver) -> None:
    """The next one does the rest."""
    command.ran(full.path, "waiting", "cancel", full.name, "--all", "--yes")
    # As if they had failed: what was cancelled would go back to the ladder.
    killed(full, f"{full.name}.wait.800s", "dead", "replay", full.name, "--all")
    dead, waiting = ids(full, "dead", full.name), ids(full, "waiting", full.name)
    assert dead.keys() | waiting.keys() == EVERY
    assert len(dead.keys() & waiting.keys()) <= MOST_TWICE
    command.ran(full.path, "dead", "replay", full.name, "--all", "--yes")
    assert ids(full, "waiting", full.name).keys() == EVERY
    eventually(lambda: full.depth(f"{full.name}.dead") == 0, "no dead task")
    assert receiver.requests == []
