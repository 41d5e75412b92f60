"""The command `taskqueue` as the demo and the benchmark run it: real processes with an ini of their own."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PATIENCE = 45.0
"""Seconds that a command gets for what takes a second or two."""
TASKQUEUE = (sys.executable, "-m", "taskqueue")


class CommandFailed(Exception):
    """A command of taskqueue failed; the text is what it said."""


class Commands:
    """Runs commands with one ini."""

    def __init__(self, ini: Path) -> None:
        """Take the path of the ini; what the consumer logs goes into a file beside it."""
        self.ini = ini
        self.log = ini.with_name("run.log")

    def read(self, *arguments: str) -> str:
        """Run a command and give what it printed; raises CommandFailed."""
        done = subprocess.run(
            [*TASKQUEUE, *arguments, "--config", str(self.ini)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
        if done.returncode:
            said = (done.stderr or done.stdout).strip()
            raise CommandFailed(f"taskqueue {' '.join(arguments)} ended with {done.returncode}: {said}")
        return done.stdout

    def show(self, *arguments: str) -> None:
        """Run a command with its output on the screen."""
        sys.stdout.flush()
        subprocess.run(
            [*TASKQUEUE, *arguments, "--config", str(self.ini)],
            stdin=subprocess.DEVNULL,
            timeout=PATIENCE,
            check=False,
        )

    @contextmanager
    def consumer(self, channel: Any, queue: str) -> Iterator[None]:
        """Run the consumer for a ``with`` block, which begins once it consumes `queue`.

        Raises CommandFailed where it does not come so far, or does not end with 0 on SIGTERM.
        """
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [*TASKQUEUE, "run", "--config", str(self.ini)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            _wait_for_consumer(process, channel, queue)
            yield
            process.send_signal(signal.SIGTERM)
            if code := process.wait(PATIENCE):
                raise CommandFailed(f"taskqueue run ended with {code}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()


def _wait_for_consumer(process: subprocess.Popen[bytes], channel: Any, queue: str) -> None:
    end = time.monotonic() + PATIENCE
    while not channel.queue_declare(queue, passive=True).method.consumer_count:
        if process.poll() is not None:
            raise CommandFailed(f"taskqueue run ended with {process.returncode} before it consumed {queue}")
        if time.monotonic() > end:
            raise CommandFailed(f"taskqueue run did not consume {queue} within {PATIENCE:.0f} s")
        channel.connection.process_data_events(0.1)
