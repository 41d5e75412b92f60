"""What a start costs: only what is needed for what was asked is imported."""

from __future__ import annotations

import ast
import subprocess
import sys

import pytest
from typer.main import get_command

import taskqueue
from taskqueue.cli import COMMANDS, module

HEAVY = frozenset(
    {"pika", "urllib3", "asyncio", "rich", "pydantic", "concurrent.futures", "taskqueue.consume"}
)
CASES = [
    ("from taskqueue import Client", HEAVY),
    ("from taskqueue.cli import main; main(['--help'])", HEAVY | {"taskqueue.send"}),
    ("from taskqueue.cli import main; main(['send', '--help'])", HEAVY | {"taskqueue.send"}),
    ("from taskqueue.cli import main; main(['inspect', '--help'])", {"pydantic", "taskqueue.consume"}),
]


@pytest.mark.parametrize(("code", "unwanted"), CASES)
def test_a_start_imports_nothing_that_it_does_not_need(code: str, unwanted: frozenset[str]) -> None:
    """Half of what it took went into packages that nothing was done with."""
    program = (
        f"import sys, atexit; atexit.register(lambda: print(list(sys.modules), file=sys.stderr)); {code}"
    )
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    imported = ast.literal_eval(ended.stderr.splitlines()[-1])
    assert "taskqueue" in imported
    assert unwanted & set(imported) == set()


@pytest.mark.parametrize("name", COMMANDS)
def test_the_list_of_commands_says_what_each_says_of_itself(name: str) -> None:
    """It is written in two places, so that the list needs no command."""
    about = get_command(module(name).commands).help or ""
    assert COMMANDS[name] == " ".join(about.split("\n\n")[0].split())


def test_what_is_imported_late_is_no_other_than_what_is_named() -> None:
    """And a name that is not there is an error as in any module."""
    assert all(getattr(taskqueue, name) for name in taskqueue.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Clients'"):
        taskqueue.Clients  # noqa: B018
