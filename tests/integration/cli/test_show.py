"""`taskqueue show`: where a task is, on a real broker."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from typing import Any

import pika

from sandbox.receiver import Answer, Receiver
from taskqueue.broker.management import Management
from taskqueue.broker.session import connected, run
from taskqueue.operate.finding import find
from taskqueue.operate.overview import look
from taskqueue.settings import load
from tests.support import command
from tests.support.stage import Stage

DEAD: dict[str, Any] = {"taskqueue-reason": "failed", "taskqueue-error": "status 500", "taskqueue-runs": 3}


def test_a_task_is_found_where_it_is(staged: Callable[..., Stage]) -> None:
    """On the ladder or dead, with what that means; what is ready is only counted, and is left alone."""
    stage = staged(resolution=1)
    waiting = stage.send("/later", countdown=800)
    ready = stage.send("/now")
    with stage.connection() as connection:
        channel = connection.channel()
        properties = pika.BasicProperties(message_id="gone", headers=DEAD)
        channel.basic_publish("", f"{stage.name}.dead", b'{"url": "/x"}', properties, mandatory=True)
    found = command.read(stage.path, "show", waiting)
    (place,) = found["found"]
    assert (place["queue"], place["place"], place["url"]) == (stage.name, "waiting", "/later")
    assert (place["rung"], place["runs"]) == ("800s", 0)
    assert re.search(r"it is due in 1[0-3] min", found["words"][0])
    assert "no consumer" in found["words"][1]
    told = command.ran(stage.path, "show", "gone", stage.name)
    assert "failed, after 3 attempts" in told
    assert f"taskqueue dead replay {stage.name} --id gone" in told
    nowhere = command.ran(stage.path, "show", ready, code=1)
    assert f"it may be in {stage.name}: 1 ready" in nowhere
    with stage.connection() as connection:
        method, *_ = connection.channel().basic_get(stage.name)
        assert method is not None
        assert not method.redelivered, "nobody has looked at it"
    assert stage.waiting() == 1
    assert command.ran(stage.path, "show", waiting, "nope", code=2) == ""


def test_what_came_to_the_end_of_its_way_after_the_count_is_found(stage: Stage) -> None:
    """The counts of an overview say nothing of a task that has died since, or is ready in a paused queue."""
    command.ran(stage.path, "pause", stage.name)
    settings = load(stage.path)

    async def both() -> list[tuple[str, ...]]:
        async with connected(settings, name="test") as session:
            overview = await look(session, settings, Management(settings))
            with stage.connection() as connection:
                channel = connection.channel()
                for queue, task_id in ((f"{stage.name}.dead", "gone"), (stage.name, "ready")):
                    properties = pika.BasicProperties(message_id=task_id, headers=DEAD)
                    channel.basic_publish("", queue, b'{"url": "/x"}', properties, mandatory=True)
            places = [await find(session, settings, overview, each, print) for each in ("gone", "ready")]
            return [tuple(found.place for found in each) for each in places]

    assert run(both()) == [("dead",), ("ready",)]


def test_a_task_that_runs_may_be_in_its_queue(stage: Stage, receiver: Receiver) -> None:
    """And one that is done, or that nobody has sent, is told the same way: only counts know."""
    release = threading.Event()
    receiver.answer("/slow", Answer(hold=release))
    stage.consume()
    running = stage.send("/slow")
    receiver.wait_for(1)
    told = command.ran(stage.path, "show", running, code=1)
    assert "it does not wait, and is not dead" in told
    assert f"it may be in {stage.name}: 0 ready, how many run is not known" in told
    release.set()


def test_a_task_on_a_shared_ladder_is_told_with_its_own_queue(staged: Callable[..., Stage]) -> None:
    """Others wait there, too."""
    stage = staged(ladder="of-all-shown")
    try:
        waiting = stage.send("/later", countdown=80)
        (place,) = command.read(stage.path, "show", waiting)["found"]
        assert (place["queue"], place["place"]) == (stage.name, "waiting")
    finally:
        stage.close()
