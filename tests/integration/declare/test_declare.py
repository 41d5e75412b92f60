"""`taskqueue declare` on a real broker: all or nothing, again and again, and what it says."""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest

from taskqueue.broker.session import Progress, connected
from taskqueue.broker.session import run as in_session
from taskqueue.declare.apply import declare
from taskqueue.declare.leftovers import Leftover, leftovers
from taskqueue.declare.prune import prune
from taskqueue.errors import BrokerRefused, TaskqueueError, TopologyConflict
from taskqueue.send.client import Client
from taskqueue.settings import Settings, parse
from taskqueue.topology import names
from taskqueue.topology.plan import Plan, plan
from tests.conftest import connect
from tests.support.admin import PASSWORD, Admin
from tests.support.command import ran, read, run
from tests.support.stage import PATIENCE, eventually

Write = Callable[..., Path]


@pytest.fixture
def write(admin: Admin, tmp_path: Path) -> Write:
    """Give a writer of configurations; the keyword arguments are global keys."""

    def write(*queues: str, name: str = "taskqueue", **keys: Any) -> Path:
        values = {"server": admin.url, "management_url": admin.management_url, "levels": 2} | keys
        lines = [f"{key} = {value}" for key, value in values.items() if value is not None]
        path = tmp_path / f"{name}.ini"
        path.write_text("\n".join([*lines, *(f"[{queue}]" for queue in queues), ""]))
        return path

    return write


@pytest.fixture
def channel(admin: Admin) -> Iterator[amqp.Channel]:
    """Give a channel of an independent client."""
    with connect(admin.url) as connection:
        yield connection.channel()


def settings_of(path: Path) -> Settings:
    """Read a configuration."""
    return parse(path.read_text(), source=str(path), environ={})


def assert_declared(admin: Admin, planned: Plan) -> None:
    """Compare what the broker has with a plan: nothing less, and nothing more."""
    assert admin.names("queues") == {queue.name for queue in planned.queues}
    assert admin.names("exchanges") == {exchange.name for exchange in planned.exchanges}
    assert admin.bindings() == {(each.exchange, each.queue, each.routing_key) for each in planned.bindings}
    for item in planned.items:
        assert admin.arguments(item.name, f"{item.kind}s") == dict(item.arguments)


def message(body: bytes = b"{}") -> amqp.Message:
    """Make a persistent message."""
    return amqp.Message(body, delivery_mode=2)


def count(channel: amqp.Channel, queue: str) -> int:
    """Count what is ready in a queue."""
    return int(channel.queue_declare(queue, passive=True).message_count)


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_declare_creates_the_plan_and_a_second_one_changes_nothing(
    admin: Admin, write: Write, queue_type: str
) -> None:
    """Twice the same command: the same topology, exit code 0."""
    config = write("a", "b.c", queue_type=queue_type)
    planned = plan(settings_of(config).layout)
    ran(config, "declare")
    assert_declared(admin, planned)
    second = read(config, "declare")
    assert {each["state"] for each in second["queues"] + second["exchanges"]} == {"exists"}
    assert_declared(admin, planned)


def test_declare_finishes_what_was_interrupted(admin: Admin, write: Write, channel: amqp.Channel) -> None:
    """Some exist, some do not, bindings are lost: afterwards everything is there."""
    config = write("a")
    ran(config, "declare")
    channel.queue_delete("a.wait.3s")
    channel.exchange_delete("a.wait.1s")
    states = {each["name"]: each["state"] for each in read(config, "declare")["queues"]}
    assert [name for name, state in states.items() if state == "created"] == ["a.wait.3s"]
    assert_declared(admin, plan(settings_of(config).layout))


def test_a_dry_run_prints_the_plan_and_changes_nothing(admin: Admin, write: Write) -> None:
    """Each line names one thing; nothing of it is there afterwards."""
    config = write("a")
    printed = ran(config, "declare", "--dry-run")
    assert "missing  queue    a.wait.0.3s" in printed
    assert "a.wait.1s --1s>0.3s--> a.wait.0.3s" in printed
    assert "a.wait.0.1s --0.1s>due:a--> a" in printed
    assert "exchange a.wait.due  fanout alternate-exchange=a.moving" in printed
    assert admin.names("queues") == set()
    document = read(config, "declare", "--dry-run")
    assert document["applied"] is False
    assert len(document["queues"]) == 9 * 2 + 5
    assert admin.names("exchanges") == set()


def test_a_dry_run_needs_no_broker(write: Write) -> None:
    """It then says that it does not know what exists."""
    config = write("a", server="amqp://guest:guest@127.0.0.1:1/")
    document = read(config, "declare", "--dry-run")
    assert {each["state"] for each in document["queues"]} == {"unknown"}


def test_only_the_named_queue_is_declared(admin: Admin, write: Write) -> None:
    """The others of the configuration are left alone; an unknown one is an error."""
    config = write("a", "b")
    ran(config, "declare", "--queue", "b")
    assert {name.split(".")[0] for name in admin.names("queues")} == {"b"}
    ran(config, "declare", "--queue", "c", code=2)


def test_every_conflict_is_reported_with_both_values_and_nothing_is_changed(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """Two queues and an exchange of other settings: all in one run, and nothing is created."""
    config = write("a")
    channel.queue_declare("a.wait.3s", durable=True, auto_delete=False, arguments={"x-message-ttl": 5})
    channel.queue_declare("a.dead", durable=False, auto_delete=False)
    channel.exchange_declare("a.wait", "topic", durable=True, auto_delete=False)
    done = run(config, "declare")
    told = done.stderr.decode()
    assert done.returncode == 1
    assert "queue 'a.wait.3s' exists with other settings" in told
    assert "x-message-ttl is '5' and should be '3000'" in told
    assert "durable is 'false' and should be 'true'" in told
    assert "type is 'topic' and should be 'direct'" in told
    assert admin.names("queues") == {"a.wait.3s", "a.dead"}
    assert admin.names("exchanges") == {"a.wait"}
    with pytest.raises(TopologyConflict, match="nothing was changed"):
        declare(settings_of(config))


def test_however_much_conflicts_the_line_that_matters_is_the_only_one(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """How much there is, the first few, and what to do; a dry run tells all, and of how many first."""
    config = write("a", levels=4)
    rungs = [f"a.wait.{digit}s" for digit in range(1, 10)]
    for rung in rungs:
        channel.queue_declare(rung, durable=True, auto_delete=False, arguments={"x-message-ttl": 5})
    done = run(config, "declare")
    steps = ("verifying: ", "taskqueue: ")
    lines = done.stderr.decode().splitlines()
    assert (done.returncode, done.stdout) == (1, b"")
    assert [line.startswith(step) for line, step in zip(lines, steps, strict=True)] == [True, True]
    assert "nothing was changed: queue 'a.wait.1s' exists with other settings" in lines[1]
    assert "and 6 more, which 'taskqueue declare --dry-run' lists" in lines[1]
    assert "What to do: " in lines[1]
    assert admin.names("queues") == set(rungs)
    done = run(config, "declare", "--dry-run")
    _, first, *others = done.stderr.decode().splitlines()
    assert (done.returncode, first) == (1, "taskqueue: 9 of what exists has other settings")
    assert [line for line in others if "exists with other settings" in line] == others[:9]
    assert all(line.startswith("what to do: ") for line in others[9:])


def test_a_queue_that_an_application_declared_itself_is_explained(
    write: Write, channel: amqp.Channel
) -> None:
    """A classic work queue: publish only, or declare passively."""
    config = write("a")
    channel.queue_declare("a", durable=True, auto_delete=False)
    done = run(config, "declare")
    assert done.returncode == 1
    assert b"publish only or declare passively" in done.stderr


def test_a_queue_of_another_connection_is_a_conflict(admin: Admin, write: Write) -> None:
    """An exclusive queue can't even be looked at."""
    config = write("a")
    with connect(admin.url) as connection:
        connection.channel().queue_declare("a", exclusive=True, durable=True)
        conflicts = read(config, "declare", code=1)["conflicts"]
    assert [each["name"] for each in conflicts] == ["a"]
    assert "RESOURCE_LOCKED" in conflicts[0]["broker"]


def test_a_missing_permission_is_named(admin: Admin, write: Write) -> None:
    """The pattern that would do is in the message; the password is not."""
    config = write("a", server=admin.user("^b", "^b", "^b"))
    done = run(config, "declare")
    assert done.returncode == 1
    assert rb"^Q(\..*)?$" in done.stderr
    assert PASSWORD.encode() not in done.stderr
    with pytest.raises(BrokerRefused):
        declare(settings_of(config))


def test_one_permission_pattern_for_each_queue_is_enough(admin: Admin, write: Write) -> None:
    """The pattern of the contract covers everything that declare does."""
    pattern = r"^a(\..*)?$"
    config = write("a", server=admin.user(pattern, pattern, pattern))
    ran(config, "declare")
    assert_declared(admin, plan(settings_of(config).layout))


@pytest.mark.parametrize(
    ("server", "code", "told"),
    [
        ("amqp://guest:secret@127.0.0.1:1/", 3, "no broker at 127.0.0.1:1"),
        ("amqp://nobody:secret@{at}/", 3, "refused the login of user 'nobody'"),
        ("amqp://guest:guest@{at}/nowhere", 3, "may not use virtual host 'nowhere'"),
    ],
)
def test_a_broker_that_can_not_be_used_is_one_line(
    admin: Admin, write: Write, server: str, code: int, told: str
) -> None:
    """Which host, and what is wrong; never the password."""
    at = admin.url.rpartition("@")[2].partition("/")[0]
    done = run(write("a", server=server.format(at=at)), "declare")
    assert done.returncode == code
    assert told in done.stderr.decode()
    assert b"secret" not in done.stderr
    assert done.stderr.count(b"\n") == 1


def test_the_second_host_is_taken_where_the_first_is_down(admin: Admin, write: Write) -> None:
    """Each host is tried in turn."""
    config = write("a", server=f"amqp://guest:guest@127.0.0.1:1/, {admin.url}")
    ran(config, "declare")
    assert "a" in admin.names("queues")


def test_classic_queues_come_with_a_warning(write: Write) -> None:
    """A crash of the broker loses waiting tasks there."""
    assert b"loses waiting tasks" in run(write("a", queue_type="classic"), "declare", "--dry-run").stderr
    assert b"loses waiting tasks" not in run(write("a"), "declare", "--dry-run").stderr


def pruned(
    settings: Settings, found: Iterable[Leftover], progress: Progress | None = None
) -> list[str | None]:
    """Prune in this process, and tell of each why it has to stay."""

    async def work() -> list[str | None]:
        async with connected(settings, name="test") as session:
            return [each.busy for each in await prune(session, settings, found, progress)]

    return in_session(work())


def assert_as_before(admin: Admin, before: Plan) -> None:
    """Compare what the broker has with a former plan: nothing of it is gone, bindings included."""
    assert admin.names("queues") >= {queue.name for queue in before.queues}
    assert admin.names("exchanges") >= {exchange.name for exchange in before.exchanges}
    assert admin.bindings() >= {(each.exchange, each.queue, each.routing_key) for each in before.bindings}


def test_prune_removes_what_the_configuration_no_longer_names(admin: Admin, write: Write) -> None:
    """A queue that is gone from it, and the rungs and the exchange of a level that is."""
    former = write("a", "b", levels=3)
    ran(former, "declare")
    ran(former, "pause", "b")
    config = write("a", levels=2)
    ran(config, "declare", "--prune", "--dry-run")
    assert "b" in admin.names("queues")
    assert "removed  queue    b.wait.3s" in ran(config, "declare", "--prune")
    assert_declared(admin, plan(settings_of(config).layout))


@pytest.mark.parametrize(
    ("former", "now"),
    [
        ({"resolution": "0.01", "levels": 3}, {"resolution": "0.1", "levels": 2}),
        ({"resolution": "0.1", "levels": 2}, {"resolution": "1", "levels": 2}),
        ({"queue_type": "classic"}, {"queue_type": "classic", "levels": 1}),
    ],
)
def test_prune_removes_the_rungs_of_a_former_ladder(
    admin: Admin, write: Write, former: dict[str, Any], now: dict[str, Any]
) -> None:
    """What a changed resolution or number of levels has left, a level exchange with the last of its rungs."""
    ran(write("a", **former), "declare")
    config = write("a", **now)
    ran(config, "declare")
    ran(config, "declare", "--prune")
    assert_declared(admin, plan(settings_of(config).layout))


def test_prune_removes_a_level_whose_rungs_are_gone_already(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """As a prune leaves it that was killed between the two."""
    ran(write("a", levels=3), "declare")
    for digit in range(1, 10):
        channel.queue_delete(f"a.wait.{digit}0s")
    config = write("a", levels=2)
    assert "removed  exchange a.wait.10s" in ran(config, "declare", "--prune")
    assert_declared(admin, plan(settings_of(config).layout))


def test_prune_of_a_level_that_holds_a_task_keeps_that_level_and_its_ways(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """The task goes on through them; another level that is empty goes."""
    former = write("a", levels=4)
    ran(former, "declare")
    channel.basic_publish(message(), "", "a.wait.90s")
    eventually(lambda: count(channel, "a.wait.90s") == 1, "it is there")
    config = write("a", levels=2)
    told = ran(config, "declare", "--prune")
    assert "kept: queue 'a.wait.90s' holds 1 messages" in told
    assert "removed  exchange a.wait.100s" in told
    assert_declared(admin, plan(settings_of(write("a", levels=3)).layout))


def test_prune_keeps_what_holds_a_task(admin: Admin, write: Write, channel: amqp.Channel) -> None:
    """One task on a rung keeps all that it still needs on its way."""
    old = write("a", "b", levels=3)
    ran(old, "declare")
    before = plan(settings_of(old).layout)
    channel.basic_publish(message(), "", "b.wait.90s")
    config = write("a", levels=3)
    assert "b.wait.90s' holds 1 messages" in ran(config, "declare", "--prune")
    assert_as_before(admin, before)


def test_prune_keeps_what_has_a_consumer(admin: Admin, write: Write, channel: amqp.Channel) -> None:
    """Someone works on it: it is not ours to end that."""
    old = write("a", "b")
    ran(old, "declare")
    before = plan(settings_of(old).layout)
    channel.basic_consume("b", callback=lambda _: None)
    assert "b' has 1 consumers" in ran(write("a"), "declare", "--prune")
    assert_as_before(admin, before)


def test_prune_looks_again_right_before_it_removes(admin: Admin, write: Write, channel: amqp.Channel) -> None:
    """A task that came after the list was made, and a consumer of another queue: both keep all they need."""
    old = write("a", "b", "c", max_concurrency=2)
    ran(old, "declare")
    before = plan(settings_of(old).layout)
    settings = settings_of(write("a"))
    found = leftovers(settings)
    assert [(each.owner, each.busy) for each in found] == [("b", None), ("c", None)]
    channel.basic_publish(message(), "", "b.dead")
    eventually(lambda: count(channel, "b.dead") == 1, "it is there")
    channel.basic_consume("c", callback=lambda _: None)
    told = pruned(settings, found)
    assert told == ["queue 'b.dead' holds 1 messages", "queue 'c' has 1 consumers"]
    assert_as_before(admin, before)
    assert [count(channel, names.permits(queue)) for queue in "bc"] == [2, 2]


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
@pytest.mark.parametrize("step", ["unbinding", "looking"])
def test_prune_keeps_what_a_message_comes_to_meanwhile(
    admin: Admin, write: Write, channel: amqp.Channel, step: str, queue_type: str
) -> None:
    """However it came there: nothing is taken for empty on what was so a moment ago."""
    old = write("a", "b", queue_type=queue_type)
    ran(old, "declare")
    before = plan(settings_of(old).layout)
    settings = settings_of(write("a", queue_type=queue_type))
    rung = "b.wait.9s.classic" if queue_type == "classic" else "b.wait.9s"

    def publish(now: str, done: int, total: int) -> None:
        if now == step and done == total:
            channel.basic_publish(message(), "", rung)

    (told,) = pruned(settings, leftovers(settings), publish)
    assert told in {
        f"queue {rung!r} holds 1 messages",
        f"queue {rung!r} is in use",
        "queue 'b' holds 1 messages",
    }
    assert_as_before(admin, before)


@pytest.mark.parametrize("step", ["unbinding", "looking"])
def test_prune_loses_nothing_that_is_due_meanwhile_in_classic_queues(
    admin: Admin, write: Write, channel: amqp.Channel, step: str
) -> None:
    """A classic queue drops what has expired and finds no way."""
    old = write("a", "b", queue_type="classic")
    ran(old, "declare")
    before = plan(settings_of(old).layout)
    settings = settings_of(write("a", queue_type="classic"))
    found = leftovers(settings)

    def publish(now: str, done: int, total: int) -> None:
        if now == step and done == total:
            channel.basic_publish(message(), "", "b.wait.1s.classic")
            eventually(lambda: count(channel, "b.wait.1s.classic") == 0, "it is due")

    (told,) = pruned(settings, found, publish)
    assert told == "queue 'b' holds 1 messages"
    assert count(channel, "b") == 1
    assert_as_before(admin, before)


@pytest.mark.parametrize("late", [("c",), ("c", "c"), ("c.dead",), ("c.wait.9s",)])
def test_prune_keeps_what_a_message_comes_to_after_the_reports(
    admin: Admin, write: Write, channel: amqp.Channel, late: tuple[str, ...]
) -> None:
    """Straight to the queue: it is kept with all that belongs to it, and goes once it is empty."""
    old = write("a", "b", "c")
    ran(old, "declare")
    before = admin.names("queues"), admin.names("exchanges"), admin.bindings()
    settings = settings_of(write("a"))

    def publish(now: str, done: int, _total: int) -> None:
        # What is left of `b` is gone by now, so all reports were read.
        if (now, done) == ("pruning", 1):
            for queue in late:
                channel.basic_publish_confirm(message(), "", queue)

    first, told = pruned(settings, leftovers(settings), publish)
    assert first is None
    assert told in {
        f"queue {late[0]!r} got a message or a consumer meanwhile",
        f"queue {late[0]!r} holds 1 messages",
    }
    eventually(lambda: count(channel, late[0]) == len(late), "all of them are back in the queue")
    left = admin.names("queues"), admin.names("exchanges"), admin.bindings()
    assert left == (
        {name for name in before[0] if names.owner(name) != "b" and name != "b"},
        {name for name in before[1] if names.owner(name) != "b"},
        {way for way in before[2] if names.owner(way[0]) != "b"},
    )
    channel.queue_purge(late[0])
    eventually(lambda: pruned(settings, leftovers(settings)) == [None], "it is pruned")
    assert_declared(admin, plan(settings.layout))


def test_prune_keeps_a_queue_that_a_message_comes_to_while_its_rungs_are_deleted(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """The work queue goes last: what was published there meanwhile is kept, or was refused."""
    ran(write("a", "b", levels=4), "declare")
    settings = settings_of(write("a", levels=4))
    refused: list[int] = []

    def publish() -> None:
        eventually(lambda: "b.wait.900s" not in admin.names("queues"), "the first rung is deleted")
        with connect(admin.url) as connection:
            mine = connection.channel()
            mine.events["basic_return"].add(lambda error, *_: refused.append(error.code))
            mine.basic_publish_confirm(message(), "", "b", mandatory=True)

    publisher = threading.Thread(target=publish)
    publisher.start()
    (told,) = pruned(settings, leftovers(settings))
    publisher.join()
    assert (told is None) == bool(refused)
    if told:
        assert told == "queue 'b' got a message or a consumer meanwhile"
        eventually(lambda: count(channel, "b") == 1, "it is there")


def test_a_send_during_a_prune_is_refused_or_kept(write: Write) -> None:
    """Whoever still has the former ini is told by the broker, or has the queue back: no confirm is a lie."""
    old = write("a", "b", name="old")
    ran(old, "declare")
    settings = settings_of(write("a"))
    sent: list[str] = []

    def send(now: str, done: int, total: int) -> None:
        if now == "unbinding" and done == total:
            with Client.from_config(old) as client:
                for countdown in (0, 5):
                    try:
                        sent.append(client.send("/x", "b", countdown=countdown))
                    except TaskqueueError as error:
                        assert "not declared" in str(error)  # noqa: PT017

    (busy,) = pruned(settings, leftovers(settings), send)
    assert (busy is None) == (not sent)


def test_prune_keeps_what_an_interrupted_migration_needs(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """The tasks that it has put aside are those of a queue that the configuration does not name."""
    old = write("a", "b")
    ran(old, "declare")
    before = plan(settings_of(old).layout)
    channel.queue_declare("b.moving", durable=True, auto_delete=False)
    channel.basic_publish(message(), "", "b.moving")
    assert "b.moving' holds 1 messages" in ran(write("a"), "declare", "--prune")
    assert_as_before(admin, before)
    assert count(channel, "b.moving") == 1


def test_prune_leaves_alone_what_is_not_ours(admin: Admin, write: Write, channel: amqp.Channel) -> None:
    """Queues of others that are named alike stay, empty and unused as they are."""
    dead_lettering = {"x-dead-letter-exchange": "orders.dead"}
    channel.queue_declare("orders", durable=True, auto_delete=False, arguments=dead_lettering)
    channel.queue_declare("orders.dead", durable=True, auto_delete=False)
    channel.queue_declare("orders.wait.5s", durable=True, auto_delete=False)
    channel.exchange_declare("orders.dead", "fanout", durable=True, auto_delete=False)
    channel.exchange_declare("orders.wait.due", "fanout", durable=True, auto_delete=False)
    # One that is named as a rung of ours would be, and is none.
    channel.queue_declare("a.wait.5000s", durable=True, auto_delete=False)
    queues, exchanges = admin.names("queues"), admin.names("exchanges")
    config = write("a")
    ran(config, "declare", "--prune")
    planned = plan(settings_of(config).layout)
    assert admin.names("queues") == queues | {queue.name for queue in planned.queues}
    assert admin.names("exchanges") == exchanges | {exchange.name for exchange in planned.exchanges}


def test_prune_of_one_queue_leaves_the_others(admin: Admin, write: Write) -> None:
    """`--queue` names what is meant; another queue of the configuration is no leftover by that."""
    ran(write("a", "b", levels=3), "declare")
    config = write("a", "b", levels=2)
    ran(config, "declare", "--prune", "--queue", "a")
    assert "a.wait.20s" not in admin.names("queues")
    assert "b.wait.20s" in admin.names("queues")


def test_prune_says_that_it_needs_the_management_api(admin: Admin, write: Write) -> None:
    """AMQP can't list what exists; nothing is declared then either."""
    done = run(write("a", management_url=None), "declare", "--prune")
    assert done.returncode == 2
    assert b"management_url" in done.stderr
    assert admin.names("queues") == set()


def test_queues_that_share_a_ladder_have_two_queues_each(admin: Admin, write: Write) -> None:
    """One ladder for all of them, declared as it is planned; twice is once."""
    config = write("a", "b", "c", ladder="shared")
    planned = plan(settings_of(config).layout)
    assert "ladder shared: declared (22 queues" in ran(config, "declare")
    assert_declared(admin, planned)
    assert len(planned.queues) == 3 * 2 + 9 * 2 + 4
    second = read(config, "declare")
    assert {each["state"] for each in second["queues"] + second["exchanges"]} == {"exists"}
    assert_declared(admin, planned)


def test_a_queue_may_wait_on_the_ladder_of_another_one(admin: Admin, write: Write) -> None:
    """Then that one has no queue for what is lost: it gets it."""
    config = write("a", "b", ladder="a")
    ran(config, "declare")
    assert_declared(admin, plan(settings_of(config).layout))
    assert "a.wait.lost" not in admin.names("queues")


def test_a_message_that_names_no_queue_of_a_shared_ladder_is_kept_and_told(
    write: Write, channel: amqp.Channel
) -> None:
    """It stands in a queue of its own, and inspect says so."""
    config = write("a", "b", ladder="shared")
    ran(config, "declare")
    channel.basic_publish(message(), "shared.wait", "in>77s")
    eventually(lambda: count(channel, "shared.wait.lost") == 1, "the message in the queue of the lost")
    done = run(config, "inspect")
    assert done.returncode == 1
    assert b"shared: 1 messages name no queue of this ladder; they are in shared.wait.lost" in done.stderr


def collected(admin: Admin, queue: str, due: dict[str, float]) -> dict[str, list[float]]:
    """Take what comes to a queue until every id of `due` was there; gives when each came."""
    came: dict[str, list[float]] = {}
    with connect(admin.url) as connection:

        def received(taken: amqp.Message) -> None:
            came.setdefault(taken.properties["message_id"], []).append(time.time())

        channel = connection.channel()
        channel.basic_consume(queue, callback=received, no_ack=True)
        deadline = max(due.values()) + PATIENCE
        while due.keys() - came.keys():
            connection.drain_events(timeout=max(0.1, deadline - time.time()))
    return came


@pytest.mark.slow
def test_a_queue_moves_to_a_shared_ladder_and_back_by_a_plain_declare(admin: Admin, write: Write) -> None:
    """Tasks wait on all of them, sent by programs with either ini: nothing is lost, early or twice."""
    own, shared = write("a", "b", name="own"), write("a", "b", ladder="shared", name="shared")
    # Given tasks that wait while the ladders change, and senders that never learn of it
    due: dict[str, float] = {}

    def send(config: Path) -> None:
        now = time.time()
        tasks = {f"{len(due)}-{number}": now + random.uniform(0.1, 9.5) for number in range(100)}
        due.update(tasks)
        with Client.from_config(config) as client:
            client.send_many(
                [{"url": "/", "queue": "a", "id": each, "eta": at} for each, at in tasks.items()]
            )

    # When the queue moves there and back
    ran(own, "declare")
    send(own)
    ran(shared, "declare")
    for config in (shared, own):
        send(config)
    ran(own, "declare")
    for config in (shared, own):
        send(config)
    # Then each comes once and when it is due
    came = collected(admin, "a", due)
    assert Counter(len(times) for times in came.values()) == {1: len(due)}
    assert min(came[each][0] - int(at * 1000) / 1000 for each, at in due.items()) >= 0
    # And what is left of the shared ladder is pruned once it is empty
    eventually(lambda: "removed  exchange shared.wait\n" in ran(own, "declare", "--prune"), "it is pruned")
    assert_declared(admin, plan(settings_of(own).layout))


def test_prune_removes_what_a_queue_left_that_has_moved_to_a_shared_ladder(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """Its own rungs and level exchanges; a sender that still believes in them reaches the work queue."""
    own, shared = write("a", "b", name="own"), write("a", "b", ladder="shared", name="shared")
    ran(own, "declare")
    ran(shared, "declare", "--prune")
    assert_declared(admin, plan(settings_of(shared).layout))
    with Client.from_config(own) as client:
        client.send("/x", "a", countdown=9)
    eventually(lambda: count(channel, "a") == 1, "the task in its work queue, to be put on the shared ladder")


def test_prune_removes_a_queue_of_a_shared_ladder_and_loses_no_task_of_it(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """What waits for it on the ladder of all, or is sent to it by who does not know, is kept and told."""
    both = write("a", "b", ladder="shared", name="both")
    ran(both, "declare")
    one = write("a", ladder="shared", name="one")
    assert "removed  queue    b\n" in ran(one, "declare", "--prune")
    assert_declared(admin, plan(settings_of(one).layout))
    with Client.from_config(both) as client:
        client.send("/x", "b", countdown=1.2)
    eventually(lambda: count(channel, "shared.wait.lost") == 1, "the task in the queue of the lost")
    assert b"1 messages name no queue of this ladder" in run(one, "inspect").stderr


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_an_itinerary_leads_through_the_ladder_and_is_never_early(
    write: Write, channel: amqp.Channel, queue_type: str
) -> None:
    """1.2 s in two legs: the message stands in the work queue after it, not before, and as it was."""
    config = write("a", queue_type=queue_type)
    settings = settings_of(config)
    declare(settings)
    first, *others = settings.rungs.itinerary(settings.rungs.ticks(1200), "a")
    assert (first, *others) == ("in>1s", "1s>0.2s", "0.1s>due:a")
    arrived: list[tuple[float, bytes]] = []
    channel.basic_consume("a", callback=lambda taken: arrived.append((time.monotonic(), taken.body)))
    sent = time.monotonic()
    way = amqp.Message(b"body", delivery_mode=2, application_headers={"CC": others})
    channel.basic_publish(way, "a.wait", first, mandatory=True)
    while not arrived:
        channel.connection.drain_events(timeout=20)
    assert arrived[0][1] == b"body"
    assert 1.2 <= arrived[0][0] - sent < 15


def test_what_a_consumer_rejects_ends_in_the_dead_queue(write: Write, channel: amqp.Channel) -> None:
    """The broker's own way to the dead queue, which a task over its delivery limit takes."""
    config = write("a")
    declare(settings_of(config))
    channel.basic_publish(message(b"body"), "", "a", mandatory=True)
    channel.basic_consume("a", callback=lambda taken: channel.basic_reject(taken.delivery_tag, requeue=False))
    channel.connection.drain_events(timeout=20)
    eventually(lambda: count(channel, "a.dead") == 1, "a dead message")
