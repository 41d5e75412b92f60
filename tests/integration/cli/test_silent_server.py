"""A server that takes connections and says nothing: every command gives up, in time and by one line."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.support.silent import Silent

COMMANDS = {
    "inspect": ("inspect",),
    "inspect as JSON": ("inspect", "--json"),
    "check": ("check",),
    "declare": ("declare",),
    "declare --prune": ("declare", "--prune"),
    "dead list": ("dead", "list", "mail"),
    "dead show": ("dead", "show", "mail", "some-id"),
    "dead replay": ("dead", "replay", "mail", "--all", "--yes"),
    "dead purge": ("dead", "purge", "mail", "--all", "--yes"),
    "waiting list": ("waiting", "list", "mail"),
    "waiting cancel": ("waiting", "cancel", "mail", "--id", "some-id", "--yes"),
    "send": ("send", "mail", "/x", "--timeout", "20"),
    "send in a hurry": ("send", "mail", "/x", "--timeout", "1"),
    "run --declare": ("run", "--declare"),
}
LIMIT = 90.0
"""Seconds that a command may take, on a busy machine; a connection may take ten."""


@pytest.fixture(params=["amqp", "amqps"])
def ini(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """Give a configuration whose broker is such a server."""
    with Silent() as server:
        path = tmp_path / "taskqueue.ini"
        path.write_text(
            f"server = {request.param}://guest:hunter2@127.0.0.1:{server.port}/\nlevels = 1\n[mail]\n"
        )
        yield path


def test_every_command_says_that_no_broker_answers(ini: Path) -> None:
    """All of them at once, as each waits for the same ten seconds: exit code 3, one line, no traceback."""

    def ended(arguments: tuple[str, ...]) -> tuple[int, str, str, float]:
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "taskqueue", *arguments, "--config", str(ini)],
            capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=2 * LIMIT, check=False,
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr, time.monotonic() - began

    with ThreadPoolExecutor(len(COMMANDS)) as pool:
        results = dict(zip(COMMANDS, pool.map(ended, COMMANDS.values()), strict=True))
    for name, (code, out, err, seconds) in results.items():
        told = out if name == "check" else err
        assert code == 3, f"{name}: {code}, {out}{err}"
        assert "no broker" in told, name
        assert "no answer in time" in told, name
        if name != "check":
            assert (err.count("\n"), out) == (1, ""), f"{name}: {out}{err}"
        assert "Traceback" not in out + err, name
        assert "hunter2" not in out + err, name
        assert seconds < LIMIT, name
