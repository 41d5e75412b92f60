"""What commands write where: in a pipe, in any locale, with streams that are closed, full or gone."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pika
import pytest
from rich.cells import cell_len

from tests.support.stage import Stage

LIMIT = 180.0
LONG = "/a-long-path" + "/of-many-parts" * 20
NAME = "ü-😀-≤"
DEAD: dict[str, Any] = {
    "taskqueue-reason": "failed",
    "taskqueue-error": f"status 500 {NAME}",
    "taskqueue-runs": 3,
}
CAN_T_ASK = "taskqueue: can't ask here whether to delete for good: add --yes, or --dry-run to see which\n"
REDIRECTIONS = ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"]


def shell(
    stage: Stage, *arguments: str, redirect: str = "", environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    """Run a command by a shell that redirects what it says."""
    return subprocess.run(
        ["/bin/sh", "-c", f'exec "$@" {redirect}', "sh", sys.executable, "-m", "taskqueue", *arguments,
         "--config", str(stage.path)],
        capture_output=True, stdin=subprocess.DEVNULL, timeout=LIMIT, check=False,
        env=os.environ | (environment or {}),
    )  # fmt: skip


@pytest.fixture
def full(stage: Stage) -> Stage:
    """Give a queue with dead tasks: a long one and a short one."""
    with stage.connection() as connection:
        channel = connection.channel()
        for task_id, url in (("first", LONG), ("second", f"/{NAME}")):
            properties = pika.BasicProperties(message_id=task_id, headers=DEAD)
            body = json.dumps({"url": url, "payload": NAME}, ensure_ascii=False).encode()
            channel.basic_publish("", f"{stage.name}.dead", body, properties)
    return stage


def commands(stage: Stage) -> list[list[str]]:
    """List commands that print tables, lines and JSON."""
    return [
        ["dead", "list", stage.name],
        ["dead", "show", stage.name, "first"],
        ["dead", "show", stage.name, "second", "--json"],
        ["inspect"],
        ["check"],
    ]


def errors(done: subprocess.CompletedProcess[bytes]) -> str:
    """Give what it wrote on standard error, where there must be no traceback."""
    text = done.stderr.decode()
    assert "Traceback" not in text
    assert "Exception ignored" not in text
    return text


def told(text: str) -> Any:
    """Read JSON, without what differs by how often somebody has looked."""
    found = json.loads(text)
    if isinstance(found, dict):
        for counted in ("x-delivery-count", "x-acquired-count"):
            found.get("headers", {}).pop(counted, None)
    return found


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "utf-8"])
def test_every_locale_can_show_everything(full: Stage, encoding: str) -> None:
    """What it lacks is escaped; JSON stays JSON, and says the same."""
    for command in commands(full):
        done = shell(full, *command, environment={"PYTHONIOENCODING": encoding})
        assert done.returncode == 0, command
        errors(done)
        text = done.stdout.decode(encoding)
        if "--json" in command:
            assert told(text) == told(shell(full, *command).stdout.decode()), command
        elif "list" in command and "dead" in command:
            header, *rows = text.splitlines()
            assert header.split()[0] == "id"
            assert [row.split()[0] for row in rows] == ["first", "second"]
            assert NAME in text if encoding == "utf-8" else "\\U0001f600" in text


@pytest.mark.parametrize("redirect", REDIRECTIONS)
def test_closed_streams_are_as_good_as_empty_ones(full: Stage, redirect: str) -> None:
    """As under cron and some supervisors; nothing else is opened in their place."""
    for command in commands(full):
        done = shell(full, *command, redirect=redirect)
        assert done.returncode == 0, (command, done.stderr)
        errors(done)
        assert bool(done.stdout) == (">&-" not in redirect.replace("2>&-", ""))
    purge = shell(full, "dead", "purge", full.name, "--all", redirect=redirect)
    assert purge.returncode == 2
    if "2>&-" not in redirect:
        assert errors(purge) == CAN_T_ASK
    sent = shell(full, "send", full.name, "/x", "--payload", "-", redirect=redirect)
    assert sent.returncode == 2
    assert "Traceback" not in sent.stderr.decode()


def test_what_can_not_be_written_is_one_line(full: Stage) -> None:
    """With the id of a task that is sent by then: it can't be told otherwise."""
    for command in [*commands(full), ["waiting", "list", full.name]]:
        done = shell(full, *command, redirect=">/dev/full")
        assert done.returncode == 1, command
        assert errors(done).startswith("taskqueue: can't write to standard output: No space left on device")
        assert errors(done).count("\n") == 1 or command[0] in {"dead", "inspect", "waiting"}
    sent = shell(full, "send", full.name, "/x", "--id", "my-id", redirect=">/dev/full")
    assert sent.returncode == 1
    words = "taskqueue: can't write to standard output: No space left on device; it was to be: my-id\n"
    assert errors(sent) == words
    assert full.depth() == 1


def test_an_error_that_can_not_be_written_is_an_exit_code(full: Stage) -> None:
    """Nobody hears more than that."""
    done = shell(full, "dead", "show", full.name, "nobody", redirect="2>/dev/full")
    assert (done.returncode, done.stdout, done.stderr) == (1, b"", b"")
    done = shell(full, "dead", "list", "nowhere", redirect="2>/dev/full")
    assert (done.returncode, done.stdout, done.stderr) == (2, b"", b"")


def test_a_reader_that_has_enough_is_no_error(full: Stage) -> None:
    """As `head` has: nothing is said, and the exit code is that of what was done."""
    for command in [*commands(full), ["waiting", "list", full.name], ["inspect", "--watch"]]:
        ours, theirs = os.pipe()
        os.close(ours)
        done = subprocess.run(
            [sys.executable, "-m", "taskqueue", *command, "--config", str(full.path)],
            stdout=theirs, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, timeout=LIMIT, check=False,
        )  # fmt: skip
        os.close(theirs)
        assert "Traceback" not in done.stderr.decode()
        assert "ignored" not in done.stderr.decode()
        assert "taskqueue:" not in done.stderr.decode()
        assert done.returncode == 0, command


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"FORCE_COLOR": "1", "TTY_COMPATIBLE": "1", "COLUMNS": "40", "TERM": "xterm-256color"},
    ],
)
def test_in_a_pipe_lines_are_as_long_as_they_are_and_plain(full: Stage, environment: dict[str, str]) -> None:
    """To be read by programs: one row a line, no colours, no blanks at the end."""
    for command in commands(full):
        done = shell(full, *command, environment=environment)
        errors(done)
        text = done.stdout.decode()
        assert "\x1b" not in text + done.stderr.decode()
        assert not re.search(r" \n", text), command
        if command[:2] == ["dead", "list"] and "--json" not in command:
            assert len(text.splitlines()) == 3
            assert LONG in text
        if command[0] == "inspect" and "--json" not in command:
            assert len(text.splitlines()) == 2
    path = full.path.parent / f"{'a-long-name-' * 15}.ini"
    path.write_text(full.path.read_text())
    short = shell(full, "check", environment=environment).stdout.decode().splitlines()
    names = ("check", "configuration", "requests", "broker", "version", "permissions", "declared", "leaders")
    assert all(
        line.startswith((*names, "faults", "alarms", "advanced.config", "policies", " ")) for line in short
    )


def on_a_terminal(arguments: Sequence[str], environment: dict[str, str]) -> str:
    """Run a command on a terminal of its own, and give all that it shows there."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "taskqueue", *arguments], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", **environment},
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 65536):
            shown += part
    except OSError:
        pass  # the way in which Linux tells the end of a terminal
    os.close(ours)
    process.wait(LIMIT)
    return shown.decode()


def test_a_terminal_gets_colours_unless_it_wants_none(full: Stage) -> None:
    """NO_COLOR is heeded (https://no-color.org)."""
    arguments = ["check", "--config", str(full.path)]
    assert "\x1b[32m" in on_a_terminal(arguments, {"NO_COLOR": ""})
    assert "\x1b[32m" not in on_a_terminal(arguments, {"NO_COLOR": "1"})


@pytest.mark.parametrize("width", [40, 80, 200])
def test_on_a_terminal_a_task_is_a_line(stage: Stage, width: int) -> None:
    """Whatever is in it: with the whole id and the reason, or when it is due, from 80 columns on."""
    ids = [f"{place}-6e9bfa-8a3c-4f05-9d56-3e5d7f2ac001" for place in range(3)]
    headers = DEAD | {"taskqueue-error": NAME * 50, "taskqueue-due": 4_000_000_000_000}
    with stage.connection() as connection:
        channel = connection.channel()
        for place in ("dead", "wait.90s"):
            for task_id, url in zip(ids, ("/short", LONG, "/" + NAME * 50), strict=True):
                properties = pika.BasicProperties(message_id=task_id, headers=headers)
                body = json.dumps({"url": url}).encode()
                channel.basic_publish("", f"{stage.name}.{place}", body, properties)
    for command, told in (("dead", "failed"), ("waiting", "2096-10-02")):
        arguments = [command, "list", stage.name, "--config", str(stage.path)]
        shown = on_a_terminal(arguments, {"COLUMNS": str(width), "NO_COLOR": "1"})
        # What is there in the end: a bar that tells how far it is has been wiped away.
        _, _, left = shown.rpartition("\x1b[2K")
        _, *rows, _ = re.sub(r"\x1b\[[0-9;]*m", "", left).splitlines()
        assert sorted(row[:6] for row in rows) == [task_id[:6] for task_id in ids]
        assert max(map(cell_len, rows)) <= width
        if width >= 80:
            assert [row.split()[0] for row in sorted(rows)] == ids
            assert all(told in row and ("/short" in row or "…" in row) for row in rows)


@pytest.mark.parametrize("width", ["60", "80", "200"])
@pytest.mark.parametrize("command", [[], ["dead"], ["waiting"]])
def test_help_tells_what_each_command_does_to_the_end(width: str, command: list[str]) -> None:
    """At any width."""
    done = subprocess.run(
        [sys.executable, "-m", "taskqueue", *command, "--help"],
        capture_output=True, check=True, text=True, env=os.environ | {"COLUMNS": width},
    )  # fmt: skip
    _, _, listed = done.stdout.partition("Commands:\n")
    assert "..." not in listed
    assert "…" not in listed
    assert listed.count(".\n") >= 2
    assert max(map(len, done.stdout.splitlines())) <= int(width)


def test_a_payload_from_standard_input_is_utf_8_in_any_locale(stage: Stage, tmp_path: Path) -> None:
    """As JSON is."""
    payload = tmp_path / "payload.json"
    payload.write_text(f'"{NAME}"', encoding="utf-8")
    done = shell(
        stage, "send", stage.name, "/x", "--payload", "-", redirect=f"<{payload}",
        environment={"PYTHONIOENCODING": "ascii"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert stage.depth() == 1
