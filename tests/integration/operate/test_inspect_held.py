"""A work queue that is gone while tasks wait: `inspect` and `check` say what becomes of them."""

from __future__ import annotations

from sandbox.broker import Server
from sandbox.receiver import Receiver
from tests.support import command
from tests.support.stage import PATIENCE, Stage, eventually

COUNT = 3


def test_what_comes_due_without_a_work_queue_is_shown_as_held(
    broker: Server, stage: Stage, receiver: Receiver
) -> None:
    """With the management API how many, without it that nobody can count; they run once it is declared."""
    with stage.connection() as connection:
        connection.channel().queue_delete(stage.name)
    sent = [stage.send("/x", countdown=0.3) for _ in range(COUNT)]
    plain = command.run(stage.path, "inspect")
    assert plain.returncode == 1
    assert f"{stage.name}: without its work queue the broker holds what comes due" in plain.stderr.decode()
    assert "set management_url to see how many" in plain.stderr.decode()
    checked = command.read(stage.path, "check", code=1)
    (held,) = [each for each in checked["checks"] if each["check"] == "held"]
    assert (held["ok"], held["queue"], held["advice"]) == (False, stage.name, "run 'taskqueue declare'")
    text = stage.path.read_text()
    stage.path.write_text(f"management_url = {broker.management_url}\n{text}")
    eventually(
        lambda: command.read(stage.path, "inspect", code=1)["queues"][0]["held"] == COUNT, "all of them held"
    )
    assert f"({COUNT} by now)" in command.run(stage.path, "inspect").stderr.decode()
    assert f"({COUNT} by now)" in command.ran(stage.path, "check", code=1)
    stage.path.write_text(text)
    stage.declare()
    stage.consume()
    requests = receiver.wait_for(COUNT, timeout=2 * PATIENCE)
    assert sorted(request.headers["Taskqueue-Id"] for request in requests) == sorted(sent)
    assert "without its work queue" not in command.run(stage.path, "inspect").stderr.decode()


def test_a_queue_that_was_never_declared_is_just_that(stage: Stage) -> None:
    """Nothing can be held where no ladder is."""
    stage.close()
    done = command.run(stage.path, "inspect")
    assert done.returncode == 1
    assert "without its work queue" not in done.stderr.decode()
    checked = command.read(stage.path, "check", code=1)
    assert "held" not in {each["check"] for each in checked["checks"]}
