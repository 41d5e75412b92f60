"""`taskqueue declare --migrate` on a real broker, with tasks that wait and a consumer that runs."""

from __future__ import annotations

import json
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import amqp
import pytest

from sandbox.broker import Server
from sandbox.receiver import Answer, Receiver
from taskqueue.client import Client
from taskqueue.settings import Settings, parse
from taskqueue.topology.plan import plan
from taskqueue.topology.transfer import WINDOW
from tests.conftest import connect
from tests.integration.admin import Admin
from tests.integration.command import ran, read, run
from tests.integration.stage import PATIENCE, Process, eventually

QUEUE = "a"
WAITING = 1000
SOON, LATER = 9.0, 15.0
"""When the tasks are due: after the migration, and with legs on every level that there is."""
LATENESS = 10.0
"""Seconds that a task may be late on a busy machine, from its due time or the end of the move on."""
CHANGES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "resolution": ({}, {"resolution": 0.25}),
    "a decade": ({}, {"resolution": 1}),
    "levels": ({"levels": 4}, {"levels": 2}),
    "to classic": ({}, {"queue_type": "classic"}),
    "to quorum": ({"queue_type": "classic"}, {}),
    "delivery limit": ({}, {"delivery_limit": 7}),
    "everything": ({"queue_type": "classic"}, {"resolution": 0.5, "levels": 2, "delivery_limit": 9}),
}

Write = Callable[..., Path]


@pytest.fixture
def admin(broker: Server) -> Iterator[Admin]:
    """Give a virtual host of the test's own."""
    admin = Admin(broker)
    yield admin
    admin.close()


@pytest.fixture
def write(admin: Admin, receiver: Receiver, tmp_path: Path) -> Write:
    """Give a writer of configurations of one queue; the keyword arguments are global keys."""

    def write(name: str, **keys: Any) -> Path:
        values = {
            "server": admin.url, "management_url": admin.management_url, "levels": 3,
            "base_url": receiver.url, "concurrency": 8, "jitter": 0, "min_backoff_seconds": 0.5,
        } | keys  # fmt: skip
        lines = [f"{key} = {value}" for key, value in values.items() if value is not None]
        path = tmp_path / f"{name}.ini"
        path.write_text("\n".join([*lines, f"[{QUEUE}]", ""]))
        return path

    return write


@pytest.fixture
def channel(admin: Admin) -> Iterator[amqp.Channel]:
    """Give a channel of an independent client."""
    with connect(admin.url) as connection:
        yield connection.channel()


@pytest.fixture
def start() -> Iterator[Callable[..., Process]]:
    """Give a starter of commands that are ended after the test."""
    processes: list[Process] = []

    def start(*arguments: str) -> Process:
        processes.append(Process(*arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


Start = Callable[..., Process]


def settings_of(path: Path) -> Settings:
    """Read a configuration."""
    return parse(path.read_text(), source=str(path), environ={})


def send(config: Path, count: int = WAITING) -> dict[str, float]:
    """Send tasks that are due at different times; gives the due time of each by its path."""
    now = time.time()
    due = {f"/{number}": now + random.uniform(SOON, LATER) for number in range(count)}
    with Client.from_config(config) as client:
        client.send_many([{"url": path, "queue": QUEUE, "eta": at} for path, at in due.items()])
    return due


def consuming(start: Start, config: Path) -> Process:
    """Run a consumer, and wait until it consumes."""
    process = start("run", "--config", str(config))
    process.wait_for(f"consuming from {QUEUE}")
    return process


def depth(admin: Admin, queue: str) -> int:
    """Count what is ready in a queue, 0 where there is none; at once, as the management API lags."""
    with connect(admin.url) as connection:
        try:
            return int(connection.channel().queue_declare(queue, passive=True).message_count)
        except amqp.NotFound:
            return 0


def assert_each_ran_when_due(
    receiver: Receiver, due: dict[str, float], *, moved_at: float, twice: int = 0
) -> None:
    """Wait for every task, and compare; `twice` bounds how many may have run twice."""
    eventually(lambda: {each.path for each in receiver.requests} >= due.keys(), "every task has run")
    first: dict[str, float] = {}
    for request in receiver.requests:
        first.setdefault(request.path, request.at)
    assert min(first[path] - at for path, at in due.items()) >= 0
    assert max(first[path] - max(at, moved_at) for path, at in due.items()) < LATENESS
    counts = Counter(request.path for request in receiver.requests)
    assert sum(count - 1 for count in counts.values()) <= twice


def handed_out(channel: amqp.Channel) -> bool:
    """Take one message of the work queue and leave it unanswered."""
    return channel.basic_get(QUEUE) is not None


def assert_migrated(admin: Admin, config: Path) -> None:
    """Compare what the broker has with the plan: at most the queue of stale itineraries is left over."""
    planned = plan(settings_of(config))
    assert admin.names("queues") - {f"{QUEUE}.wait.old"} == {queue.name for queue in planned.queues}
    assert admin.names("exchanges") == {exchange.name for exchange in planned.exchanges}
    ways = {(each.exchange, each.queue, each.routing_key) for each in planned.bindings}
    assert ways <= admin.bindings()
    # No key of the plan leads to a second queue: that would double every task.
    others = admin.bindings() - ways
    assert not {(way[0], way[2]) for way in others} & {(way[0], way[2]) for way in ways}
    for queue in planned.queues:
        assert admin.arguments(queue.name) == dict(queue.arguments)


@pytest.mark.slow
@pytest.mark.parametrize("change", CHANGES)
def test_waiting_tasks_move_to_changed_settings_under_a_running_consumer(
    admin: Admin, write: Write, receiver: Receiver, start: Start, change: str
) -> None:
    """None is lost, doubled or early, and the consumer with the former ini goes on with it."""
    before, after = CHANGES[change]
    former, config = write("former", **before), write("new", **after)
    ran(former, "declare")
    consuming(start, former)
    due = send(former)
    document = read(config, "declare", "--migrate", "--yes")
    moved_at = time.time()
    assert document["applied"] is True
    assert_migrated(admin, config)
    for number in (0.3, 2.7, 11):
        # A program that has not been restarted puts a task on the ladder as it knows it.
        due[f"/late/{number}"] = time.time() + number
        with Client.from_config(former) as client:
            client.send(f"/late/{number}", QUEUE, countdown=number)
    assert_each_ran_when_due(receiver, due, moved_at=moved_at)
    assert read(config, "declare", "--migrate")["migration"] == []


@pytest.mark.slow
@pytest.mark.parametrize("change", ["resolution", "to classic", "everything"])
def test_a_migration_that_is_killed_is_finished_by_the_next_one(
    admin: Admin, write: Write, receiver: Receiver, start: Start, change: str
) -> None:
    """Killed while it parks, once all is parked, and while it puts back: nothing is lost or early."""
    before, after = CHANGES[change]
    former, config = write("former", **before), write("new", **after)
    ran(former, "declare")
    consuming(start, former)
    due = send(former)
    arguments = ("declare", "--migrate", "--yes", "--config", str(config))

    parking = start(*arguments)
    eventually(lambda: depth(admin, f"{QUEUE}.moving") > WAITING // 10, "some are parked")
    parking.kill()
    assert run(config, "declare").returncode == 1

    parked_all = start(*arguments)
    parked_all.wait_for("removing")
    parked_all.kill()
    putting_back = start(*arguments)
    putting_back.wait_for(f"leading {QUEUE} back")
    putting_back.kill()

    ran(config, "declare", "--migrate", "--yes")
    moved_at = time.time()
    assert_migrated(admin, config)
    assert_each_ran_when_due(receiver, due, moved_at=moved_at, twice=3 * WINDOW)


def test_a_dry_run_tells_what_would_move_and_moves_nothing(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """Each queue with its messages and both values, for people and as JSON."""
    former, config = write("former"), write("new", resolution=0.25)
    ran(former, "declare")
    with Client.from_config(former) as client:
        client.send_many([{"url": "/", "queue": QUEUE, "countdown": 50} for _ in range(7)])
    told = ran(config, "declare", "--migrate", "--dry-run")
    assert "move     queue    a.wait.50s  7 messages: x-dead-letter-exchange is 'a.wait.10s'" in told
    work = read(config, "declare", "--migrate", "--dry-run")["migration"][0]
    assert work["moved"] is None
    assert {each["name"]: each["messages"] for each in work["emptied"]}["a.wait.50s"] == 7
    assert channel.queue_declare("a.wait.50s", passive=True).message_count == 7
    assert admin.names("queues") == {queue.name for queue in plan(settings_of(former)).queues}


def test_the_work_queue_is_not_replaced_without_a_yes(write: Write) -> None:
    """It says why, and changes nothing."""
    ran(write("former"), "declare")
    done = run(write("new", delivery_limit=7), "declare", "--migrate")
    assert done.returncode == 2
    assert b"must pause meanwhile: add --yes" in done.stderr


def test_what_stands_in_the_work_queue_and_the_dead_queue_is_kept(
    write: Write, channel: amqp.Channel
) -> None:
    """Body, id, priority and what tells of the death are as they were."""
    former, config = write("former", queue_type="classic"), write("new")
    ran(former, "declare")
    raw = amqp.Message(b"\xff no task", message_id="one", priority=3, delivery_mode=2)
    channel.basic_publish(raw, "", QUEUE)
    death = [{"reason": "delivery_limit", "queue": QUEUE, "count": 1}]
    headers = {"x-first-death-reason": "delivery_limit", "x-death": death, "taskqueue-runs": 4}
    dead = amqp.Message(b"{}", message_id="two", application_headers=headers, delivery_mode=2)
    channel.basic_publish(dead, f"{QUEUE}.dead", "")
    ran(config, "declare", "--migrate", "--yes")
    assert read(config, "dead", "list", QUEUE)[0]["reason"] == "delivery_limit"
    eventually(lambda: channel.queue_declare(QUEUE, passive=True).message_count == 1, "it is back")
    kept = channel.basic_get(QUEUE)
    assert kept.body == b"\xff no task"
    assert (kept.properties["message_id"], kept.properties["priority"]) == ("one", 3)
    assert channel.queue_declare(f"{QUEUE}.dead", passive=True).message_count == 1


@pytest.mark.parametrize(("limit", "kept"), [(7, 3), (3, 2)])
def test_a_task_that_may_end_its_consumer_stays_suspect(
    admin: Admin, write: Write, channel: amqp.Channel, limit: int, kept: int
) -> None:
    """What the broker has counted goes along, short of the limit: one more attempt there is for everybody."""
    ran(write("former"), "declare")
    channel.basic_publish(amqp.Message(b"{}", message_id="suspect", delivery_mode=2), "", QUEUE)
    for _ in range(3):
        with connect(admin.url) as connection:
            eventually(partial(handed_out, connection.channel()), "handed out")
    channel.basic_publish(amqp.Message(b"{}", message_id="fresh", delivery_mode=2), "", QUEUE)
    ran(write("new", delivery_limit=limit), "declare", "--migrate", "--yes")
    counts = {}
    for _ in range(2):
        found = channel.basic_get(QUEUE)
        headers = found.properties.get("application_headers", {})
        counts[found.properties["message_id"]] = headers.get("taskqueue-crashes", 0)
    assert counts == {"suspect": kept, "fresh": 0}


def test_a_queue_of_an_application_becomes_ours_with_what_is_in_it(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """A classic work queue that was declared without any arguments."""
    config = write("new")
    channel.queue_declare(QUEUE, durable=True, auto_delete=False)
    channel.basic_publish(amqp.Message(json.dumps({"url": "/x"}), delivery_mode=2), "", QUEUE)
    ran(config, "declare", "--migrate", "--yes")
    assert_migrated(admin, config)
    eventually(lambda: channel.queue_declare(QUEUE, passive=True).message_count == 1, "it is back")


@pytest.mark.slow
def test_without_the_management_api_the_former_ladder_is_found_by_name(
    admin: Admin, write: Write, receiver: Receiver, start: Start
) -> None:
    """The rungs that the plan names lead to those that it does not name."""
    former, config = write("former", resolution=0.2), write("new", management_url=None, resolution=0.5)
    ran(former, "declare")
    consuming(start, former)
    due = send(former, 200)
    ran(config, "declare", "--migrate")
    moved_at = time.time()
    assert_migrated(admin, config)
    assert_each_ran_when_due(receiver, due, moved_at=moved_at)


def test_going_back_and_forth_leaves_one_way_for_each_key(admin: Admin, write: Write) -> None:
    """A key that was stale for a while is not bound twice once a ladder has it again."""
    many, few = write("many"), write("few", levels=1)
    ran(many, "declare")
    ran(few, "declare", "--migrate")
    assert f"{QUEUE}.wait.old" in admin.names("queues")
    assert_migrated(admin, few)
    ran(many, "declare")
    assert_migrated(admin, many)
    ran(many, "declare", "--prune")
    assert f"{QUEUE}.wait.old" not in admin.names("queues")


def test_two_migrations_at_once_are_refused(admin: Admin, write: Write) -> None:
    """The second one says so and touches nothing."""
    ran(write("former"), "declare")
    config = write("new", levels=1)
    with connect(admin.url) as connection:
        connection.channel().queue_declare(f"{QUEUE}.moving.lock", exclusive=True)
        done = run(config, "declare", "--migrate")
    assert done.returncode == 1
    assert b"someone else migrates it" in done.stderr


@pytest.mark.slow
def test_a_request_that_runs_is_settled_before_its_queue_is_replaced(
    write: Write, receiver: Receiver, start: Start, channel: amqp.Channel
) -> None:
    """The consumer lets go only when its request has ended, so the task runs once."""
    answer = threading.Event()
    receiver.answer("/slow", Answer(hold=answer))
    former, config = write("former"), write("new", delivery_limit=7)
    ran(former, "declare")
    consumer = consuming(start, former)
    with Client.from_config(former) as client:
        client.send("/slow", QUEUE)
    receiver.wait_for(1, PATIENCE, "/slow")
    migration = start("declare", "--migrate", "--yes", "--config", str(config))
    consumer.wait_for(f"leaving {QUEUE}")
    assert channel.queue_declare(QUEUE, passive=True).consumer_count == 1
    answer.set()
    assert migration.wait() == 0
    consumer.wait_for(f"consuming from {QUEUE}", times=2)
    assert len(receiver.to("/slow")) == 1
