"""max_concurrency over several consumers, counted at the receiver."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from functools import partial

import pytest

from sandbox.receiver import Receiver
from taskqueue.declare.apply import declare
from taskqueue.limit import Permit, permit_publishes
from taskqueue.topology import names
from tests.support import command
from tests.support.crowd import Crowd
from tests.support.stage import PATIENCE, Process, Stage, eventually


def send(stage: Stage, count: int) -> None:
    """Send so many tasks."""
    with stage.client() as client:
        client.send_many({"url": "/crowd", "queue": stage.name} for _ in range(count))


def most(crowd: Crowd, receiver: Receiver, over: int) -> int:
    """Give the most at once over so many requests: for a moment there may be few by chance."""
    crowd.most()
    receiver.wait_for(len(receiver.to("/crowd")) + over, timeout=PATIENCE, path="/crowd")
    return crowd.most()


def test_no_more_run_at_once_than_the_limit_over_all_consumers(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Three consumers that could run twelve run three, and all there is; then the permits are free."""
    crowd = Crowd(receiver, "/crowd", 0.05)
    stage = staged(max_concurrency=3)
    send(stage, 120)
    for _ in range(3):
        stage.consume()
    receiver.wait_for(120, path="/crowd")
    assert crowd.most() == 3
    eventually(lambda: stage.depth(names.permits(stage.name)) == 3, "all permits are given back")
    stage.settle()
    assert len(receiver.to("/crowd")) == 120


def test_one_at_a_time_is_one_after_the_other_on_whichever_consumer(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Each consumer gets its turn."""
    crowd = Crowd(receiver, "/crowd", 0.05)
    stage = staged(max_concurrency=1)
    send(stage, 80)
    for _ in range(2):
        stage.consume()
    requests = receiver.wait_for(80, path="/crowd")
    assert crowd.most() == 1
    assert len({request.connection for request in requests}) > 1
    stage.settle()


@pytest.mark.parametrize("consumers", [1, 2])
def test_running_consumers_go_by_the_limit_that_is_declared(
    staged: Callable[..., Stage], receiver: Receiver, consumers: int
) -> None:
    """Up, down to one, and up again, while they run; no permit is lost or doubled by that.

    One alone has a permit for each of its threads then, and lets tasks begin as they come.
    """
    crowd = Crowd(receiver, "/crowd", 0.2)
    stage = staged(max_concurrency=2, concurrency=6)
    send(stage, 600)
    for _ in range(consumers):
        stage.consume()
    receiver.wait_for(5, path="/crowd")
    for limit in (6, 1, 4):
        declare(stage.configure(max_concurrency=limit, concurrency=6))
        at_once = partial(most, crowd, receiver, 6 + 4 * limit)
        eventually(lambda: at_once() == limit, f"{limit} at once")  # noqa: B023
        assert at_once() <= limit
    crowd.seconds = 0.0
    receiver.wait_for(600, path="/crowd")
    stage.settle()
    # The broker gets to what was given back once the consumers have gone.
    eventually(lambda: stage.depth(names.permits(stage.name)) == 6, "all permits are given back")


def test_a_consumer_that_joins_has_its_turn_where_another_has_all_permits(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Whoever has one for each thread keeps them only until somebody else wants one."""
    crowd = Crowd(receiver, "/crowd", 0.02)
    stage = staged(max_concurrency=3, concurrency=3)
    send(stage, 2000)
    stage.consume()
    former = {request.connection for request in receiver.wait_for(200, path="/crowd")}
    stage.consume()
    eventually(
        lambda: any(request.connection not in former for request in receiver.to("/crowd")),
        "requests of the other consumer",
    )
    assert len(receiver.to("/crowd")) < 1900
    receiver.wait_for(2000, path="/crowd")
    assert crowd.most() == 3
    stage.settle()


def test_a_limit_that_is_taken_out_holds_up_nobody(staged: Callable[..., Stage], receiver: Receiver) -> None:
    """A consumer with an ini that has none runs beside one that still has it, and then alone."""
    crowd = Crowd(receiver, "/crowd", 0.1)
    stage = staged(max_concurrency=1, concurrency=5)
    send(stage, 100)
    limited = stage.consume()
    receiver.wait_for(5, path="/crowd")
    assert crowd.most() == 1
    declare(stage.configure(concurrency=5))
    stage.consume()
    eventually(lambda: crowd.most() > 3, "more at once than the former limit")
    limited.stop()
    receiver.wait_for(100, path="/crowd")
    stage.settle()


def test_a_paused_queue_keeps_no_permit(staged: Callable[..., Stage], receiver: Receiver) -> None:
    """They are free as soon as what runs has ended, and taken again once the queue is resumed."""
    crowd = Crowd(receiver, "/crowd", 0.5)
    stage = staged(max_concurrency=2)
    send(stage, 100)
    stage.consume()
    receiver.wait_for(4, path="/crowd")
    command.ran(stage.path, "pause", stage.name)
    eventually(lambda: stage.depth(names.permits(stage.name)) == 2, "both permits are given back")
    assert len(receiver.to("/crowd")) < 100
    crowd.seconds = 0.02
    command.ran(stage.path, "resume", stage.name)
    receiver.wait_for(100, path="/crowd")
    assert crowd.most() == 2
    stage.settle()


def test_two_limits_hold_at_once(staged: Callable[..., Stage], receiver: Receiver) -> None:
    """A rate that is the narrower one, then a number of requests at once that is."""
    crowd = Crowd(receiver, "/crowd", 0.05)
    stage = staged(max_concurrency=2, rate="20/s", concurrency=4)
    send(stage, 110)
    for _ in range(2):
        stage.consume()
    receiver.wait_for(80, path="/crowd")
    assert crowd.most() <= 2
    assert crowd.begun[79] - crowd.begun[0] > 3
    crowd.seconds = 0.4
    receiver.wait_for(110, path="/crowd")
    assert crowd.most() == 2
    stage.settle()


def test_a_permit_of_a_declare_that_died_lets_nothing_run(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """The book knows no such edition: whoever gets it drops it, and the others stay."""
    crowd = Crowd(receiver, "/crowd", 0.1)
    stage = staged(max_concurrency=2, concurrency=6)
    with stage.connection() as connection:
        for permit in permit_publishes(stage.name, [Permit("dead", number) for number in range(3)]):
            connection.channel().basic_publish("", names.permits(stage.name), permit.message.body)
    send(stage, 40)
    stage.consume()
    receiver.wait_for(40, path="/crowd")
    assert crowd.most() == 2
    eventually(lambda: stage.depth(names.permits(stage.name)) == 2, "the permits that count are left")
    stage.settle()


def test_what_is_none_of_ours_in_the_queues_of_limits_is_dead_and_holds_nothing_up(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Whoever may publish can put it there; a task among it is not lost."""
    stage = staged(max_concurrency=2, rate="500/s")
    declare(stage.settings)
    places = (names.limit(stage.name), names.permits(stage.name), names.members(stage.name))
    bodies = (b'{"url": "/lost"}', b"\xff", b"[]", b'{"version": 1}')
    # Before it consumes: it reads the book when it begins, and again only while tasks come.
    with stage.connection() as connection:
        for place in places:
            for body in bodies:
                connection.channel().basic_publish("", place, body)
    stage.consume()
    send(stage, 20)
    receiver.wait_for(20, path="/crowd")

    def all_found() -> bool:
        # Permits are taken only while a task waits for one, and what lies between them comes with them.
        send(stage, 1)
        return stage.depth(names.dead(stage.name)) == len(places) * len(bodies)

    eventually(all_found, "all are dead")
    dead = stage.dead(len(places) * len(bodies))
    assert Counter(body for _, body, _ in dead) == dict.fromkeys(bodies, len(places))
    assert {headers["taskqueue-reason"] for headers, _, _ in dead} == {"invalid"}
    assert {headers["taskqueue-error"].rpartition(" ")[2] for headers, _, _ in dead} == set(places)
    stage.settle()
    eventually(lambda: [stage.depth(place) for place in places] == [1, 2, 0], "book and permits are left")


def test_a_limit_without_its_queues_ends_the_consumer_with_what_to_run(
    stage: Stage, receiver: Receiver
) -> None:
    """As everything that is not declared."""
    stage.configure(max_concurrency=2)
    process = Process("run", "--config", str(stage.path))
    assert process.wait() == 1
    assert "run 'taskqueue declare'" in process.log
    assert not receiver.requests
