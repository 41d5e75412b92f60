"""What an operator does with waiting tasks, on a real broker: cancel, undo, run now, move; and the asking."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.receiver import Receiver
from taskqueue.settings import parse
from tests.support import command
from tests.support.raw_headers import Raw, entry
from tests.support.stage import PATIENCE, Stage, eventually

HOSTILE = b'{"url": "/hostile"}'


@pytest.fixture
def stage(staged: Callable[..., Stage]) -> Stage:
    """Give a queue whose ladder holds tasks for up to 999 s: a busy machine takes many for each command."""
    return staged(resolution=1)


def acted(stage: Stage, *arguments: str, code: int = 0) -> Any:
    """Do something with waiting tasks without being asked, and give what came of it."""
    verb, *rest = arguments
    return command.read(stage.path, "waiting", verb, stage.name, *rest, "--yes", code=code)


def fill(stage: Stage, count: int = 30) -> float:
    """Send tasks to three urls that are due one second after the other, and give when the first is due."""
    first = time.time() + 600
    with stage.client() as client:
        client.send_many(
            {"url": f"/{n % 3}", "queue": stage.name, "id": f"t{n}", "eta": first + n} for n in range(count)
        )
    return first


def listed(stage: Stage, *arguments: str) -> dict[str, Any]:
    """List what waits, by id."""
    rows = command.read(stage.path, "waiting", "list", stage.name, *arguments)
    return {row["id"]: row for row in rows}


def test_cancel_acts_on_all_that_match_and_its_undo_brings_them_back_as_they_were(
    stage: Stage, receiver: Receiver
) -> None:
    """They are dead meanwhile, with a reason and without a roll_back, and due when they were."""
    fill(stage)
    with stage.client() as client:
        client.send("/0", stage.name, countdown=800, id="rolls", roll_back="/sorry")
    before = listed(stage)
    # When those of one url are cancelled
    assert acted(stage, "cancel", "--url", "/0") == {"looked": 31, "matched": 11, "done": 11, "missing": []}
    kept = {task: row for task, row in before.items() if row["url"] != "/0"}
    assert {task: row["due"] for task, row in listed(stage).items()} == {
        task: row["due"] for task, row in kept.items()
    }
    dead = command.read(stage.path, "dead", "list", stage.name)
    assert {row["reason"] for row in dead} == {"cancelled"}
    assert {row["id"] for row in dead} == set(before) - set(kept)
    assert stage.depth() == 0
    # Then the undo brings them back
    undone = command.read(stage.path, "dead", "replay", stage.name, "--reason", "cancelled", "--yes")
    assert undone == {"looked": 11, "matched": 11, "done": 11, "missing": []}
    assert {task: row["due"] for task, row in listed(stage).items()} == {
        task: row["due"] for task, row in before.items()
    }
    assert receiver.requests == []


def test_a_task_whose_headers_can_not_be_read_is_left_alone(stage: Stage) -> None:
    """Nobody knows how often it has run, or whose it is; that is told, and the others are cancelled."""
    fill(stage, 2)
    with stage.connection() as connection:
        channel = connection.channel()
        table = entry(b"T", struct.pack(">Q", 2**63))
        channel.basic_publish("", f"{stage.name}.wait.900s", HOSTILE, Raw(table), mandatory=True)
    for words in (("--all",), ("--url", "/hostile", "--forget")):
        done = command.run(stage.path, "waiting", "cancel", stage.name, *words, "--yes")
        assert (done.returncode, done.stdout) == (1, b"2 cancelled\n" if "--all" in words else b"0 deleted\n")
        assert b"1 were left alone" in done.stderr
    assert (stage.waiting(), stage.depth(f"{stage.name}.dead")) == (1, 2)


def test_forget_deletes(stage: Stage) -> None:
    """Nothing of them is left, and the others are."""
    first = fill(stage)
    assert acted(stage, "cancel", "--forget", "--due-after", f"{first + 6.5:.3f}")["done"] == 23
    left = listed(stage)
    assert set(left) == {f"t{n}" for n in range(7)}
    assert command.read(stage.path, "dead", "list", stage.name) == []
    assert acted(stage, "cancel", "--forget", "--all")["done"] == len(left)
    assert (stage.waiting(), stage.depth(), stage.depth(f"{stage.name}.dead")) == (0, 0, 0)


def test_a_task_that_was_sent_twice_under_one_id_is_cancelled_twice(stage: Stage) -> None:
    """The second copy comes while the first is on its way to the dead queue."""
    twice = {"url": "/x", "queue": stage.name, "id": "a", "eta": time.time() + 600}
    with stage.client() as client:
        client.send_many([twice] * 50)
    assert acted(stage, "cancel", "--id", "a") == {"looked": 50, "matched": 50, "done": 50, "missing": []}
    assert (stage.waiting(), stage.depth(f"{stage.name}.dead")) == (0, 50)


def test_run_now_runs_with_the_attempts_that_are_left(stage: Stage, receiver: Receiver) -> None:
    """The task keeps its id and its runs; the others wait on."""
    stage.configure(min_backoff_seconds=500, max_backoff_seconds=500)
    receiver.answer("/x", [503, 200])
    stage.consume()
    stage.publish({"url": "/x"}, message_id="a")
    stage.publish({"url": "/y", "countdown": 700}, message_id="b")
    receiver.wait_for(1)
    eventually(lambda: stage.waiting() == 2, "both wait")
    assert acted(stage, "run-now", "--status", "5xx", "--runs", "1+")["done"] == 1
    requests = receiver.wait_for(2, timeout=PATIENCE)
    assert [request.headers["Taskqueue-Attempt"] for request in requests] == ["1", "2"]
    assert {request.headers["Taskqueue-Id"] for request in requests} == {"a"}
    assert listed(stage).keys() == {"b"}


def test_move_gives_another_time_and_no_task_is_moved_twice(stage: Stage) -> None:
    """Where it comes to a rung that the look has not reached yet, too."""
    fill(stage)
    moved = acted(stage, "move", "--to", "+90s", "--id", "t0", "--id", "t1", "--id", "nope", code=1)
    assert moved == {"looked": 30, "matched": 2, "done": 2, "missing": ["nope"]}
    rows = listed(stage, "--limit", "3")
    assert list(rows)[2] == "t2"
    assert all(float(rows[each]["rung"].removesuffix("s")) < 100 for each in ("t0", "t1"))
    assert stage.waiting() == 30


def test_move_to_another_queue_keeps_the_due_time_and_sticks(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Whatever queue the message itself names."""
    stage = staged(resolution=1)
    other = f"{stage.name}-other"
    stage.configure(others={other: {"base_url": receiver.url}})
    stage.declare()
    stage.publish({"url": "/x", "queue": stage.name, "countdown": 600}, message_id="a")
    stage.consume()
    eventually(lambda: stage.waiting() == 1, "it waits")
    stage.stop()
    waits = command.read(stage.path, "waiting", "list", stage.name)
    assert acted(stage, "move", "--queue", other, "--all")["done"] == 1
    (moved,) = command.read(stage.path, "waiting", "list", other)
    assert moved["due"] == waits[0]["due"]
    assert listed(stage) == {}
    command.ran(stage.path, "waiting", "move", other, "--to", "+2s", "--all", "--yes")
    stage.consume()
    (request,) = receiver.wait_for(1, timeout=PATIENCE)
    assert request.headers["Taskqueue-Queue"] == other


def test_a_dry_run_counts_and_shows_ten_and_changes_nothing(stage: Stage) -> None:
    """As JSON and for people."""
    fill(stage)
    seen = command.read(stage.path, "waiting", "cancel", stage.name, "--all", "--dry-run")
    assert {name: seen[name] for name in ("looked", "matched", "done")} == {
        "looked": 30,
        "matched": 30,
        "done": 0,
    }
    assert [row["id"] for row in seen["tasks"]] == [f"t{n}" for n in range(10)]
    printed = command.ran(stage.path, "waiting", "cancel", stage.name, "--url", "/0", "--dry-run")
    assert printed.splitlines()[-1] == f"would cancel 10 of 30 waiting tasks of {stage.name}"
    assert stage.waiting() == 30


def test_a_terminal_is_asked_and_elsewhere_it_takes_yes(stage: Stage) -> None:
    """Nothing happens by mistake."""
    fill(stage, 3)
    arguments = ("waiting", "cancel", stage.name, "--all")
    command.ran(stage.path, *arguments, code=2)
    command.ran(stage.path, "waiting", "cancel", stage.name, "--yes", code=2)
    command.ran(stage.path, "waiting", "move", stage.name, "--all", "--yes", code=2)
    command.ran(stage.path, *arguments, "--id", "t1", "--yes", code=2)
    assert command.answer(stage.path, *arguments, typed="n\n") == 1
    assert stage.waiting() == 3
    assert command.answer(stage.path, *arguments, typed="y\n") == 0
    assert (stage.waiting(), stage.depth(f"{stage.name}.dead")) == (0, 3)


def test_ids_are_read_from_standard_input(stage: Stage) -> None:
    """One a line, as another command prints them: in UTF-8 whatever the locale, and maybe behind a BOM."""
    fill(stage, 5)
    command_line = ["waiting", "cancel", stage.name, "--id", "-", "--yes", "--config", str(stage.path)]
    done = subprocess.run(
        [sys.executable, "-m", "taskqueue", *command_line],
        input="\ufefft1\n\n t3\r\né\n".encode(), env={**os.environ, "PYTHONIOENCODING": "ascii"},
        capture_output=True, timeout=command.LIMIT, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (1, b"2 cancelled\n")
    assert done.stderr.decode() == f"\\xe9 is not among the waiting tasks of {stage.name}\n"
    assert listed(stage).keys() == {"t0", "t2", "t4"}


def test_show_gives_everything_of_one_task(stage: Stage) -> None:
    """What is known of it, and its message."""
    fill(stage, 3)
    shown = command.read(stage.path, "waiting", "show", stage.name, "t1")
    assert (shown["id"], shown["url"]) == ("t1", "/1")
    assert '"/1"' in shown["body"]
    assert "taskqueue-due" in shown["headers"]
    assert b'"/1"' in command.run(stage.path, "waiting", "show", stage.name, "t1", "--body").stdout
    command.ran(stage.path, "waiting", "show", stage.name, "nope", code=1)


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_tasks_that_walk_on_meanwhile_are_seen_once_and_lost_never(
    staged: Callable[..., Stage], queue_type: str
) -> None:
    """Look after look, while all of them come due."""
    stage = staged()
    # Else the rungs of both types would have it.
    stage.close()
    stage.path.write_text(f"queue_type = {queue_type}\n{stage.path.read_text()}")
    stage.settings = parse(stage.path.read_text(), source="test", environ={})
    stage.declare()
    first, count = time.time() + 14, 400
    dues = {f"t{n}": first + n % 100 / 10 for n in range(count)}
    with stage.client() as client:
        client.send_many({"url": "/x", "queue": stage.name, "id": t, "eta": due} for t, due in dues.items())
    looks = 0
    while time.time() < first + 5:
        rows = command.read(stage.path, "waiting", "list", stage.name, "--limit", "1000", "--url", "/*")
        ended = time.time()
        seen = [row["id"] for row in rows]
        assert len(seen) == len(set(seen))
        assert {task for task, due in dues.items() if due > ended + 1} <= set(seen)
        looks += 1
    assert looks > 0
    eventually(lambda: stage.depth() == count, "all of them due, and nothing else")
