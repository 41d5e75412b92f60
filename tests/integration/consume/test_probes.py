"""The probes of consumers on a real broker: one walks each ladder, whoever sends it, and is never a task."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import pytest

from taskqueue.broker.management import Management
from taskqueue.broker.session import connected
from taskqueue.consume import probes
from taskqueue.operate.overview import look
from taskqueue.topology import names
from tests.support.command import ran, read
from tests.support.seen import Seen
from tests.support.stage import PATIENCE, Stage, eventually


@pytest.fixture
def probing(staged: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch) -> Stage:
    """Give a queue whose ladder is probed far more often than in life."""
    monkeypatch.setattr(probes, "PERIOD", 0.3)
    # One that is a tick late on this busy machine is not told of.
    return staged(probe=True, resolution=0.01)


def unbind(stage: Stage, exchange: str, queue: str, key: str) -> None:
    """Take a way away, as by a slip of the hand."""
    with stage.connection() as connection:
        connection.channel().queue_unbind(queue, exchange, key)


def inspected(stage: Stage) -> dict[str, Any]:
    """Give what `inspect` tells of the queue."""
    return dict(read(stage.path, "inspect", stage.name)["queues"][0])


def lateness(stage: Stage) -> float | None:
    """Give what `inspect` knows."""
    found = inspected(stage)["lateness"]
    return None if found is None else float(found)


def known(stage: Stage) -> dict[str, Any]:
    """Give what `inspect` tells of the queue where it knows how late that is.

    It knows what a probe found for three periods, and here a busy machine may stand still for as long.
    """
    found: list[dict[str, Any]] = []

    def told() -> bool:
        found.append(inspected(stage))
        return found[-1]["lateness"] is not None

    eventually(told, "it knows how late it is")
    return found[-1]


def test_one_consumer_of_several_probes_and_another_goes_on_where_it_ends(probing: Stage) -> None:
    """Neither pauses nor tasks have a part in it, and nothing is left for a task."""
    first, second = Seen(), Seen()
    consumer = probing.consume(first)
    first.wait_for(2)
    probing.consume(second)
    first.wait_for(5)
    assert second.late == []
    ran(probing.path, "pause", probing.name)
    first.wait_for(8)
    consumer.stop()
    second.wait_for(3)
    assert min(second.late) >= 0
    found = known(probing)
    assert 0 <= found["lateness"] < PATIENCE
    assert (found["ready"], found["waiting"], found["dead"]) == (0, 0, 0)
    probing.stop()
    eventually(lambda: probing.depth(names.rung(probing.name, "0.01s")) == 0, "it has left the ladder")
    assert (probing.depth(), probing.depth(f"{probing.name}.dead")) == (0, 0)


def test_a_consumer_that_dies_leaves_the_probes_to_another(staged: Callable[..., Stage]) -> None:
    """By SIGKILL; the broker gives the next one the message that it held."""
    stage, seen = staged(probe=True), Seen()
    process = stage.run()
    eventually(lambda: lateness(stage) is not None, "the first one probes")
    stage.consume(seen)
    process.kill()
    seen.wait_for(1)


def test_no_count_and_no_look_takes_a_probe_for_a_task(
    staged: Callable[..., Stage], monkeypatch: pytest.MonkeyPatch
) -> None:
    """However often they look, while the rung has a probe for a tenth of the time; and a look loses none."""
    monkeypatch.setattr(probes, "PERIOD", 1.0)
    stage, seen = staged(probe=True), Seen()
    stage.consume(seen)
    seen.wait_for(1)
    # On one rung for as long as the test takes: on its way to another one it may be counted twice, or not.
    stage.send("/later", countdown=90)

    async def looked() -> list[tuple[int | None, bool]]:
        async with connected(stage.settings, name="test") as session:
            found = []
            for _ in range(30):
                (view,) = (await look(session, stage.settings, Management(stage.settings))).views
                found.append((view.waiting, view.ladder.lateness is not None))
            return found

    # On a broker that stands still for a second a probe may stay out longer than a look waits.
    assert {waiting for waiting, known in asyncio.run(looked()) if known} == {1}
    for _ in range(2):
        assert len(read(stage.path, "waiting", "list", stage.name)) == 1
    seen.wait_for(len(seen.late) + 2)


def test_a_ladder_that_does_not_hand_on_is_told(
    probing: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As it does not come, and not only once it has come; and it is told when all is well again."""
    monkeypatch.setattr(probes, "_WORTH_TELLING", 1.2)
    monkeypatch.setattr(probes, "_LOST", 3.0)
    monkeypatch.setattr(probes, "_DOUBLINGS", 0)
    caplog.set_level(logging.INFO)
    level = names.level(probing.name, "0.01s")
    seen = Seen()
    probing.consume(seen)
    seen.wait_for(1)
    unbind(probing, level, names.probe(probing.name), names.WATCH)
    eventually(lambda: (lateness(probing) or 0) > 2, "it is late")
    assert any("late, as the probe saw it" in line for line in known(probing)["why"])
    probing.declare()
    seen.wait_for(len(seen.late) + 1)
    eventually(lambda: "hands on in time again" in caplog.text, "it is well again")
    assert f"ladder {probing.name} is" in caplog.text
    assert (probing.depth(), probing.depth(f"{probing.name}.dead")) == (0, 0)


def test_a_probe_that_finds_no_rung_is_no_task(probing: Stage, caplog: pytest.LogCaptureFixture) -> None:
    """The ladder leads it to the work queue, as anything that finds no way; its consumer drops it."""
    seen = Seen()
    probing.consume(seen)
    seen.wait_for(1)
    unbind(probing, names.wait(probing.name), names.rung(probing.name, "0.01s"), "in>0.01s")
    probing.send("/task")
    probing.receiver.wait_for(1)
    eventually(lambda: (lateness(probing) or 0) > 0.5, "it is late")
    probing.stop()
    assert (probing.depth(), probing.depth(f"{probing.name}.dead")) == (0, 0)
    assert "dead" not in caplog.text


def test_a_ladder_without_the_queue_for_probes_is_consumed_all_the_same(
    probing: Stage, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was declared by a former version: the log says what to run, and after it no restart is needed."""
    monkeypatch.setattr(probes, "_FORGIVEN", 1.0)
    with probing.connection() as connection:
        connection.channel().queue_delete(names.probe(probing.name))
    seen = Seen()
    probing.consume(seen)
    probing.send("/task")
    probing.receiver.wait_for(1)
    eventually(lambda: "is not probed by this consumer" in caplog.text, "the log says so")
    assert "run 'taskqueue declare'" in caplog.text
    probing.declare()
    seen.wait_for(1)


def test_it_is_off_where_the_ini_says_so(stage: Stage) -> None:
    """No consumer takes part, and nobody knows how late the ladder is."""
    seen = Seen()
    stage.consume(seen)
    stage.send("/task")
    stage.receiver.wait_for(1)
    with stage.connection() as connection:
        answer = connection.channel().queue_declare(names.probe(stage.name), passive=True)
    assert answer.method.consumer_count == 0
    assert (seen.late, lateness(stage)) == ([], None)
