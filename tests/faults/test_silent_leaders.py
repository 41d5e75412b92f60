"""Leaders that do not answer: RabbitMQ counts zero messages in their queues, and nobody must believe it."""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import amqp
import pytest

from sandbox.broker import Broker, cluster, find_script
from taskqueue.broker.replies import Counts
from taskqueue.broker.session import connected
from taskqueue.broker.taken import taken
from taskqueue.errors import PublishFailed
from taskqueue.operate import schedules
from taskqueue.send.client import Client
from taskqueue.settings import load
from tests.conftest import connect
from tests.faults.silence import silent
from tests.support.command import ran, read, run
from tests.support.stage import PATIENCE, eventually

pytestmark = pytest.mark.slow

WAITING, DEAD, READY = 40, 7, 3
RUNG = "mail.wait.800s"


@pytest.fixture(scope="module")
def broker_of_this_file() -> Iterator[Broker]:
    """Give a node whose leaders may be suspended, with the management API."""
    if find_script() is None:
        pytest.fail("no local rabbitmq-server: run `make broker`")
    with Broker.start(management=True) as node:
        yield node


def write(path: Path, broker: Broker, **keys: object) -> Path:
    """Write a configuration of the queue `mail`."""
    values = {"server": broker.url, "management_url": broker.management_url, "levels": 4} | keys
    path.write_text("\n".join([*(f"{key} = {value}" for key, value in values.items()), "[mail]", ""]))
    return path


@pytest.fixture
def config(broker_of_this_file: Broker, tmp_path: Path) -> Iterator[Path]:
    """Give a declared queue with tasks that wait, are ready and are dead; all gone afterwards."""
    config = write(tmp_path / "taskqueue.ini", broker_of_this_file)
    ran(config, "declare")
    fill(config, broker_of_this_file)
    yield config
    broker_of_this_file.eval(_DELETE_ALL)


_DELETE_ALL = (
    "[rabbit_amqqueue:delete(Q, false, false, <<>>) || Q <- rabbit_amqqueue:list()], "
    '[rabbit_exchange:delete(element(2, X), false, <<>>) || X <- rabbit_exchange:list(<<"/">>), '
    'binary:match(element(4, element(2, X)), <<"mail">>) =/= nomatch].'
)


def fill(config: Path, broker: Broker) -> None:
    """Send tasks that are due in 15 minutes, and put some into the work queue and the dead queue."""
    with Client.from_config(config) as client:
        client.send_many(
            {"url": "/x", "queue": "mail", "countdown": 899.5, "id": f"w{n}"} for n in range(WAITING)
        )
        client.send_many({"url": "/x", "queue": "mail", "id": f"r{n}"} for n in range(READY))
    with connect(broker.url) as connection:
        channel = connection.channel()
        for number in range(DEAD):
            message = amqp.Message(b'{"url": "/x"}', delivery_mode=2, message_id=f"d{number}")
            channel.basic_publish(message, "mail.dead", "mail")


def counts(config: Path) -> tuple[int, int, int]:
    """Count waiting, ready and dead, as `inspect` knows them when everything answers."""
    (queue,) = read(config, "inspect")["queues"]
    return queue["waiting"], queue["ready"], queue["dead"]


@pytest.mark.parametrize(("queue", "field"), [(RUNG, "waiting"), ("mail", "ready"), ("mail.dead", "dead")])
def test_what_does_not_answer_is_never_shown_as_zero(
    broker_of_this_file: Broker, config: Path, queue: str, field: str
) -> None:
    """A monitor gets exit code 1, JSON null and a line, a person a question mark; then all is as before."""
    # Given a leader that is silent
    with silent(broker_of_this_file, queue):
        # When somebody looks
        seen = run(config, "inspect", "--max-dead", str(DEAD), "--json")
        shown = run(config, "inspect")
        checked = read(config, "check", code=1)
    # Then what is not known is said to be so, and what is known is right
    (state,) = json.loads(seen.stdout)["queues"]
    assert (seen.returncode, shown.returncode) == (1, 1)
    known = {"waiting": WAITING, "ready": READY, "dead": DEAD}
    assert {name: state[name] for name in known} == known | {field: None}
    assert state["unknown"] == [queue]
    assert f"{queue} did not answer" in seen.stderr.decode()
    assert b"?" in shown.stdout
    assert [each["check"] for each in checked["checks"] if not each["ok"]] == ["leaders"]
    assert counts(config) == (WAITING, READY, DEAD)
    ran(config, "check")


def test_no_command_acts_on_a_queue_that_does_not_answer(broker_of_this_file: Broker, config: Path) -> None:
    """No task is cancelled, replayed, purged or told to be absent; afterwards the same commands succeed."""
    commands = {
        RUNG: [
            ["waiting", "list", "mail"],
            ["waiting", "cancel", "mail", "--id", "w1", "--yes"],
        ],
        "mail.dead": [
            ["dead", "list", "mail"],
            ["dead", "show", "mail", "d1"],
            ["dead", "replay", "mail", "--id", "d2", "--yes"],
            ["dead", "purge", "mail", "--all", "--yes"],
        ],
    }
    for queue, lines in commands.items():
        # All at once, as each of them waits for its answer.
        with silent(broker_of_this_file, queue), ThreadPoolExecutor() as pool:
            ended = list(pool.map(lambda words: run(config, *words), lines))
        for arguments, done in zip(lines, ended, strict=True):
            assert done.returncode == 1, (arguments, done.stdout)
            assert b"did not answer" in done.stderr, (arguments, done.stderr)
            assert done.stderr.count(b"\n") == 1
    assert counts(config) == (WAITING, READY, DEAD)
    for lines in commands.values():
        for arguments in lines:
            ran(config, *arguments)
    assert counts(config) == (WAITING - 1, READY + 1, 0)


def test_what_is_sent_by_hand_ends_where_no_confirm_comes(
    broker_of_this_file: Broker, config: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A schedule's task may have been sent all the same, and that is said."""
    daily = "[schedule:daily]\ncron = 0 3 * * *\nqueue = mail\nurl = http://127.0.0.1/\n"
    config.write_text(config.read_text() + daily)
    ran(config, "declare")
    monkeypatch.setattr(schedules, "CONFIRMING", 1.0)

    async def send() -> None:
        async with connected(load(config), name="test") as session:
            await schedules.run(session, load(config), "daily")

    with (
        silent(broker_of_this_file, "mail"),
        pytest.raises(PublishFailed, match=r"no confirm in 1 s, so daily@"),
    ):
        asyncio.run(send())
    with connect(broker_of_this_file.url) as connection:
        channel = connection.channel()
        eventually(
            lambda: channel.queue_declare("mail", passive=True).message_count == READY + 1, "it was sent"
        )


def test_prune_keeps_a_rung_whose_leader_does_not_answer(
    broker_of_this_file: Broker, config: Path, tmp_path: Path
) -> None:
    """The loss that was seen: the tasks of a rung that a changed ini names no longer, counted as none."""
    # Given an ini without the level on which the tasks wait
    fewer = write(tmp_path / "fewer.ini", broker_of_this_file, levels=3)
    # When it is pruned while the leader of their rung is silent
    with silent(broker_of_this_file, RUNG):
        done = run(fewer, "declare", "--prune")
    # Then the rung is kept, for what it holds or as nobody knows; once the leader is back, for what it holds
    told = done.stdout.decode()
    # The management API may have counted them before, or not yet.
    assert f"queue '{RUNG}' holds 40 messages" in told or (
        done.returncode == 1 and f"{RUNG}' is not known" in told
    )
    assert counts(fewer) == (WAITING, READY, DEAD)
    assert "holds 40 messages" in ran(fewer, "declare", "--prune")
    assert counts(fewer) == (WAITING, READY, DEAD)
    ran(config, "declare")
    assert counts(config) == (WAITING, READY, DEAD)


def test_prune_keeps_a_queue_whose_leader_does_not_answer(
    broker_of_this_file: Broker, config: Path, tmp_path: Path
) -> None:
    """A queue that the ini does not name any more: all that belongs to it stays, and still works."""
    other = tmp_path / "other.ini"
    other.write_text(write(tmp_path / "x.ini", broker_of_this_file).read_text().replace("[mail]", "[post]"))
    for queue in ("mail", "mail.dead", RUNG):
        with silent(broker_of_this_file, queue):
            done = run(other, "declare", "--prune")
        assert "removed" not in done.stdout.decode()
        assert counts(config) == (WAITING, READY, DEAD)
    assert "mail: no longer in the configuration, and kept: queue" in ran(other, "declare", "--prune")


def test_prune_leaves_only_the_queue_whose_limit_does_not_answer(
    broker_of_this_file: Broker, tmp_path: Path
) -> None:
    """It says why and ends with 1; another leftover goes all the same, and this one as soon as it answers."""
    alone = write(tmp_path / "alone.ini", broker_of_this_file, levels=1)
    all_of_them = tmp_path / "all.ini"
    all_of_them.write_text(f"{alone.read_text()}[mail-a]\nmax_concurrency = 2\n[mail-b]\n")
    ran(all_of_them, "declare")
    try:
        with silent(broker_of_this_file, "mail-a.limit"):
            done = run(alone, "declare", "--prune")
        told = done.stdout.decode()
        assert done.returncode == 1, done
        assert "mail-a: no longer in the configuration, and kept: what is in its queues of limits" in told
        assert "removed  queue    mail-b\n" in told
        assert "removed  queue    mail-a\n" not in told
        assert "removed  queue    mail-a\n" in ran(alone, "declare", "--prune")
    finally:
        broker_of_this_file.eval(_DELETE_ALL)


def test_a_migration_replaces_no_queue_that_does_not_answer(
    broker_of_this_file: Broker, config: Path, tmp_path: Path
) -> None:
    """The work queue is replaced only once its leader has said that it is empty."""
    classic = write(tmp_path / "classic.ini", broker_of_this_file, queue_type="classic")
    with silent(broker_of_this_file, "mail"):
        done = run(classic, "declare", "--migrate", "--yes")
    assert done.returncode == 1, done.stdout
    assert done.stderr.splitlines()[-1].startswith(b"taskqueue: "), done.stderr
    assert read(config, "inspect")["queues"][0]["dead"] == DEAD
    ran(classic, "declare", "--migrate", "--yes")
    assert counts(classic) == (WAITING, READY, DEAD)


def test_a_cluster_node_that_hangs_makes_nothing_zero(tmp_path: Path) -> None:
    """One node of three is stopped: each look says what is there, or that it does not know."""
    if find_script() is None:
        pytest.fail("no local rabbitmq-server for a cluster: run `make broker`")
    with cluster(3) as nodes:
        config = tmp_path / "taskqueue.ini"
        config.write_text(f"server = {nodes[0].url}\nlevels = 5\n[mail]\n")
        ran(config, "declare")
        fill(config, nodes[0])
        for hung in nodes[1:]:
            os.killpg(hung.pid, signal.SIGSTOP)
            try:
                for _ in range(3):
                    done = run(config, "inspect", "--json")
                    if done.returncode == 3 or not done.stdout:
                        continue
                    (queue,) = json.loads(done.stdout)["queues"]
                    assert queue["waiting"] in {WAITING, None}
                    assert queue["ready"] in {READY, None}
                    assert queue["dead"] in {DEAD, None}
                    assert (done.returncode == 1) == bool(queue["unknown"])
            finally:
                os.killpg(hung.pid, signal.SIGCONT)
        assert counts(config) == (WAITING, READY, DEAD)


def test_what_a_late_leader_hides_is_looked_for_again(config: Path, broker_of_this_file: Broker) -> None:
    """Where another look holds all of a queue, a late zero and its empty head do not make it empty."""
    queue = "mail.dead"
    held = 0

    def got(_message: amqp.Message) -> None:
        nonlocal held
        held += 1

    async def ask() -> Counts | None:
        async with connected(load(config), name="test") as session:
            with silent(broker_of_this_file, queue):
                asked = asyncio.create_task(session.counts(queue))
                # By now the broker has counted for its leader, and the head is asked for.
                await asyncio.wait([asked], timeout=0.6)
            return await asked

    with connect(broker_of_this_file.url) as connection:
        connection.channel().basic_consume(queue, callback=got)
        while held < DEAD:
            connection.drain_events(timeout=30)
        assert asyncio.run(ask()) == Counts(ready=0, consumers=1)


MANY = 200


def test_what_is_acked_last_is_gone_though_its_leader_was_behind(
    broker_of_this_file: Broker, config: Path
) -> None:
    """The broker puts off acks behind 32 others, and forgets them where their channel is closed before."""
    with Client.from_config(config) as client:
        client.send_many(
            {"url": "/x", "queue": "mail", "countdown": 99.5, "id": f"l{n}"} for n in range(MANY)
        )

    async def take_all() -> None:
        async with connected(load(config), name="test") as session:
            async with session.own_channel() as channel:
                await channel.consume("mail.wait.90s", window=MANY, tag="page")
                held = [await channel.next(PATIENCE) for _ in range(MANY)]
                with ExitStack() as silence:
                    silence.enter_context(silent(broker_of_this_file, "mail.wait.90s"))
                    for each in held:
                        assert each is not None
                        channel.ack(each)
                    over = asyncio.get_running_loop().run_in_executor(None, silence.pop_all().close)
                await taken(channel, "mail.wait.90s")
            await over

    asyncio.run(take_all())
    assert counts(config) == (WAITING, READY, DEAD)
