"""The books of schedules and limits, held by somebody who stands still or a `declare` that is killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count

import pytest
from pika.adapters.blocking_connection import BlockingChannel

from sandbox.broker import Server
from sandbox.receiver import Receiver
from taskqueue import limit
from taskqueue.declare.apply import declare
from taskqueue.task.message import Message
from taskqueue.topology import names
from tests.faults.test_schedule_kills import uncovered
from tests.support.command import LIMIT, ran, run
from tests.support.stage import PATIENCE, Process, Stage, eventually
from tests.support.timetable import HOURLY, NAME, book, configure, occurrences, write

pytestmark = pytest.mark.slow

OTHER = "other"
EACH = "* * * * * *"


@pytest.fixture
def timed(staged: Callable[..., Stage], broker: Server) -> Stage:
    """Give a queue with two schedules, one of them paused.

    A broker that misses heartbeats of the one who stands still would take the book from it meanwhile.
    """
    stage = staged(f"{broker.url}?heartbeat=600")
    configure(stage, {NAME: HOURLY, OTHER: HOURLY})
    declare(stage.settings)
    ran(stage.path, "schedule", "pause", OTHER)
    return stage


@contextmanager
def holding(stage: Stage) -> Iterator[Process]:
    """Have a consumer take the book of a schedule that is due each second, and stand still with it."""
    write(stage, fast=EACH, other=EACH)
    with stage.connection() as connection:
        channel = connection.channel()
        way = (stage.name, names.due(stage.name), "")
        channel.queue_unbind(*way)
        process = stage.run()
        try:
            # It holds the book until an occurrence finds a way.
            process.wait_for("could not be published")
            process.signal(signal.SIGSTOP)
            channel.queue_bind(*way)
            yield process
        finally:
            process.signal(signal.SIGCONT)


def test_a_consumer_that_stands_still_with_the_book_has_every_command_say_so_and_nothing_is_lost(
    timed: Stage, receiver: Receiver
) -> None:
    """Whatever is asked for ends with 1 and changes nothing; it is done once the consumer goes on."""
    asked = (
        ("declare",),
        ("declare", "--dry-run"),
        ("schedule", "list"),
        ("schedule", "run", NAME),
        ("schedule", "pause", NAME),
        ("schedule", "resume", OTHER),
        ("check", "--json"),
    )
    with holding(timed):
        with ThreadPoolExecutor(len(asked)) as pool:
            done = dict(zip(asked, pool.map(lambda each: run(timed.path, *each), asked), strict=True))
        assert timed.depth(names.schedule(timed.name)) == 0
        assert not receiver.requests
    for each, of in done.items():
        assert of.returncode == 1, (each, of)
    checked = json.loads(done.pop(asked[-1]).stdout)["checks"]
    told = [each["detail"] for each in checked if not each["ok"]]
    told += [of.stderr.decode().splitlines()[-1] for of in done.values()]
    assert all("stands still" in each and "try again" in each for each in told), told
    # Asked again, all of it is done.
    receiver.wait_for(1, timeout=PATIENCE)
    write(timed, fast=EACH, other=EACH)
    assert book(timed).entries[OTHER].paused is not None
    receiver.wait_for(len(receiver.requests) + 3, timeout=PATIENCE)
    ran(timed.path, "schedule", "run", NAME)
    ran(timed.path, "schedule", "pause", NAME)
    ran(timed.path, "declare")
    assert {each.paused is not None for each in book(timed).entries.values()} == {True}
    timed.stop()
    requests = [each for each in receiver.requests if "." not in each.headers["Taskqueue-Id"]]
    assert uncovered(requests) == []
    assert not occurrences(requests, OTHER)


def test_a_book_comes_back_from_a_consumer_that_is_gone(timed: Stage, receiver: Receiver) -> None:
    """The broker drops its connection; `declare` finds the pause, and each occurrence comes."""
    with holding(timed) as process:
        process.kill()
        write(timed, fast=EACH, other=EACH)
    assert book(timed).entries[OTHER].paused is not None
    timed.consume()
    receiver.wait_for(4, timeout=PATIENCE)
    timed.stop()
    assert uncovered(list(receiver.requests)) == []


def killed(stage: Stage, step: int) -> bool:
    """Declare and be killed before a step; False where there is no such step."""
    command = [
        sys.executable,
        "-m",
        "tests.support.killed",
        str(step),
        "declare",
        "--config",
        str(stage.path),
    ]
    code = subprocess.run(command, capture_output=True, timeout=LIMIT, check=False).returncode
    assert code in {0, -signal.SIGKILL}
    return code != 0


def test_a_first_declare_that_is_killed_at_any_step_is_finished_by_the_next(stage: Stage) -> None:
    """Also between the queue for the book and the first book."""
    configure(stage)
    for step in count(1):
        with stage.connection() as connection:
            channel = connection.channel()
            channel.queue_delete(names.wake(stage.name))
            channel.queue_delete(names.schedule(stage.name))
            channel.exchange_delete(names.schedule(stage.name))
        if not killed(stage, step):
            break
        declare(stage.settings)
        assert set(book(stage).entries) == {NAME}, step
        eventually(lambda: stage.depth(names.schedule(stage.name)) >= 1, "the book is in its place")
    assert step > 10


def test_a_later_declare_that_is_killed_at_any_step_keeps_what_is_paused(timed: Stage) -> None:
    """And the next one changes what it was to change."""
    for step in count(1):
        configure(timed, {NAME: {**HOURLY, "url": f"/{step}"}, OTHER: HOURLY})
        if not killed(timed, step):
            break
        assert book(timed).entries[OTHER].paused is not None, step
        declare(timed.settings)
        entries = book(timed).entries
        assert entries[OTHER].paused is not None, step
        assert entries[NAME].definition.url == f"/{step}", step
    assert step > 3


def test_first_declares_at_the_same_time_make_one_book(stage: Stage) -> None:
    """As several consumers that start with `run --declare`."""
    configure(stage)
    errors: list[BaseException] = []

    def work() -> None:
        try:
            declare(stage.settings)
        except BaseException as error:  # noqa: BLE001 told by the test
            errors.append(error)

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not errors
    assert set(book(stage).entries) == {NAME}
    eventually(lambda: stage.depth(names.schedule(stage.name)) == 1, "one book")


def test_a_deleted_book_is_told_with_what_to_delete_too(timed: Stage) -> None:
    """Nothing is changed until somebody says that the schedules are to begin anew."""
    with timed.connection() as connection:
        channel = connection.channel()
        channel.queue_delete(names.schedule(timed.name))
        done = run(timed.path, "declare")
        assert done.returncode == 1
        told = done.stderr.decode().splitlines()[-1]
        assert f"delete '{names.wake(timed.name)}' too" in told
        channel.queue_delete(names.wake(timed.name))
    ran(timed.path, "declare")
    assert book(timed).entries[OTHER].paused is None


def test_a_limit_that_somebody_holds_is_not_taken_for_none(staged: Callable[..., Stage]) -> None:
    """A hung connection has the book: `declare` says so and issues nothing; then the limit is changed."""
    stage = staged(max_concurrency=2)
    stage.configure(max_concurrency=5)
    asked = (("declare",), ("declare", "--dry-run"))
    with stage.connection() as connection:
        connection.channel().basic_get(names.limit(stage.name))
        with ThreadPoolExecutor(len(asked)) as pool:
            done = list(pool.map(lambda each: run(stage.path, *each), asked))
        assert stage.depth(names.permits(stage.name)) == 2
    for each in done:
        assert each.returncode == 1, each
        told = each.stderr.decode().splitlines()[-1]
        assert "stands still" in told, each
        assert "try again" in told, each
    ran(stage.path, "declare")
    assert counting(stage) == [0, 1, 2, 3, 4]


def test_a_first_limit_that_is_killed_at_any_step_is_finished_by_the_next(stage: Stage) -> None:
    """Also between the queue for the book, the first book, and the permits: each counts once."""
    stage.configure(max_concurrency=2)
    for step in count(1):
        with stage.connection() as connection:
            channel = connection.channel()
            channel.queue_delete(names.permits(stage.name))
            channel.queue_delete(names.limit(stage.name))
            channel.exchange_delete(names.limit(stage.name))
        if not killed(stage, step):
            break
        declare(stage.settings)
        assert counting(stage) == [0, 1], step
    assert step > 10


def test_a_deleted_limit_is_told_with_what_to_delete_too(staged: Callable[..., Stage]) -> None:
    """Nobody can say any more which permits count, and a permit may be in use."""
    stage = staged(max_concurrency=2)
    with stage.connection() as connection:
        channel = connection.channel()
        channel.queue_delete(names.limit(stage.name))
        done = run(stage.path, "declare")
        assert done.returncode == 1
        assert f"delete '{names.permits(stage.name)}' too" in done.stderr.decode().splitlines()[-1]
        channel.queue_delete(names.permits(stage.name))
    ran(stage.path, "declare")
    assert counting(stage) == [0, 1]


def counting(stage: Stage) -> list[int]:
    """Give the numbers of the permits that count; a `declare` that was killed may leave a former book."""
    found = []
    with stage.connection() as connection:
        channel = connection.channel()
        books = [limit.read_book(each) for each in taken(channel, names.limit(stage.name))]
        counts = limit.latest(books)
        for message in taken(channel, names.permits(stage.name)):
            permit = limit.read_permit(message)
            assert permit is not None
            if permit.edition in counts.editions and permit.number < counts.limit:
                found.append(permit.number)
    return sorted(found)


def taken(channel: BlockingChannel, queue: str) -> list[Message]:
    """Take all that is ready in a queue; it goes back with the channel."""
    found = []
    while (body := channel.basic_get(queue)[2]) is not None:
        found.append(Message(body))
    return found
