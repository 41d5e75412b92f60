"""What is ready in the work queue of a paused queue: found, and brought to the dead queue."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from taskqueue.broker.session import connected, run
from taskqueue.operate import ready, waiting
from taskqueue.operate.acting import Acted
from taskqueue.operate.filters import Filter
from tests.support import command
from tests.support.stage import PATIENCE, Stage


def test_ready_tasks_are_listed_in_their_order_and_stay(stage: Stage) -> None:
    """Twice the same."""
    for name in "abc":
        stage.publish({"url": f"/{name}"}, message_id=name)

    async def look() -> tuple[list[str | None], Acted]:
        async with connected(stage.settings, name="test") as session:
            found, seen = await ready.first(session, stage.settings.queues[stage.name], Filter(), limit=2)
            return [facts.id for facts in found], seen

    for _ in range(2):
        assert run(look()) == (["a", "b"], Acted(3, 3, 0))
    assert stage.depth() == 3


def test_ready_tasks_are_cancelled_and_come_back(stage: Stage) -> None:
    """As those that waited; and forgotten where that is wanted."""
    for name in "abc":
        stage.publish({"url": f"/{name}"}, message_id=name)

    async def cancel(chosen: Filter, what: waiting.Act) -> Acted:
        async with connected(stage.settings, name="test") as session:
            return await ready.act(session, stage.settings.queues[stage.name], chosen, what)

    chosen = Filter(ids=frozenset({"b", "nope"}))
    assert run(cancel(chosen, waiting.cancelled(stage.name))) == Acted(3, 1, 1, ("nope",))
    (dead,) = command.read(stage.path, "dead", "list", stage.name)
    assert (dead["id"], dead["reason"], stage.depth()) == ("b", "cancelled", 2)
    command.ran(stage.path, "dead", "replay", stage.name, "--reason", "cancelled", "--yes")
    assert stage.depth() == 3
    assert run(cancel(Filter(), waiting.forgotten)) == Acted(3, 3, 3)
    assert (stage.depth(), stage.depth(f"{stage.name}.dead")) == (0, 0)


def test_a_queue_that_runs_is_left_alone(stage: Stage) -> None:
    """One line says what to do first; as soon as it is paused, both commands do what they say."""
    for name in "ab":
        stage.publish({"url": f"/{name}"}, message_id=name)
    listing, cancelling = ("list", stage.name), ("cancel", stage.name, "--id", "a", "--yes")
    for options in (listing, cancelling, (*cancelling, "--dry-run")):
        done = command.run(stage.path, "ready", *options)
        assert done.returncode == 1
        assert f"run `taskqueue pause {stage.name}` first" in done.stderr.decode()
    assert stage.depth() == 2
    command.ran(stage.path, "pause", stage.name)
    assert [each["id"] for each in command.read(stage.path, "ready", *listing)] == ["a", "b"]
    assert command.read(stage.path, "ready", *cancelling)["done"] == 1
    assert stage.depth() == 1
    command.ran(stage.path, "resume", stage.name)
    command.ran(stage.path, "ready", *listing, code=1)


@pytest.mark.parametrize("count", [3, 60])
def test_looks_never_make_a_task_suspect(staged: Callable[..., Stage], count: int) -> None:
    """However often a paused queue is looked at: each task runs, and keeps its id and its order."""
    stage = staged(delivery_limit=4)
    command.ran(stage.path, "pause", stage.name)
    ids = [f"task-{number}" for number in range(count)]
    with stage.client() as client:
        client.send_many({"url": "/x", "queue": stage.name, "id": each} for each in ids)
    for _ in range(5):
        listed = command.read(stage.path, "ready", "list", stage.name)
        assert sorted(each["id"] for each in listed) == sorted(ids)
        assert count > 3 or [each["id"] for each in listed] == ids
        assert "ready" in command.ran(stage.path, "show", ids[1])
    stage.run_paused().wait_for(f"{stage.name}: paused by")
    command.ran(stage.path, "resume", stage.name)
    requests = stage.receiver.wait_for(count, timeout=PATIENCE)
    assert sorted(each.headers["Taskqueue-Id"] for each in requests) == sorted(ids)
    stage.settle()
    assert stage.depth(f"{stage.name}.dead") == 0


@pytest.fixture
def headed(staged: Callable[..., Stage]) -> Stage:
    """Give a paused queue whose ladder another one shares, with a task of that one in it."""
    stage = staged(delivery_limit=4)
    stage.configure(
        delivery_limit=4,
        others={f"{stage.name}-b": {"ladder": stage.name, "base_url": stage.receiver.url}},
    )
    stage.declare()
    command.ran(stage.path, "pause", stage.name)
    stage.publish_astray({"url": "/x"}, f"{stage.name}-b", message_id="m")
    assert stage.depth() == 1
    return stage


def assert_runs_in_its_own_queue(stage: Stage) -> None:
    """Have all consumers run, and see by what settings the task runs."""
    stage.run_paused().wait_for(f"{stage.name}: paused by")
    command.ran(stage.path, "resume", stage.name)
    (request,) = stage.receiver.wait_for(1, timeout=PATIENCE)
    assert request.headers["Taskqueue-Queue"] == f"{stage.name}-b"
    stage.settle()


def test_a_task_of_another_queue_that_is_cancelled_runs_there_once_it_is_replayed(headed: Stage) -> None:
    """It had found no way on the ladder, and the dead queue is that of the ladder's queue."""
    assert command.read(headed.path, "ready", "cancel", headed.name, "--all", "--yes")["done"] == 1
    command.ran(headed.path, "dead", "replay", headed.name, "--all", "--yes")
    assert_runs_in_its_own_queue(headed)


def test_a_task_of_another_queue_runs_there_however_often_it_was_looked_at(headed: Stage) -> None:
    """A look puts what it would make suspect back as a copy."""
    for _ in range(5):
        assert [each["id"] for each in command.read(headed.path, "ready", "list", headed.name)] == ["m"]
    assert_runs_in_its_own_queue(headed)
