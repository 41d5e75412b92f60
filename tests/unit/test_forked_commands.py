"""Commands that tests fork: as good as those that are started anew."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support import forking

COMMANDS = (
    ("--version",), ("--help",), ("nothing",), ("retries", "--help"), ("retries", "nowhere", "--json"),
)  # fmt: skip


@pytest.mark.parametrize("arguments", COMMANDS)
def test_a_forked_command_is_as_one_that_is_started(
    arguments: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By its output, its errors and its exit code, in the folder and the environment of the test."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "60")
    Path("taskqueue.ini").write_text("server = amqp://localhost/\n[default]\nbase_url = http://localhost\n")
    started = subprocess.run(
        [sys.executable, "-m", "taskqueue", *arguments],
        capture_output=True, stdin=subprocess.DEVNULL, check=False,
    )  # fmt: skip
    forked = forking.run(*arguments)
    assert (forked.returncode, forked.stdout, forked.stderr) == (
        started.returncode,
        started.stdout,
        started.stderr,
    )


def test_many_threads_may_fork_commands_at_once() -> None:
    """Each gets what its own command wrote."""
    with ThreadPoolExecutor(4) as threads:
        done = list(threads.map(lambda name: forking.run("nothing", name), map(str, range(8))))
    assert {each.returncode for each in done} == {2}
    assert [each.args[1] for each in done] == [str(number) for number in range(8)]
