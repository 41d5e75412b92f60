"""The log of `taskqueue run`: one line for each thing that happens to a task, with the same keys always."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from sandbox.receiver import Receiver
from tests.support import command
from tests.support.stage import Process, Stage

TRACE = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"


def told(process: Process) -> list[dict[str, Any]]:
    """Read the events of a log in JSON."""
    return [found for line in process.lines if "event" in (found := json.loads(line))]


@pytest.mark.parametrize("count", [1, 2])
def test_the_log_tells_the_story_of_a_task(
    staged: Callable[..., Stage], receiver: Receiver, count: int
) -> None:
    """Which receiver failed, how, when it is tried again, and what became of it; and no secret."""
    # Given a receiver that fails for good
    stage = staged()
    stage.path.write_text(f"log_format = json\n{stage.path.read_text()}")
    receiver.answer("/x", 503)
    process = stage.run("--processes", str(count))
    # When a task has two tries, and a roll_back
    stage.publish(
        {"url": "/x?token=query", "max_retries": 2, "roll_back": "/sorry"},
        message_id="m", headers={"traceparent": TRACE},
    )  # fmt: skip
    for event in ("retried", "dead", "rolled_back", "done"):
        process.wait_for(f'"event": "{event}"')
    # Then each event is a line; of two processes either may be the first to write what it knows
    assert len(told(process)) == 4
    lines = {line["event"]: line for line in told(process)}
    retried, dead, rolled_back, done = (lines[each] for each in ("retried", "dead", "rolled_back", "done"))
    url = f"{receiver.url}/x"
    for line, event, attempt in ((retried, "retried", 1), (dead, "dead", 2)):
        assert (line["event"], line["id"], line["queue"], line["attempt"]) == (
            event,
            "m",
            stage.name,
            attempt,
        )
        assert (line["url"], line["status"], line["error"]) == (url, 503, "status 503")
        assert line["traceparent"] == TRACE
        assert 0 <= line["ms"] < 30_000
        assert 0 <= line["late_ms"] < 30_000
    assert retried["time"] < retried["next"]
    assert (retried["level"], dead["level"], dead["reason"]) == ("info", "error", "failed")
    assert (rolled_back["event"], rolled_back["id"]) == ("rolled_back", "m.roll_back")
    assert (done["event"], done["id"], done["status"]) == ("done", "m.roll_back", 200)
    assert "token" not in process.log


def test_a_busy_queue_tells_only_of_failures(staged: Callable[..., Stage], receiver: Receiver) -> None:
    """`log_success = off`, of one queue or of all."""
    stage = staged(log_success="off")
    receiver.answer("/bad", 500)
    process = stage.run()
    stage.publish({"url": "/good"}, message_id="good")
    receiver.wait_for(1, path="/good")
    stage.publish({"url": "/bad", "max_retries": 1}, message_id="bad")
    process.wait_for(f"event=dead id=bad queue={stage.name} attempt=1 url={receiver.url}/bad status=500 ms=")
    assert "event=done" not in process.log


def test_what_was_never_run_is_told_too(stage: Stage, receiver: Receiver) -> None:
    """Early, invalid, and moved away: without the figures of a request."""
    del receiver
    process = stage.run("--log-level", "debug")
    stage.publish(b"{", message_id="broken")
    process.wait_for(f"event=dead id=broken queue={stage.name} attempt=0 reason=invalid error=")
    stage.publish({"url": "/x", "countdown": 0.5}, message_id="early")
    process.wait_for(f"event=waiting id=early queue={stage.name} attempt=0 url=")
    process.wait_for(f"event=done id=early queue={stage.name} attempt=1 url=")
    (line,) = [line for line in process.lines if "event=waiting" in line]
    assert " debug " in line
    assert "ms=" not in line


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_nothing_that_runs_tells_a_login_or_a_query(
    staged: Callable[..., Stage], receiver: Receiver, log_format: str
) -> None:
    """Not the log, whatever fails, nor a command, nor what the receiver of the roll_back gets."""
    # Given a queue with a base_url, and one without
    stage = staged(others={(bare := f"bare-{uuid.uuid4().hex[:8]}"): {"retry_limit": 1}})
    stage.path.write_text(f"log_format = {log_format}\n{stage.path.read_text()}")
    # Python's server has one slash where a path begins with two.
    receiver.answer("/user:SECRET@host/fails", 500)
    login, query = {"url": "//user:SECRET@host/fails"}, {"url": "/x?token=QUERY"}
    # When tasks are done, fail, wait, and are no tasks at all, each with a secret in its URL
    process = stage.run("--log-level", "debug")
    bodies: list[bytes | dict[str, Any]] = [
        login | {"max_retries": 1, "roll_back": "/undo"},
        {"url": "http://user:SECRET@host/"},
        {"url": "/x y?token=QUERY"},
        query | {"queue": bare},
        login | {"queue": bare},
        login | {"eta": -1},
        json.dumps(login).encode() + b",",
        json.dumps(query).encode() + b",",
    ]
    for number, body in enumerate(bodies):
        stage.publish(body, message_id=f"m{number}")
    stage.publish(query, message_id="done")
    late = stage.send("//user:SECRET@host/later", countdown=80)
    found = '"event": "{}", "id": "{}"' if log_format == "json" else "event={} id={} "
    for number in range(len(bodies)):
        process.wait_for(found.format("dead", f"m{number}"))
    for name in ("done", "m0.roll_back"):
        process.wait_for(found.format("done", name))
    # Then it is in no output and in no header; the body of a dead message is as it was
    assert "QUERY" not in process.log
    shown = [process.log]
    for where, task in (("dead", "m0"), ("dead", "m6"), ("waiting", late)):
        shown += [command.ran(stage.path, where, "list", stage.name)]
        shown += [
            command.ran(stage.path, where, "show", stage.name, task, *more) for more in ((), ("--json",))
        ]
    assert [text for text in shown if "SECRET" in text] == []
    (undo,) = receiver.to("/undo")
    assert undo.headers["Taskqueue-Failed-Url"] == "//host/fails"
    assert "SECRET" not in f"{undo.headers}{undo.body!r}"
    assert (
        json.loads(next(body for _, body, sent in stage.dead(6) if sent.message_id == "m0"))["url"]
        == login["url"]
    )
