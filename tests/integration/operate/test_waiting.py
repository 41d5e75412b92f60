"""`taskqueue waiting` on a real broker: what waits, and taking it off the ladder."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest

from sandbox.receiver import Receiver
from tests.support import command
from tests.support.stage import PATIENCE, Stage


@pytest.fixture
def stage(staged: Callable[..., Stage]) -> Stage:
    """Give a queue whose ladder holds tasks for up to 999 s: a busy machine takes many for each command."""
    return staged(resolution=1)


def test_list_shows_waiting_tasks_in_the_order_in_which_they_are_due(stage: Stage) -> None:
    """With the rung that holds each, and nothing is taken from the ladder."""
    late = stage.send("/late", countdown=900)
    soon = stage.send("/soon", countdown=800)
    for _ in range(2):
        first, second = command.read(stage.path, "waiting", "list", stage.name)
        assert (first["id"], first["url"], first["rung"]) == (soon, "/soon", "800s")
        assert (first["runs"], first["error"]) == (0, None)
        assert (second["id"], second["url"], second["rung"]) == (late, "/late", "900s")
    assert stage.waiting() == 2
    (only,) = command.read(stage.path, "waiting", "list", stage.name, "--limit", "1")
    assert only["id"] == soon
    assert soon in command.ran(stage.path, "waiting", "list", stage.name)


def test_list_shows_those_that_are_due_next_whatever_their_rungs(stage: Stage) -> None:
    """Of many on one rung and few on others; within a rung in the order of what is left to go."""
    with stage.client() as client:
        client.send_many(
            {"url": "/x", "queue": stage.name, "id": f"long-{number}", "countdown": 690 - 10 * (number % 10)}
            for number in range(200)
        )
        client.send_many(
            {"url": "/x", "queue": stage.name, "id": f"{at}", "countdown": at} for at in (700, 500)
        )

    def ids(limit: int) -> list[str]:
        listed = command.read(stage.path, "waiting", "list", stage.name, "--limit", str(limit))
        return [entry["id"] for entry in listed]

    assert ids(1) == ["500"]
    # Twenty of them wait for 600 s and no more, and they came last of each ten.
    assert ids(21) == ["500", *(f"long-{number}" for number in range(9, 200, 10))]
    assert ids(300)[-1] == "700"
    assert stage.waiting() == 202


def test_of_a_shared_ladder_only_the_tasks_of_the_queue_are_listed_and_cancelled(
    staged: Callable[..., Stage],
) -> None:
    """What waits beside them for another queue is none of its business, whatever its id."""
    stage = staged(resolution=1, ladder="of-all")
    stage.configure(ladder="of-all", others={"beside": {"ladder": "of-all"}})
    stage.declare()
    with stage.client() as client:
        for queue in (stage.name, "beside"):
            client.send(f"/{queue}", queue, countdown=900, id="the-same")
    (entry,) = command.read(stage.path, "waiting", "list", stage.name)
    assert entry["url"] == f"/{stage.name}"
    assert (
        command.ran(stage.path, "waiting", "cancel", stage.name, "--id", "the-same", "--yes")
        == "1 cancelled\n"
    )
    (entry,) = command.read(stage.path, "waiting", "list", "beside")
    assert entry["url"] == "/beside"
    assert command.read(stage.path, "waiting", "list", stage.name) == []


def test_a_retry_that_waits_tells_its_runs_and_its_error(stage: Stage, receiver: Receiver) -> None:
    """As the ladder holds retries, too."""
    stage.configure(min_backoff_seconds=500, max_backoff_seconds=500)
    receiver.answer("/x", 503)
    stage.consume()
    stage.publish({"url": "/x"}, message_id="a")
    receiver.wait_for(1)
    stage.stop()
    (entry,) = command.read(stage.path, "waiting", "list", stage.name)
    assert (entry["id"], entry["runs"]) == ("a", 1)
    assert "503" in entry["error"]


def test_a_cancelled_task_never_runs_and_the_others_do_on_time(stage: Stage, receiver: Receiver) -> None:
    """Only what was named is gone."""
    # Given two tasks in the same wait queue
    due = time.time() + 25
    cancelled = stage.send("/cancelled", eta=due)
    kept = stage.send("/kept", eta=due)
    # When one is cancelled
    assert (
        command.ran(stage.path, "waiting", "cancel", stage.name, "--id", cancelled, "--yes")
        == "1 cancelled\n"
    )
    assert stage.waiting() == 1
    # Then only the other runs, when it is due
    stage.consume()
    (request,) = receiver.wait_for(1, timeout=PATIENCE)
    assert request.headers["Taskqueue-Id"] == kept
    assert int(due * 1000) / 1000 <= request.at < due + 30
    stage.settle()
    assert receiver.to("/cancelled") == []


def test_an_id_that_does_not_wait_is_told_and_exits_1(stage: Stage) -> None:
    """It may be in the work queue, and still run: the operator has to know."""
    waits = stage.send("/x", countdown=900)
    ready = stage.send("/y")
    done = command.run(stage.path, "waiting", "cancel", stage.name, "--id", waits, "--id", ready, "--yes")
    assert (done.returncode, done.stdout) == (1, b"1 cancelled\n")
    assert done.stderr.decode().startswith(f"{ready} is not among the waiting tasks of {stage.name}")
    assert stage.depth() == 1
    assert stage.waiting() == 0
