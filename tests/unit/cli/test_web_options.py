"""`taskqueue web` that can't begin says in one line why, and what to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import command


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    """Give an ini whose broker is nowhere: none is needed to begin."""
    path = tmp_path / "taskqueue.ini"
    path.write_text("server = amqp://127.0.0.1:9/\n[q]\nbase_url = http://127.0.0.1:1\n")
    return path


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            ("--listen", "0.0.0.0:0"),
            "0.0.0.0 can be reached by others: set TASKQUEUE_WEB_TOKEN or --token-file",
        ),
        (("--listen", "here"), "--listen: must be host:port or :port, got 'here'"),
        (("--prefix", "no path"), "--prefix: must be a path such as /taskqueue, got 'no path'"),
        (("--token-file", "/nowhere/at/all"), "--token-file: can't read /nowhere/at/all: No such file"),
        (("--token-file", "/dev/null"), "the token must have 16 characters or more"),
        (("--queue", "no"), "queue 'no' is not in the configuration: it has q"),
    ],
)
def test_what_can_not_be_served_is_told_in_a_line(ini: Path, options: tuple[str, ...], why: str) -> None:
    """With exit code 2, as no other try mends it."""
    done = command.run(ini, "web", *options)
    assert done.returncode == 2
    (line,) = done.stderr.decode().splitlines()
    assert why in line


def test_without_its_extra_it_says_what_to_install() -> None:
    """In one line too, before anything else."""
    script = (
        "import sys; sys.modules['starlette'] = None; sys.modules['uvicorn'] = None\n"
        "from taskqueue.cli import main; main(['web'])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr == "taskqueue: web: needs starlette, uvicorn: pip install 'taskqueue[web]'\n"
