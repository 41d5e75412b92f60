"""docs/reference.md names what the code has; a shell completes commands that are imported late."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import taskqueue
from taskqueue import errors
from taskqueue.cli import COMMANDS
from taskqueue.consume.consumer import GRACE
from taskqueue.errors import TaskqueueError
from taskqueue.operate import rung_look
from taskqueue.task import astray, decide, decode
from taskqueue.task.message import PREFIX

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
SOURCE = ROOT / "taskqueue"
_BY_OTHERS = {
    "TMPDIR",
    "NO_COLOR",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "NAME",
    "_TASKQUEUE_COMPLETE",
    "FORWARDED_ALLOW_IPS",
}
"""What libraries read for us, and the example."""


def rows(title: str) -> list[list[str]]:
    """Give the cells of the table below a heading, without its head."""
    _, _, rest = DOCS.partition(f"## {title}\n\n")
    table = rest.partition("\n\n")[0].splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table]


def test_every_exit_code_is_told_with_its_errors() -> None:
    """And no error that there is not."""
    table = rows("Exit codes")
    told = {name: int(code) for code, _, classes in table for name in re.findall(r"`(\w+)`", classes)}
    found = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, TaskqueueError)
    ]
    assert told == {each.__name__: each.exit_code for each in found}
    assert {code for code, *_ in table} - set(map(str, told.values())) == {"0", "128 + number"}


def test_every_variable_that_is_read_is_told() -> None:
    """Whatever is looked up in the environment; what WSGI calls by that name is another one."""
    trees = [
        ast.parse(path.read_text(encoding="utf-8"))
        for path in SOURCE.rglob("*.py")
        if not {"receiver", "testing", "page.py"} & set(path.relative_to(SOURCE).parts)
    ]
    everywhere = {name: value for tree in trees for name, value in constants(tree).items()}
    found = set()
    for tree in trees:
        known = everywhere | constants(tree)
        for key in filter(None, map(looked_up, ast.walk(tree))):
            if isinstance(key, ast.Constant):
                found.add(key.value)
            elif isinstance(key, ast.Name) and key.id.isupper():
                found.add(known[key.id])
    told = {name for names, *_ in rows("Environment variables") for name in re.findall(r"`(\w+)`", names)}
    assert len(found) > 5
    assert told == found | _BY_OTHERS


def constants(tree: ast.Module) -> dict[str, Any]:
    """Give the plain values that a module gives names to."""
    return {
        target.id: node.value.value
        for node in tree.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant)
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def looked_up(node: ast.AST) -> ast.expr | None:
    """Give what is looked up in an environment, None where nothing is."""
    match node:
        case ast.Subscript(value=where, slice=key):
            pass
        case ast.Call(func=ast.Attribute(value=where, attr="get" | "pop"), args=[key, *_]):
            pass
        case ast.Compare(left=key, ops=[ast.In() | ast.NotIn()], comparators=[where]):
            pass
        case _:
            return None
    return key if "environ" in {getattr(where, "id", ""), getattr(where, "attr", "")} else None


def test_only_the_counts_of_several_processes_are_temporary_files() -> None:
    """Nothing else makes one."""
    made = [
        path.relative_to(SOURCE).as_posix()
        for path in SOURCE.rglob("*.py")
        if re.search(r"tempfile|mkstemp", path.read_text(encoding="utf-8"))
    ]
    assert made == ["consume/metrics.py"]
    assert 'prefix="taskqueue-metrics-"' in (SOURCE / "consume" / "metrics.py").read_text(encoding="utf-8")
    assert "`taskqueue-metrics-…`" in DOCS


def test_every_reason_and_every_header_is_told() -> None:
    """And none that there is not; those of probes and of other messages without a task are not a task's."""
    reasons = {decide.FAILED, decide.EXPIRED, decide.INVALID, decide.UNKNOWN_QUEUE, decide.DELIVERY_LIMIT}
    assert {row[0].strip("`") for row in rows("Why a task is dead")} == reasons | {decide.CANCELLED}
    found = {
        value
        for module in (decode, astray, rung_look)
        for value in vars(module).values()
        if isinstance(value, str) and value.startswith(PREFIX) and value != PREFIX
    }
    lines = DOCS.partition("## Headers of a message\n")[2].partition("## ")[0]
    assert len(found) > 15
    assert set(re.findall(r"`(taskqueue-[a-z-]+)`", lines)) == found


def test_the_grace_is_told() -> None:
    """Whoever stops it has to wait longer."""
    assert f"`--grace` ({GRACE:g} s)" in DOCS


@pytest.mark.parametrize(
    ("typed", "offered"),
    [
        ("taskqueue ", set(COMMANDS)),
        ("taskqueue dead ", {"list", "show", "replay", "purge"}),
        ("taskqueue send --countd", {"--countdown"}),
    ],
)
def test_a_shell_completes(typed: str, offered: set[str]) -> None:
    """Also what is imported only once it is asked for."""
    done = subprocess.run(
        [sys.executable, "-c", "from taskqueue.cli import main; main()"],
        env={
            **os.environ,
            "_TASKQUEUE_COMPLETE": "complete_bash",
            "COMP_WORDS": typed,
            "COMP_CWORD": str(len(typed.split(" ")) - 1),
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=120,
    )
    assert set(done.stdout.split()) >= offered


def test_the_version_is_that_of_the_project() -> None:
    """From one place."""
    done = subprocess.run(
        [sys.executable, "-m", taskqueue.__name__, "--version"], capture_output=True, text=True, check=True
    )
    (version,) = re.findall(r'^version = "(.+)"', (ROOT / "pyproject.toml").read_text("utf-8"), re.MULTILINE)
    assert done.stdout == f"taskqueue {version}\n"
    assert f"taskqueue-{version}-py3" in DOCS
