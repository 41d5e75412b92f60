"""`taskqueue send --many`: each line a task, confirmed by itself, and none twice when given again."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from sandbox.receiver import Receiver
from tests.support import command
from tests.support.stage import PATIENCE, Stage, eventually


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Give a file for lines."""
    return tmp_path / "tasks.jsonl"


def write(path: Path, tasks: Iterable[object]) -> None:
    """Write tasks, or lines as they are."""
    path.write_text("".join(f"{each if isinstance(each, str) else json.dumps(each)}\n" for each in tasks))


def many(stage: Stage, source: Path | str, *arguments: str, code: int = 0) -> Any:
    """Send a file, and give the counts."""
    return command.read(stage.path, "send", stage.name, "--many", str(source), *arguments, code=code)


def taken(stage: Stage) -> list[str | None]:
    """Take what stands in the work queue, and list the ids."""
    with stage.connection() as connection:
        channel = connection.channel()
        return [channel.basic_get(stage.name, auto_ack=True)[1].message_id for _ in range(stage.depth())]  # type: ignore[union-attr]


def test_each_line_is_a_task_with_defaults_from_the_command(
    stage: Stage, receiver: Receiver, lines: Path
) -> None:
    """A payload goes out as it is written, digit for digit; blank lines are none."""
    stage.consume()
    write(
        lines,
        ['{"payload": {"n": 1.50,  "big": 1e400}, "id": "a"}', "", {"url": "/own", "payload": "as it is"}],
    )
    assert many(stage, lines, "/default", "--metadata", '{"headers": {"X-A": "b"}}') == {
        "lines": 3, "sent": 2, "skipped": 0, "wrong": 0,
    }  # fmt: skip
    came = {request.path: request for request in receiver.wait_for(2)}
    assert came["/default"].body == b'{"n": 1.50,  "big": 1e400}'
    assert came["/default"].headers["Taskqueue-Id"] == "a"
    assert (came["/own"].body, came["/own"].headers["X-A"]) == (b"as it is", "b")


def test_a_line_that_is_no_task_is_told_and_left_out(stage: Stage, lines: Path) -> None:
    """With its number, and the rest is sent."""
    write(
        lines,
        [
            {"url": "/1"},
            "{oops",
            {"url": "/2", "countdwn": 3},
            {},
            {"url": "/3", "queue": "no"},
            [1],
            {"url": "/4"},
        ],
    )
    ended = command.run(stage.path, "send", stage.name, "--many", str(lines))
    assert ended.returncode == 1
    assert ended.stdout.decode() == "2 sent, 5 wrong\n"
    said = ended.stderr.decode().splitlines()
    assert [line.split(":")[0] for line in said] == [f"line {number}" for number in range(2, 7)]
    assert "send takes no countdwn" in said[1]
    assert stage.depth() == 2


def test_it_reads_standard_input_as_it_comes(stage: Stage) -> None:
    """A task is sent before the next line is there; Ctrl-C ends it in order."""
    arguments = ["send", stage.name, "/x", "--many", "-", "--json", "--config", str(stage.path)]
    with subprocess.Popen(
        [sys.executable, "-m", "taskqueue", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b'{"id": "first"}\n')
        process.stdin.flush()
        eventually(lambda: stage.depth() == 1, "the first is sent")
        process.send_signal(signal.SIGINT)
        assert json.loads(process.stdout.read())["sent"] == 1
        assert process.wait(PATIENCE) == 1


def test_given_again_it_sends_only_what_is_not_confirmed(stage: Stage, lines: Path, tmp_path: Path) -> None:
    """The file holds the ids, also of a line that stands there twice; half an id is none."""
    done = tmp_path / "done"
    write(lines, [{"url": "/x", "id": f"task-{number}"} for number in (1, 2, 12, 1)])
    done.write_text("task-2\ntask-1")
    assert many(stage, lines, "--done", str(done))["sent"] == 2
    assert many(stage, lines, "--done", str(done)) == {"lines": 4, "sent": 0, "skipped": 4, "wrong": 0}
    assert sorted(map(str, taken(stage))) == ["task-1", "task-12"]
    assert done.read_text().split() == ["task-2", "task-1", "task-12"]
    write(lines, [{"url": "/x"}])
    assert many(stage, lines, "--done", str(done), code=1)["wrong"] == 1


def test_who_is_killed_leaves_a_window_in_doubt_at_most(stage: Stage, lines: Path, tmp_path: Path) -> None:
    """Nothing is lost, and what was kept is not sent again."""
    done = tmp_path / "done"
    names = [f"t{number}" for number in range(4000)]
    write(lines, [{"url": "/x", "id": name} for name in names])
    arguments = ["send", stage.name, "--many", str(lines), "--done", str(done), "--config", str(stage.path)]
    with subprocess.Popen(
        [sys.executable, "-m", "taskqueue", *arguments], stdout=subprocess.DEVNULL
    ) as process:
        eventually(lambda: done.exists() and done.stat().st_size > 0, "some are confirmed")
        process.kill()
        process.wait(PATIENCE)
    kept = done.read_text().count("\n")
    again = many(stage, lines, "--done", str(done))
    assert (again["skipped"], again["sent"]) == (kept, len(names) - kept)
    with stage.connection() as connection:
        channel = connection.channel()
        found: list[str] = []
        for _, properties, _ in channel.consume(stage.name, auto_ack=True, inactivity_timeout=PATIENCE):
            assert properties is not None, f"only {len(found)} came"
            found.append(str(properties.message_id))
            if set(found) >= set(names):
                break
    assert len(found) - len(set(found)) <= 1000


def test_the_broker_ends_it(stage: Stage, lines: Path, tmp_path: Path) -> None:
    """With its own exit code, once for all lines, and what was confirmed is told."""
    write(lines, [{"url": "/x"}] * 3)
    stage.close()
    ended = command.run(stage.path, "send", stage.name, "--many", str(lines))
    assert (ended.returncode, ended.stdout) == (1, b"0 sent\n")
    assert b"run 'taskqueue declare'" in ended.stderr
    stage.path.write_text(f"server = amqp://127.0.0.1:9/\n[{stage.name}]")
    done = str(tmp_path / "done")
    assert command.run(stage.path, "send", stage.name, "--many", str(lines)).returncode == 3
    assert command.run(stage.path, "send", "nobody", "--many", str(lines)).returncode == 2
    assert command.run(stage.path, "send", stage.name, "--many", f"{lines}.not").returncode == 2
    with Path(done).open("w") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        ended = command.run(stage.path, "send", stage.name, "--many", os.devnull, "--done", done)
    assert ended.returncode == 2
    assert b"another command sends with" in ended.stderr
