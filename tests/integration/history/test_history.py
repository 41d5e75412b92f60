"""`taskqueue history` on a real broker: what became of a task, and who did what."""

from __future__ import annotations

import getpass
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.receiver import Receiver
from taskqueue import events
from taskqueue.events import Event
from taskqueue.history import recorder
from taskqueue.settings import Settings
from tests.support import command
from tests.support.admin import Admin
from tests.support.stage import Stage, eventually

KEPT = "history = 1d\nhistory_bytes = 100M\n"


@pytest.fixture
def kept(admin: Admin, receiver: Receiver, tmp_path: Path) -> Iterator[Stage]:
    """Give a queue with a history, in a virtual host of its own, which goes with all that is in it."""
    stage = Stage(admin.url, receiver, tmp_path)
    stage.path.write_text(KEPT + stage.path.read_text())
    command.ran(stage.path, "declare")
    yield stage
    stage.stop()


def told(stage: Stage, *arguments: str) -> list[dict[str, Any]]:
    """Give what the history tells, nothing where it tells nothing."""
    done = command.run(stage.path, "history", *arguments, "--json")
    assert done.returncode in {0, 1}, done.stderr.decode()
    found: list[dict[str, Any]] = json.loads(done.stdout)["records"]
    assert bool(found) == (done.returncode == 0)
    return found


def events_of(stage: Stage, task_id: str) -> list[str]:
    """Name what has happened to a task and its roll_back."""
    return [each["event"] for each in told(stage, task_id)]


def test_a_task_is_told_from_its_first_attempt_to_its_end(kept: Stage, receiver: Receiver) -> None:
    """Attempts, death, roll_back, replay and cancel, with who did it; by id, time and URL, and in words."""
    # Given a task that fails, and is replayed, and one that waits and is cancelled
    receiver.answer("/x", [500, 503, 200])
    process = kept.run()
    kept.publish({"url": "/x?token=secret", "max_retries": 2, "roll_back": "/sorry"}, message_id="m")
    process.wait_for("event=done id=m.roll_back")
    assert command.ran(kept.path, "dead", "replay", kept.name, "--id", "m", "--yes") == "1 replayed\n"
    process.wait_for("event=done id=m ")
    waiting = kept.send("/later", countdown=80)
    command.ran(kept.path, "waiting", "cancel", kept.name, "--id", waiting, "--yes")
    by_program = kept.send("/later", countdown=80)
    with kept.client() as client:
        assert client.cancel(by_program, kept.name)
    # Then all of it is told, in its order, a second later at most
    story = ["retried", "dead", "rolled_back", "done", "replayed", "done"]
    # A replayed task may be done before the command hears that it was taken.
    eventually(lambda: sorted(events_of(kept, "m")) == sorted(story), "the whole story")
    found = told(kept, "m")
    retried, dead = found[:2]
    (replayed,) = [each for each in found if each["event"] == "replayed"]
    (done,) = [each for each in found if (each["event"], each["id"]) == ("done", "m")]
    assert (retried["attempt"], retried["status"], retried["url"]) == (1, 500, f"{receiver.url}/x")
    assert (dead["attempt"], dead["status"], dead["reason"]) == (2, 503, "failed")
    assert replayed["by"].startswith(f"{getpass.getuser()}@")
    assert (done["attempt"], done["queue"]) == (1, kept.name)
    assert retried["at"].endswith("Z")
    # A program does not wait for the record.
    eventually(lambda: events_of(kept, by_program) == ["cancelled"], "what a program has cancelled")
    for each in (waiting, by_program):
        (cancelled,) = told(kept, each)
        assert (cancelled["event"], cancelled["by"]) == ("cancelled", replayed["by"])
    # And is found by what it is
    assert [each["id"] for each in told(kept, "--failed", "--url", "*/x")] == ["m", "m"]
    assert told(kept, "--url", "*/nowhere") == []
    assert told(kept, "--since", "2100-01-01") == []
    assert len(told(kept, "--since", "1h", "-q", kept.name)) == len(story) + 2
    assert events_of(kept, "nobody") == []
    # And in words
    assert f"{waiting}: it was cancelled by {replayed['by']}" in command.ran(kept.path, "history", waiting)
    assert "by the history: m: it " in command.ran(kept.path, "show", "m", code=1)
    assert "secret" not in json.dumps(told(kept, "m"))


def test_what_operators_do_to_queue_and_tasks_is_told(kept: Stage) -> None:
    """A pause with its reason, and each act on a task, in their order; a dry run is none."""
    # Given a task that waits in a queue that is paused
    task = kept.send("/x", countdown=80)
    command.ran(kept.path, "pause", kept.name, "--reason", "deploy")
    # When it is moved, hastened, cancelled and purged
    this = (kept.name, "--id", task)
    command.ran(kept.path, "waiting", "cancel", *this, "--dry-run")
    command.ran(kept.path, "waiting", "move", *this, "--to", "+90s", "--yes")
    command.ran(kept.path, "waiting", "run-now", *this, "--yes")
    command.ran(kept.path, "ready", "cancel", *this, "--yes")
    command.ran(kept.path, "dead", "purge", *this, "--yes")
    command.ran(kept.path, "resume", kept.name)
    # Then all of it is told, with who did it
    acts = ["moved", "hastened", "cancelled", "purged"]
    eventually(lambda: events_of(kept, task) == acts, "what was done to the task")
    found = told(kept, "-q", kept.name)
    assert [each["event"] for each in found] == ["paused", *acts, "resumed"]
    assert {each["by"].split("@")[0] for each in found} == {getpass.getuser()}
    paused, moved = found[:2]
    assert (paused["reason"], "id" in paused) == ("deploy", False)
    assert moved["next"] > moved["at"]


def test_a_history_that_was_not_declared_stops_no_task(kept: Stage, receiver: Receiver) -> None:
    """It is said once, `check` names it, and what is kept meanwhile is written when it is there.

    A command does what it is for, and says that its record is lost.
    """
    # Given streams that somebody has deleted
    with kept.connection() as connection:
        for name in ("taskqueue.history", "taskqueue.history.index"):
            connection.channel().queue_delete(name)
    # When tasks run
    process = kept.run()
    first = kept.send("/x")
    receiver.wait_for(1)
    process.wait_for("history: can't be written")
    assert "run 'taskqueue declare'" in process.log
    assert "taskqueue declare" in json.dumps(command.read(kept.path, "check", code=1))
    assert "run 'taskqueue declare'" in command.run(kept.path, "history", first).stderr.decode()
    resumed = command.run(kept.path, "resume", kept.name)
    assert (resumed.returncode, resumed.stdout.decode()) == (0, f"{kept.name}: not paused\n")
    (lost,) = resumed.stderr.decode().splitlines()
    assert lost.startswith("history: 1 record could not be written: ")
    assert "run 'taskqueue declare'" in lost
    # Then they run, and nothing is lost once it is declared
    command.ran(kept.path, "declare")
    eventually(lambda: events_of(kept, first) == ["done"], "the record of the task")
    process.wait_for("history: records are written again; 0 were dropped")
    kept.stop()
    assert process.log.count("history: can't be written") == 1


def test_rights_on_the_history_are_asked_for_and_stop_no_task(
    kept: Stage, receiver: Receiver, admin: Admin
) -> None:
    """A user with the rights of the queue alone runs its tasks; `check` says what is missing."""
    # Given a user who may not write to the history
    pattern = rf"^{kept.name}(\..*)?$"
    url = admin.user(pattern, pattern, pattern)
    kept.path.write_text(kept.path.read_text().replace(admin.url, url))
    # When it runs a task
    process = kept.run()
    task = kept.send("/x")
    receiver.wait_for(1)
    process.wait_for("history: can't be written")
    (found,) = [
        each for each in command.read(kept.path, "check", code=1)["checks"] if each["check"] == "history"
    ]
    # Then the task is done, and the missing right is named
    assert not found["ok"]
    assert "taskqueue.history" in found["detail"]
    process.wait_for(f"event=done id={task}")


def test_a_command_counts_all_that_is_lost_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what was too much to be kept; soon, where there is no broker to wait for."""
    monkeypatch.setattr(recorder, "KEPT", 10)
    told: list[str] = []
    settings = Settings(history=60, servers=("amqp://127.0.0.1:9/",))
    with recorder.recording(settings, lambda _: None, tell=told.append) as (hear,):
        for number in range(13):
            hear(Event(events.DONE, "mail", str(number)))
    assert told == ["history: 13 records could not be written: no broker at 127.0.0.1:9: Connection refused"]


def test_without_a_history_there_is_none(stage: Stage) -> None:
    """The command says what to do; nothing of it is declared."""
    done = command.run(stage.path, "history", "x")
    assert done.returncode == 2
    assert b"history = 7d" in done.stderr
    assert "taskqueue.history" not in json.dumps(command.read(stage.path, "declare", "--dry-run"))


def test_another_retention_is_a_conflict_that_says_what_to_do(kept: Stage) -> None:
    """What a stream keeps is an argument of it: all that differs is told."""
    kept.path.write_text(kept.path.read_text().replace(KEPT, "history = 2d\nhistory_bytes = 200M\n"))
    done = command.run(kept.path, "declare")
    assert done.returncode == 1
    assert "x-max-age is '86400s' and should be '172800s'" in done.stderr.decode()
    assert "x-max-length-bytes is '100000000' and should be '200000000'" in done.stderr.decode()
    assert "docs/history.md" in done.stderr.decode()
