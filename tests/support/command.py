"""The command `taskqueue` as an operator runs it: output, errors and exit code."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.support import forking

LIMIT = forking.LIMIT


def run(config: Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run a command to its end, without a terminal."""
    return forking.run(*arguments, "--config", str(config))


def ran(config: Path, *arguments: str, code: int = 0) -> str:
    """Run a command that must end with `code`, and give what it printed."""
    done = run(config, *arguments)
    assert done.returncode == code, f"{done.returncode}: {done.stdout.decode()}{done.stderr.decode()}"
    return done.stdout.decode()


def read(config: Path, *arguments: str, code: int = 0) -> Any:
    """Run a command with --json, and read what it printed."""
    return json.loads(ran(config, *arguments, "--json", code=code))


def answer(config: Path, *arguments: str, typed: str) -> int:
    """Run a command on a terminal of its own, type `typed`, and give the exit code."""
    ours, theirs = pty.openpty()
    try:
        with subprocess.Popen(
            [sys.executable, "-m", "taskqueue", *arguments, "--config", str(config)],
            stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        ) as process:  # fmt: skip
            os.write(ours, typed.encode())
            return process.wait(LIMIT)
    finally:
        os.close(ours)
        os.close(theirs)
