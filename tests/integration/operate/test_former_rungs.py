"""Tasks on rungs that the ini no longer names, on a real broker: looked at where something can list them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sandbox.node import free_ports
from taskqueue import Client, NotKnown
from taskqueue.settings import load
from tests.support import command
from tests.support.admin import Admin
from tests.support.stage import PATIENCE, eventually

CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "levels": ({"levels": 4}, {"levels": 2}, "5000s"),
    "resolution": ({"resolution": 10, "levels": 3}, {"resolution": "0.1", "levels": 3}, "5000s"),
    "type": ({"queue_type": "classic"}, {"queue_type": "quorum"}, "500s"),
    "ladder": ({}, {"ladder": "shared"}, "500s"),
}
"""The keys before a change and after it, and the former rung on which a task stands."""
Change = Callable[..., Path]


@pytest.fixture
def change(admin: Admin, tmp_path: Path) -> Change:
    """Give what sends a task, changes the ini, declares, and sends another; gives the path of the ini."""

    def write(keys: dict[str, Any], management_url: str | None) -> Path:
        lines = [f"server = {admin.url}", "resolution = 1", "levels = 3", "base_url = http://127.0.0.1:9"]
        lines = [line for line in lines if line.split()[0] not in keys]
        lines += [f"{key} = {value}" for key, value in keys.items() if key != "ladder"]
        lines += [f"management_url = {management_url}"] if management_url else []
        lines += ["[mail]", *(f"ladder = {keys[key]}" for key in keys if key == "ladder"), ""]
        path = tmp_path / "taskqueue.ini"
        path.write_text("\n".join(lines))
        return path

    def change(name: str, management_url: str | None = admin.management_url) -> Path:
        before, after, rung = CHANGES[name]
        path = write(before, admin.management_url)
        command.ran(path, "declare")
        send(path, "former", int(rung.removesuffix("s")))
        (row,) = command.read(path, "waiting", "list", "mail")
        assert row["rung"] == rung
        path = write(after, admin.management_url)
        command.ran(path, "declare", *(["--migrate", "--yes"] if name == "type" else []))
        send(path, "named", 50)
        return write(after, management_url)

    return change


def send(path: Path, task_id: str, countdown: float) -> None:
    """Send one task."""
    with Client.from_config(path) as client:
        client.send("/x", "mail", id=task_id, countdown=countdown)


def waiting(path: Path, code: int = 0) -> list[str]:
    """List the ids of what waits, in the order in which they are due."""
    return [row["id"] for row in command.read(path, "waiting", "list", "mail", code=code)]


def told(path: Path, *arguments: str) -> tuple[int, str]:
    """Run a command, and give its exit code and all that it has written."""
    done = command.run(path, *arguments)
    return done.returncode, (done.stdout + done.stderr).decode()


@pytest.mark.parametrize(
    "name", ["levels", "resolution", "ladder", pytest.param("type", marks=pytest.mark.slow)]
)
def test_what_waits_on_a_former_rung_is_seen_and_acted_on(change: Change, name: str) -> None:
    """By every command, and each task once."""
    path = change(name)
    assert waiting(path) == ["named", "former"]
    shown = command.read(path, "waiting", "show", "mail", "former")
    assert shown["id"] == "former"
    eventually(lambda: counted(path) == 2, "both are counted")
    (found,) = command.read(path, "show", "former")["found"]
    assert (found["queue"], found["place"], found["rung"]) == ("mail", "waiting", CHANGES[name][2])
    assert told(path, "waiting", "cancel", "mail", "--all", "--yes") == (0, "2 cancelled\n")
    assert waiting(path) == []
    dead = command.read(path, "dead", "list", "mail")
    assert sorted(row["id"] for row in dead) == ["former", "named"]
    # Brought back, it waits on a rung that the ini names.
    command.ran(path, "dead", "replay", "mail", "--reason", "cancelled", "--yes")
    assert waiting(path) == ["named", "former"]


@pytest.mark.parametrize("name", ["levels", "ladder"])
def test_a_program_with_the_whole_ini_cancels_what_waits_on_a_former_rung(change: Change, name: str) -> None:
    """True is said of it, and False of what waits nowhere."""
    path = change(name)
    with Client(settings=load(path)) as client:
        assert client.cancel_many(["former", "nope", "named"], "mail") == [True, False, True]
        assert client.cancel("former", "mail") is False
    assert waiting(path) == []


def test_a_task_on_a_former_rung_is_moved_to_one_that_is_named_and_met_once(change: Change) -> None:
    """Although the look comes to where it went."""
    path = change("ladder")
    assert told(path, "waiting", "move", "mail", "--to", "+80s", "--all", "--yes") == (0, "2 moved\n")
    rows = command.read(path, "waiting", "list", "mail")
    assert sorted(row["id"] for row in rows) == ["former", "named"]


@pytest.mark.parametrize("name", ["levels", "ladder"])
def test_without_the_management_api_nobody_says_that_it_does_not_wait(change: Change, name: str) -> None:
    """AMQP can't list what exists, so `show` names what was not looked at."""
    path = change(name, None)
    assert waiting(path) == ["named"]
    code, words = told(path, "show", "former")
    assert code == 1
    assert "a rung that the ini no longer names" in words
    code, words = told(path, "waiting", "show", "mail", "former")
    assert code == 1
    assert "management_url" in words
    with Client.from_config(path) as client:
        assert client.cancel("former", "mail") is False


def test_where_the_management_api_does_not_answer_it_is_not_known_what_waits(change: Change) -> None:
    """What is seen is acted on; what may be there beside it is told, and is no zero."""
    path = change("levels", f"http://127.0.0.1:{free_ports(1)[0]}")
    code, words = told(path, "waiting", "list", "mail")
    assert code == 1
    assert "named" in words
    assert "rungs that the ini no longer names were not looked at" in words
    with Client(settings=load(path)) as client:
        with pytest.raises(NotKnown, match="no longer names"):
            client.cancel("former", "mail", timeout=PATIENCE)
        assert client.cancel("named", "mail", timeout=PATIENCE) is True
    code, words = told(path, "waiting", "cancel", "mail", "--all", "--yes")
    assert (code, words.splitlines()[0]) == (1, "0 cancelled")
    assert "not looked at" in words
    assert "a rung that the ini no longer names" in told(path, "show", "former")[1]


def counted(path: Path) -> int:
    """Count what waits for the queue as `inspect` has it, which counts a shared ladder for itself."""
    return sum(int(each["waiting"]) for each in command.read(path, "inspect")["ladders"])
