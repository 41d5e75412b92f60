"""Changed settings on a real broker, under senders and consumers: plain declares, and --migrate."""

from __future__ import annotations

import itertools
import json
import random
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import amqp
import pytest

from sandbox.receiver import Receiver
from taskqueue.broker.connect import connect as connect_with_pika
from taskqueue.declare.apply import declare
from taskqueue.errors import TaskqueueError, TopologyConflict
from taskqueue.send.client import Client
from taskqueue.settings import Settings, parse
from taskqueue.topology.plan import KEPT, Plan, plan
from tests.conftest import connect
from tests.support.admin import Admin
from tests.support.command import ran, read, run
from tests.support.killed import STAGES
from tests.support.raw_headers import Raw, nested
from tests.support.reports import outdated
from tests.support.stage import PATIENCE, Process, eventually

QUEUE = "a"
READY = 1500
"""Tasks in a work queue: enough of them that its replacement can be caught at any stage."""
LATENESS = 30.0
"""Seconds that a task may be late on a busy machine, from its due time or the end of a migration on."""
WINDOW = 64
"""Tasks that a migration may leave twice where it is killed."""
LADDERS: dict[str, tuple[dict[str, Any], ...]] = {
    "resolution": ({}, {"resolution": 1}, {"resolution": "0.01"}),
    "levels": ({}, {"levels": 2}, {"levels": 3}),
}
TYPES = [("classic", "quorum"), ("quorum", "classic")]

Write = Callable[..., Path]
Start = Callable[..., Process]
pytestmark = pytest.mark.slow


@pytest.fixture
def write(admin: Admin, receiver: Receiver, tmp_path: Path) -> Write:
    """Give a writer of configurations of one queue, and others; the keyword arguments are global keys.

    QUEUE is the first section unless the others name it too.
    """

    def write(name: str, *others: str, **keys: Any) -> Path:
        values = {
            "server": admin.url, "management_url": admin.management_url, "levels": 3,
            "base_url": receiver.url, "concurrency": 8, "jitter": 0, "min_backoff_seconds": 0.5,
        } | keys  # fmt: skip
        lines = [f"{key} = {value}" for key, value in values.items() if value is not None]
        path = tmp_path / f"{name}.ini"
        sections = others if QUEUE in others else (QUEUE, *others)
        path.write_text("\n".join([*lines, *(f"[{queue}]" for queue in sections), ""]))
        return path

    return write


@pytest.fixture
def channel(admin: Admin) -> Iterator[amqp.Channel]:
    """Give a channel of an independent client."""
    with connect(admin.url) as connection:
        yield connection.channel()


@pytest.fixture
def start() -> Iterator[Start]:
    """Give a starter of commands that are ended after the test."""
    processes: list[Process] = []

    def start(*arguments: str) -> Process:
        processes.append(Process(*arguments))
        return processes[-1]

    yield start
    for process in processes:
        process.stop()


@pytest.fixture
def sending() -> Iterator[Callable[[Path], Sending]]:
    """Give a starter of senders that are ended after the test."""
    senders: list[Sending] = []

    def sending(config: Path) -> Sending:
        senders.append(Sending(config, f"/{len(senders)}"))
        senders[-1].start()
        return senders[-1]

    yield sending
    for sender in senders:
        sender.end()


@dataclass(frozen=True, slots=True)
class Scene:
    """All that takes part where much goes on at once."""

    admin: Admin
    receiver: Receiver
    write: Write
    start: Start
    sending: Callable[[Path], Sending]

    def consume(self, config: Path) -> Process:
        """Run a consumer, and wait until it consumes."""
        return consuming(self.start, config)


@pytest.fixture
def scene(
    admin: Admin, receiver: Receiver, write: Write, start: Start, sending: Callable[[Path], Sending]
) -> Scene:
    """Give it."""
    return Scene(admin, receiver, write, start, sending)


class Sending(threading.Thread):
    """A program that sends tasks with one configuration until it is ended, and notes when they are due."""

    def __init__(self, config: Path, prefix: str) -> None:
        super().__init__()
        self.due: dict[str, float] = {}
        self.failures: list[TaskqueueError] = []
        self._config = config
        self._prefix = prefix
        self._over = threading.Event()

    def run(self) -> None:
        """Send two tasks at a time, one that is due at once and one that waits."""
        numbers = itertools.count()
        with Client.from_config(self._config) as client:
            while not self._over.wait(0.05):
                now = time.time()
                due = {f"{self._prefix}/{next(numbers)}": now + wait for wait in (0, random.uniform(0.1, 9))}
                try:
                    client.send_many([{"url": path, "queue": QUEUE, "eta": at} for path, at in due.items()])
                except TaskqueueError as error:
                    self.failures.append(error)
                else:
                    self.due |= due

    def end(self) -> dict[str, float]:
        """Send no more, and give when each task is due; not one was refused."""
        self._over.set()
        self.join()
        assert self.failures == []
        return self.due


def settings_of(path: Path) -> Settings:
    """Read a configuration."""
    return parse(path.read_text(), source=str(path), environ={})


def send(config: Path, count: int, longest: float, prefix: str = "", queue: str = QUEUE) -> dict[str, float]:
    """Send tasks that are due at different times; gives the due time of each by its path."""
    now = time.time()
    due = {f"{prefix}/{number}": now + random.uniform(0, longest) for number in range(count)}
    with Client.from_config(config) as client:
        client.send_many([{"url": path, "queue": queue, "eta": at} for path, at in due.items()])
    return due


def consuming(start: Start, config: Path) -> Process:
    """Run a consumer, and wait until it consumes."""
    process = start("run", "--config", str(config))
    process.wait_for(f"consuming from {QUEUE}")
    return process


def count(admin: Admin, queue: str) -> int | None:
    """Count what is ready in a queue, None where there is none; at once, as the management API lags."""
    with connect(admin.url) as connection:
        try:
            return int(connection.channel().queue_declare(queue, passive=True).message_count)
        except amqp.NotFound:
            return None


def assert_each_ran_when_due(
    receiver: Receiver, due: dict[str, float], *, since: float = 0.0, twice: int = 0
) -> None:
    """Wait for every task, and compare; `twice` bounds how many may have run twice."""
    eventually(lambda: {each.path for each in receiver.requests} >= due.keys(), "every task has run")
    first: dict[str, float] = {}
    for request in receiver.requests:
        first.setdefault(request.path, request.at)
    # The due time of a message is in whole milliseconds.
    assert min(first[path] - int(at * 1000) / 1000 for path, at in due.items()) >= 0
    assert max(first[path] - max(at, since) for path, at in due.items()) < LATENESS
    counts = Counter(request.path for request in receiver.requests)
    assert sum(number - 1 for number in counts.values()) <= twice


def assert_has(admin: Admin, planned: Plan, *, exactly: bool) -> None:
    """Compare what the broker has with a plan: nothing less, and nothing more where it is to be exact."""
    ways = {(each.exchange, each.queue, each.routing_key) for each in planned.bindings}
    queues = {queue.name for queue in planned.queues}
    exchanges = {exchange.name for exchange in planned.exchanges}
    assert admin.names("queues") >= queues
    assert admin.names("exchanges") >= exchanges
    assert admin.bindings() >= ways
    for item in planned.items:
        assert admin.arguments(item.name, f"{item.kind}s") == dict(item.arguments)
    if exactly:
        assert (admin.names("queues"), admin.names("exchanges")) == (queues, exchanges)
        assert admin.bindings() == ways
    # No key leads to a second queue: that would double every task.
    keys = Counter((way[0], way[2]) for way in admin.bindings())
    assert max(keys.values()) == 1


# --- the ladder: no more than a declare


@pytest.mark.parametrize("change", LADDERS)
def test_a_ladder_changes_by_a_plain_declare_under_senders_and_consumers_of_each(
    scene: Scene, change: str
) -> None:
    """None is lost, early, run twice, or later than its own ladder would have it."""
    configs = [scene.write(f"{number}", **keys) for number, keys in enumerate(LADDERS[change])]
    due: dict[str, float] = {}
    senders = []
    for number, config in enumerate(configs):
        ran(config, "declare")
        assert_has(scene.admin, plan(settings_of(config).layout), exactly=not number)
        scene.consume(config)
        senders.append(scene.sending(config))
        for sender, former in enumerate(configs[: number + 1]):
            due |= send(former, 100, 12.0, prefix=f"/{number}-{sender}")
    for each in senders:
        due |= each.end()
    assert_each_ran_when_due(scene.receiver, due)
    assert len(due) > 600


def test_a_client_without_an_ini_sends_to_a_ladder_that_it_does_not_know(
    admin: Admin, write: Write, receiver: Receiver, start: Start
) -> None:
    """Its tasks run on time, and the consumer says once why it is that they come early."""
    config = write("coarse", resolution=1, levels=2)
    ran(config, "declare")
    consumer = consuming(start, config)
    due: dict[str, float] = {}
    with Client(admin.url) as client:
        for number in range(40):
            wait = random.uniform(0.05, 6)
            due[f"/{number}"] = time.time() + wait
            client.send(f"/{number}", QUEUE, eta=due[f"/{number}"])
        # Over the longest that there is on the declared ladder, too.
        client.send("/far", QUEUE, countdown=5000)
    assert_each_ran_when_due(receiver, due)
    consumer.wait_for("tasks come early: their senders wait on another ladder")
    consumer.stop()
    assert consumer.log.count("tasks come early") == 1
    assert receiver.to("/far") == []


def test_run_refuses_a_ladder_that_is_not_declared(write: Write, start: Start) -> None:
    """Exit code 1 and one line that says what to do: its retries would find no way."""
    ran(write("former", levels=2), "declare")
    for wrong in ({"levels": 3}, {"levels": 2, "resolution": 1}, {"levels": 2, "queue_type": "classic"}):
        process = start("run", "--config", str(write("other", **wrong)))
        assert process.wait() == 1
        (line,) = [line for line in process.lines if line.startswith("taskqueue: ")]
        assert "the ladder of this configuration is not declared" in line
        assert "run 'taskqueue declare'" in line
        assert "Traceback" not in process.log


def test_a_consumer_whose_rungs_are_pruned_runs_its_tasks_all_the_same(
    admin: Admin, write: Write, receiver: Receiver, start: Start, channel: amqp.Channel
) -> None:
    """It was not started again with the present ini: it says so once, and none is early."""
    former, config = write("former"), write("new", resolution=1, levels=2)
    ran(former, "declare")
    consumer = consuming(start, former)
    ran(config, "declare", "--prune")
    assert f"{QUEUE}.wait.0.5s" not in admin.names("queues")
    due = {}
    for number, wait in enumerate((0.5, 2.5, 3.5)):
        due[f"/{number}"] = time.time() + wait
        body = json.dumps({"url": f"/{number}", "eta": due[f"/{number}"]})
        channel.basic_publish(amqp.Message(body, delivery_mode=2), "", QUEUE)
    assert_each_ran_when_due(receiver, due)
    consumer.stop()
    assert "Traceback" not in consumer.log


# --- the type of a queue: --migrate


def ready(config: Path) -> dict[str, float]:
    """Fill a work queue, and put some tasks on the ladder behind it."""
    now = time.time()
    due = {f"/ready/{number}": now for number in range(READY)}
    with Client.from_config(config) as client:
        client.send_many([{"url": path, "queue": QUEUE} for path in due])
    return due | send(config, 300, 20.0, prefix="/waits")


@pytest.mark.parametrize("shared", [None, "shared"])
@pytest.mark.parametrize(("before", "after"), TYPES)
def test_a_work_queue_of_the_other_type_is_replaced_with_what_is_in_it(
    scene: Scene, before: str, after: str, shared: str | None
) -> None:
    """Under senders with either ini: all of it runs once and when it is due, and the old rungs can go."""
    former = scene.write("former", "b", queue_type=before, ladder=shared)
    config = scene.write("new", "b", queue_type=after, ladder=shared)
    ran(former, "declare")
    due = ready(former)
    senders = [scene.sending(former), scene.sending(config)]
    document = read(config, "declare", "--migrate", "--yes")
    moved_at = time.time()
    assert [(each["queue"], each["current"], each["wanted"]) for each in document["migration"]] == [
        (QUEUE, before, after),
        ("b", before, after),
    ]
    assert document["migration"][0]["moved"] >= READY
    assert document["applied"] is True
    assert_has(scene.admin, plan(settings_of(config).layout), exactly=False)
    assert {f"{QUEUE}.moving", "b.moving"}.isdisjoint(
        scene.admin.names("queues") | scene.admin.names("exchanges")
    )
    for each in senders:
        due |= each.end()
    scene.consume(config)
    assert_each_ran_when_due(scene.receiver, due, since=moved_at + LATENESS)
    assert read(config, "declare", "--migrate")["migration"] == []
    # What is left of the former type goes once it is empty, as far as the management API has seen it.
    eventually(
        lambda: all(each["removed"] for each in read(config, "declare", "--prune")["leftovers"]), "all pruned"
    )
    assert_has(scene.admin, plan(settings_of(config).layout), exactly=True)


@pytest.mark.parametrize(
    ("before", "after", "sections"), [("classic", "quorum", ("a", "b")), ("quorum", "classic", ("b", "a"))]
)
def test_a_task_on_the_ladder_of_another_queue_runs_in_its_own_after_a_migration(
    scene: Scene, before: str, after: str, sections: tuple[str, ...]
) -> None:
    """Those too that had come to the ladder's queue, as they had found no way while no consumer ran."""
    former = scene.write("former", *sections, queue_type=before, ladder=QUEUE)
    config = scene.write("new", *sections, queue_type=after, ladder=QUEUE)
    ran(former, "declare")
    unknown = scene.write("unknown", *sections, queue_type=before, ladder=QUEUE, resolution="0.001", levels=1)
    due = {f"/astray/{number}": time.time() + 2 for number in range(20)}
    with Client.from_config(unknown) as client:
        client.send_many([{"url": path, "queue": "b", "eta": at} for path, at in due.items()])
    eventually(lambda: count(scene.admin, QUEUE) == len(due), "all of them are with the ladder's queue")
    due |= send(former, 20, 5.0, prefix="/waits", queue="b")
    ran(config, "declare", "--migrate", "--yes")
    moved_at = time.time()
    scene.consume(config)
    assert_each_ran_when_due(scene.receiver, due, since=moved_at + LATENESS)
    assert {each.headers["Taskqueue-Queue"] for each in scene.receiver.requests} == {"b"}


@pytest.mark.parametrize(("before", "after"), TYPES)
def test_a_queue_that_has_consumers_is_not_replaced(scene: Scene, before: str, after: str) -> None:
    """Exit code 1, nothing is changed, and they go on; without them it is replaced."""
    former, config = scene.write("former", queue_type=before), scene.write("new", queue_type=after)
    ran(former, "declare")
    consumer = scene.consume(former)
    done = run(config, "declare", "--migrate", "--yes")
    assert done.returncode == 1
    assert b"a has 1 consumers: stop them, migrate, and start them again; a was not repl" in done.stderr
    assert_has(scene.admin, plan(settings_of(former).layout), exactly=True)
    due = send(former, 10, 1.0)
    assert_each_ran_when_due(scene.receiver, due)
    ran(former, "declare")
    consumer.stop()
    ran(config, "declare", "--migrate", "--yes")
    assert_has(scene.admin, plan(settings_of(config).layout), exactly=False)


def test_a_queue_whose_consumers_take_nothing_between_two_tokens_is_not_replaced(scene: Scene) -> None:
    """They are there all the same, and go on with the next token."""
    slow = {"rate": "1/h"}
    former = scene.write("former", queue_type="classic", **slow)
    config = scene.write("new", queue_type="quorum", **slow)
    ran(former, "declare")
    due = send(former, 1, 0.0)
    consumer = scene.consume(former)
    assert_each_ran_when_due(scene.receiver, due)
    with connect(scene.admin.url) as connection:
        looks = connection.channel()
        eventually(
            lambda: looks.queue_declare(QUEUE, passive=True).consumer_count == 0, "nothing is taken from it"
        )
    done = run(config, "declare", "--migrate", "--yes")
    assert done.returncode == 1
    assert b"a has 1 consumers: stop them" in done.stderr
    consumer.stop()
    ran(config, "declare", "--migrate", "--yes")


def killed_at(stage: str, config: Path) -> None:
    """Begin a migration that ends without a word once it is at a stage."""
    command = [sys.executable, "-m", "tests.support.killed", f"{stage}:{QUEUE}"]
    options = ["declare", "--migrate", "--yes", "--config", str(config)]
    done = subprocess.run([*command, *options], capture_output=True, timeout=3 * PATIENCE, check=False)
    assert done.returncode == -signal.SIGKILL, (stage, done)


@pytest.mark.parametrize(("before", "after"), TYPES)
def test_a_migration_that_is_killed_is_finished_by_the_next_one(
    scene: Scene, before: str, after: str
) -> None:
    """Killed at each of its stages, with senders all the while: nothing is lost or early."""
    former, config = scene.write("former", queue_type=before), scene.write("new", queue_type=after)
    ran(former, "declare")
    due = ready(former)
    senders = [scene.sending(former), scene.sending(config)]
    for stage in STAGES:
        killed_at(stage, config)
        # Meanwhile it is told by whoever would declare, and nothing of it is touched.
        if count(scene.admin, f"{QUEUE}.moving") is not None:
            for each in (former, config):
                assert run(each, "declare").returncode == 1
            plans = read(config, "declare", "--migrate", "--dry-run")["migration"]
            assert [(each["queue"], each["interrupted"]) for each in plans] == [(QUEUE, True)]
    ran(config, "declare", "--migrate", "--yes")
    moved_at = time.time()
    assert_has(scene.admin, plan(settings_of(config).layout), exactly=False)
    for sender in senders:
        due |= sender.end()
    scene.consume(config)
    assert_each_ran_when_due(scene.receiver, due, since=moved_at + LATENESS, twice=len(STAGES) * WINDOW)


def test_a_plain_declare_says_that_a_migration_was_interrupted(write: Write) -> None:
    """With the former ini, too, which has no conflict with the broker."""
    former, config = write("former", queue_type="classic"), write("new")
    ran(former, "declare")
    ready(former)
    killed_at("parking", config)
    done = run(former, "declare")
    assert done.returncode == 1
    assert b"a: a migration was interrupted: run 'taskqueue declare --migrate' to finish it" in done.stderr
    told = ran(config, "declare", "--migrate", "--dry-run")
    assert "replace  queue    a  an interrupted migration, becomes quorum" in told
    ran(config, "declare", "--migrate", "--yes")
    ran(config, "declare")


def park(channel: amqp.Channel, path: str) -> None:
    """Leave a task aside, as a migration does that is killed."""
    channel.exchange_declare(f"{QUEUE}.moving", "fanout", durable=True, auto_delete=False)
    channel.queue_declare(f"{QUEUE}.moving", durable=True, auto_delete=False, arguments=KEPT)
    channel.queue_bind(f"{QUEUE}.moving", f"{QUEUE}.moving", "")
    channel.basic_publish(amqp.Message(json.dumps({"url": path}), delivery_mode=2), f"{QUEUE}.moving", "")


def test_a_migration_that_is_refused_says_where_the_tasks_are(write: Write, channel: amqp.Channel) -> None:
    """One that was interrupted has put some aside, and nothing runs them."""
    former, config = write("former", queue_type="classic"), write("new")
    ran(former, "declare")
    park(channel, "/x")
    channel.basic_consume(QUEUE)
    done = run(config, "declare", "--migrate", "--yes")
    assert done.returncode == 1
    assert b"a has 1 consumers: stop them" in done.stderr
    assert b"tasks of a stand in a.moving and do not run until 'taskqueue declare --migrate'" in done.stderr
    channel.close()
    assert f"{QUEUE}: migrated to quorum (1 messages moved)" in ran(config, "declare", "--migrate", "--yes")


def test_what_is_only_to_be_put_back_needs_no_stop(
    write: Write, receiver: Receiver, start: Start, channel: amqp.Channel
) -> None:
    """A migration was killed at its last stage, and consumers of the new queue run already."""
    config = write("new")
    ran(config, "declare")
    park(channel, "/x")
    consuming(start, config)
    assert f"{QUEUE}: migrated to quorum (1 messages moved)" in ran(config, "declare", "--migrate", "--yes")
    receiver.wait_for(1)


def test_a_dry_run_tells_what_would_be_replaced_and_replaces_nothing(admin: Admin, write: Write) -> None:
    """For people and as JSON."""
    former, config = write("former", queue_type="classic"), write("new")
    ran(former, "declare")
    told = ran(config, "declare", "--migrate", "--dry-run")
    assert "replace  queue    a  is classic, becomes quorum" in told
    document = read(config, "declare", "--migrate", "--dry-run")
    assert document["applied"] is False
    assert document["migration"] == [
        {"queue": QUEUE, "current": "classic", "wanted": "quorum", "interrupted": False, "moved": None}
    ]
    assert_has(admin, plan(settings_of(former).layout), exactly=True)


def test_a_work_queue_is_not_replaced_without_a_yes(admin: Admin, write: Write) -> None:
    """It says why, and changes nothing; a plain declare says what to do."""
    former = write("former", queue_type="classic")
    ran(former, "declare")
    done = run(write("new"), "declare", "--migrate")
    assert done.returncode == 2
    assert b"must pause meanwhile: add --yes" in done.stderr
    plain = run(write("new"), "declare")
    assert plain.returncode == 1
    assert b"taskqueue declare --migrate" in plain.stderr
    assert_has(admin, plan(settings_of(former).layout), exactly=True)


def test_two_migrations_at_once_lose_nothing(
    admin: Admin, write: Write, receiver: Receiver, start: Start
) -> None:
    """Each sees that it is not alone and may say so; the next one has it all."""
    former, config = write("former", queue_type="classic"), write("new")
    ran(former, "declare")
    due = ready(former)
    commands = [start("declare", "--migrate", "--yes", "--config", str(config)) for _ in range(2)]
    assert {each.wait() for each in commands} <= {0, 1}
    ran(config, "declare", "--migrate", "--yes")
    moved_at = time.time()
    assert_has(admin, plan(settings_of(config).layout), exactly=False)
    consuming(start, config)
    assert_each_ran_when_due(receiver, due, since=moved_at + LATENESS)


def test_a_publisher_that_fills_the_queue_does_not_keep_a_migration_going(
    admin: Admin, write: Write, receiver: Receiver, start: Start
) -> None:
    """Who publishes straight to the queue can't be led aside: the command ends, says so, loses nothing."""
    former, config = write("former", queue_type="classic"), write("new")
    ran(former, "declare")
    ids: list[str] = []
    stopped = threading.Event()

    def publish() -> None:
        with connect(admin.url) as connection:
            channel = connection.channel()
            while not stopped.is_set():
                name = f"straight-{len(ids)}"
                body = json.dumps({"url": "/x"})
                message = amqp.Message(body, message_id=name, delivery_mode=2)
                channel.basic_publish_confirm(message, "", QUEUE)
                ids.append(name)

    publisher = threading.Thread(target=publish)
    publisher.start()
    try:
        done = run(config, "declare", "--migrate", "--yes")
    finally:
        stopped.set()
        publisher.join()
    assert done.returncode == 1
    # On a busy machine the publisher may stand still for as long as it takes to believe that no more comes.
    told = rb"a (gets messages faster than it is emptied: .*|got a message meanwhile: .*); tasks of a "
    assert re.search(told, done.stderr)
    ran(config, "declare", "--migrate", "--yes")
    consuming(start, config)
    receiver.wait_for(lambda came: {each.headers["Taskqueue-Id"] for each in came} >= set(ids), PATIENCE)


def test_what_comes_to_the_former_queue_after_the_last_report_is_kept(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """Nothing can lead aside what is published straight to it: it is refused, and done by the next one."""
    former = write("former")
    ran(former, "declare")

    def publish() -> None:
        with connect(admin.url) as connection:
            task = amqp.Message(json.dumps({"url": "/x"}), delivery_mode=2)
            connection.channel().basic_publish_confirm(task, "", QUEUE)

    # Two consumers, both of the command: by such a report it knows that nothing is being dead-lettered.
    with outdated(admin.management_url, QUEUE, 2, publish) as url:
        config = write("new", queue_type="classic", management_url=url)
        done = run(config, "declare", "--migrate", "--yes")
    assert done.returncode == 1, done
    assert b"a got a message meanwhile: stop what publishes to it, and try again; tasks of a " in done.stderr
    eventually(lambda: count(admin, QUEUE) == 1, "it is back in the queue")
    config = write("new", queue_type="classic")
    assert f"{QUEUE}: migrated to classic (1 messages moved)" in ran(config, "declare", "--migrate", "--yes")
    assert channel.basic_get(QUEUE).body == json.dumps({"url": "/x"})


def test_a_declare_binds_nothing_of_a_queue_that_a_migration_began_to_move_meanwhile(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """With the former ini it has no conflict: it has looked, and the migration leads all aside after that."""
    former = write("former")
    ran(former, "declare")
    aside = (f"{QUEUE}.wait.due", QUEUE, "")

    def begin(now: str, done: int, total: int) -> None:
        if now == "looking for migrations" and done == total:
            park(channel, "/x")
            channel.queue_unbind(QUEUE, aside[0])

    with pytest.raises(TopologyConflict, match="a migration was interrupted"):
        declare(settings_of(former), progress=begin)
    assert aside not in admin.bindings()


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
    kept = channel.basic_get(QUEUE)
    assert kept.body == b"\xff no task"
    assert (kept.properties["message_id"], kept.properties["priority"]) == ("one", 3)
    assert channel.queue_declare(f"{QUEUE}.dead", passive=True).message_count == 1


def test_a_message_with_hostile_headers_is_dead_after_a_migration(admin: Admin, write: Write) -> None:
    """As the consumer would have settled it; it stops nothing."""
    former, config = write("former", queue_type="classic"), write("new")
    ran(former, "declare")
    with connect_with_pika(settings_of(former), name="test") as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        channel.basic_publish("", QUEUE, b'{"url": "/hostile"}', Raw(nested(3000)))
        channel.basic_publish("", QUEUE, b'{"url": "/next"}')
    ran(config, "declare", "--migrate", "--yes")
    (entry,) = read(config, "dead", "list", QUEUE)
    assert (entry["reason"], entry["url"]) == ("invalid", "/hostile")
    assert "headers: can't be decoded" in entry["error"]
    assert count(admin, QUEUE) == 1


def test_a_task_of_another_queue_whose_headers_are_too_large_says_whose_it_is(
    write: Write, channel: amqp.Channel
) -> None:
    """It is dead with the ladder's queue, and a replay must not run it by that one's settings."""
    former, config = write("former", "b", queue_type="classic", ladder=QUEUE), write("new", "b", ladder=QUEUE)
    ran(former, "declare")
    headers = {"CC": ["0.01s>due:b"], "foreign": "x" * 100_000}
    body = json.dumps({"url": "/x"})
    channel.basic_publish(
        amqp.Message(body, application_headers=headers, delivery_mode=2), f"{QUEUE}.wait", "in>0.05s"
    )
    ran(config, "declare", "--migrate", "--yes")
    dead = channel.basic_get(f"{QUEUE}.dead")
    assert dead.properties["application_headers"]["taskqueue-reason"] == "invalid"
    assert dead.properties["application_headers"]["taskqueue-meant-for"] == "b"


def handed_out(channel: amqp.Channel) -> bool:
    """Take one message of the work queue and leave it unanswered."""
    return channel.basic_get(QUEUE) is not None


def test_a_task_that_may_end_its_consumer_stays_suspect(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """What the broker has counted goes along, and the move itself is not counted."""
    ran(write("former"), "declare")
    channel.basic_publish(amqp.Message(b"{}", message_id="suspect", delivery_mode=2), "", QUEUE)
    for _ in range(3):
        with connect(admin.url) as connection:
            eventually(partial(handed_out, connection.channel()), "handed out")
    eventually(lambda: count(admin, QUEUE) == 1, "it is back")
    channel.basic_publish(amqp.Message(b"{}", message_id="fresh", delivery_mode=2), "", QUEUE)
    ran(write("new", queue_type="classic"), "declare", "--migrate", "--yes")
    counts = {}
    for _ in range(2):
        found = channel.basic_get(QUEUE)
        headers = found.properties.get("application_headers", {})
        counts[found.properties["message_id"]] = headers.get("taskqueue-crashes", 0)
    assert counts == {"suspect": 3, "fresh": 0}


def test_a_queue_of_an_application_becomes_ours_with_what_is_in_it(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """A classic work queue that was declared without any arguments."""
    config = write("new")
    channel.queue_declare(QUEUE, durable=True, auto_delete=False)
    channel.basic_publish(amqp.Message(json.dumps({"url": "/x"}), delivery_mode=2), "", QUEUE)
    ran(config, "declare", "--migrate", "--yes")
    assert_has(admin, plan(settings_of(config).layout), exactly=True)
    assert count(admin, QUEUE) == 1
