"""A log that nobody reads, or that can't be written: neither the queues nor a stop wait for it."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sandbox.receiver import Receiver
from tests.support.stage import PATIENCE, Stage

MANY = 2000
"""Tasks whose lines fill a pipe of 64 KiB several times, and one of 4 KiB at once."""
_F_SETPIPE_SZ = 1031


class Unread:
    """A command whose standard error is a small pipe that is read only when a test does."""

    def __init__(self, *arguments: str) -> None:
        self._ours, theirs = os.pipe()
        fcntl.fcntl(theirs, _F_SETPIPE_SZ, 4096)
        self.process = subprocess.Popen(
            [sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs
        )
        os.close(theirs)

    def read_to_the_end(self) -> str:
        """Read until the last process that has the pipe has ended."""
        with os.fdopen(self._ours, encoding="utf-8") as stream:
            return stream.read()

    def stop_reading(self) -> None:
        """Close our end, as a log collector does that dies."""
        os.close(self._ours)

    def stop(self) -> int:
        """Ask it to stop, and give its exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(PATIENCE)


@pytest.fixture
def unread() -> Iterator[Callable[..., Unread]]:
    """Give a maker of commands whose log nobody reads; what still runs at the end is killed."""
    made: list[Unread] = []

    def make(*arguments: str) -> Unread:
        made.append(Unread(*arguments))
        return made[-1]

    yield make
    for each in made:
        if each.process.poll() is None:
            each.process.kill()
            each.process.wait()


@pytest.mark.parametrize("processes", ["1", "2"])
def test_a_log_that_nobody_reads_holds_up_neither_the_queues_nor_a_stop(
    stage: Stage, receiver: Receiver, unread: Callable[..., Unread], processes: str
) -> None:
    """As under a collector that hangs: everything runs, and it ends as it always does."""
    # Given a consumer that writes lines for each task into a pipe that is full
    consumer = unread(
        "-m",
        "taskqueue",
        "run",
        "--config",
        str(stage.path),
        "--log-level",
        "debug",
        "--processes",
        processes,
    )
    # When far more tasks come than there is room for lines
    with stage.client() as client:
        client.send_many({"url": "/x", "queue": stage.name} for _ in range(MANY))
    # Then all run, and a stop is a stop
    receiver.wait_for(MANY, timeout=2 * PATIENCE)
    began = time.monotonic()
    assert consumer.stop() == 0
    assert time.monotonic() - began < PATIENCE / 3
    stage.settle()


def test_a_reader_that_is_gone_holds_up_nothing_either(
    stage: Stage, receiver: Receiver, unread: Callable[..., Unread]
) -> None:
    """Each write fails at once then."""
    consumer = unread("-m", "taskqueue", "run", "--config", str(stage.path), "--log-level", "debug")
    consumer.stop_reading()
    with stage.client() as client:
        client.send_many({"url": "/x", "queue": stage.name} for _ in range(50))
    receiver.wait_for(50)
    assert consumer.stop() == 0
    stage.settle()


def test_an_error_that_nobody_reads_is_an_exit_code_all_the_same(
    stage: Stage, unread: Callable[..., Unread]
) -> None:
    """The last line is no reason to stay."""
    stage.close()
    fill = (
        "import logging, sys, taskqueue.logs as logs; started = logs.start\n"
        "def start(*args):\n"
        "    started(*args)\n"
        "    for number in range(500): logging.getLogger('x').error('line %d %s', number, 'x' * 100)\n"
        "logs.start = start\n"
        f"from taskqueue.cli import main; main(['run', '--config', {str(stage.path)!r}])"
    )
    assert unread("-c", fill).process.wait(PATIENCE) == 1


SCRIPT = """
import logging, sys, threading
from taskqueue import logs
logs.start("{format}", "info")
log = logging.getLogger("taskqueue")
for number in range({first}):
    log.info("line %d", number)
print("written", flush=True)
sys.stdin.readline()
for number in range({second}):
    log.info("more %d", number)
"""


def script(log_format: str, first: int, second: int) -> subprocess.Popen[str]:
    """Start a program that logs, waits for a line, and logs more."""
    code = SCRIPT.format(format=log_format, first=first, second=second)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_what_was_dropped_is_counted_and_told_when_it_goes_on(log_format: str) -> None:
    """In its place in the log; what there was room for is there, in order, up to the last line."""
    first, second = 30_000, 5
    with script(log_format, first, second) as program:
        assert program.stdin is not None
        assert program.stdout is not None
        assert program.stderr is not None
        # Given far more lines than there is room for, of which nobody has read one
        assert program.stdout.readline() == "written\n"
        # When the log is read again, then each line is there in its turn, or is counted as missing
        told = missing = 0
        while told < first:
            line = message(program.stderr.readline(), log_format)
            if "dropped" in line:
                count = next(int(word) for word in line.split() if word.isdigit())
                missing += count
                told += count
            else:
                assert line.split()[-1] == str(told)
                told += 1
        program.stdin.write("\n")
        program.stdin.flush()
        rest = [message(line, log_format) for line in program.stderr]
        assert program.wait(PATIENCE) == 0
    assert told == first
    assert 0 < missing < first
    assert [line.split()[-1] for line in rest] == [str(number) for number in range(second)]


def message(line: str, log_format: str) -> str:
    """Give what a line of the log says."""
    return str(json.loads(line)["message"]) if log_format == "json" else line


def test_at_a_normal_end_every_line_is_written() -> None:
    """Also those of the last moment."""
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(format="text", first=5000, second=10)],
        input="\n", capture_output=True, text=True, check=True, timeout=PATIENCE,
    )  # fmt: skip
    lines = done.stderr.splitlines()
    assert len(lines) == 5010
    assert lines[-1].endswith("more 9")


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_without_a_standard_error_nothing_is_written_into_other_files(
    tmp_path: Path, log_format: str
) -> None:
    """The first file that is opened then has its number."""
    code = f"""
import logging, sys
from taskqueue import logs
opened = open({str(tmp_path / "data")!r}, "w")
assert opened.fileno() == 2
logs.start({log_format!r}, "info")
logging.getLogger("taskqueue").error("a line")
"""
    subprocess.run(["/bin/sh", "-c", 'exec "$0" -c "$1" 2>&-', sys.executable, code], check=True)
    assert (tmp_path / "data").read_text() == ""


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_a_line_can_be_read_in_any_locale(encoding: str) -> None:
    """What the locale lacks is escaped; a line of JSON stays JSON."""
    words = "ü 😀 \ud800"
    for log_format in ("text", "json"):
        code = f"""
import logging
from taskqueue import logs
logs.start({log_format!r}, "info")
logging.getLogger("taskqueue").error({words!a})
"""
        done = subprocess.run(
            [sys.executable, "-c", code],
            env=os.environ | {"PYTHONIOENCODING": encoding}, check=True, capture_output=True,
        )  # fmt: skip
        line = done.stderr.decode(encoding)
        if log_format == "json":
            assert json.loads(line)["message"] == words
        else:
            assert line.rstrip().endswith("\\ud800")
