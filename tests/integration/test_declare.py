"""`taskqueue declare` on a real broker: all or nothing, again and again, and what it says."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import amqp
import pytest

from sandbox.broker import Server
from taskqueue.errors import BrokerRefused, TopologyConflict
from taskqueue.settings import Settings, parse
from taskqueue.topology.declare import crew, declare, silent
from taskqueue.topology.plan import Plan, plan
from taskqueue.topology.prune import leftovers, prune
from tests.conftest import connect
from tests.integration.admin import PASSWORD, Admin
from tests.integration.command import ran, read, run
from tests.integration.stage import eventually

Write = Callable[..., Path]


@pytest.fixture
def admin(broker: Server) -> Iterator[Admin]:
    """Give a virtual host of the test's own."""
    admin = Admin(broker)
    yield admin
    admin.close()


@pytest.fixture
def write(admin: Admin, tmp_path: Path) -> Write:
    """Give a writer of configurations; the keyword arguments are global keys."""

    def write(*queues: str, **keys: Any) -> Path:
        values = {"server": admin.url, "management_url": admin.management_url, "levels": 2} | keys
        lines = [f"{key} = {value}" for key, value in values.items() if value is not None]
        path = tmp_path / "taskqueue.ini"
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
    for queue in planned.queues:
        assert admin.arguments(queue.name) == dict(queue.arguments)


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_declare_creates_the_plan_and_a_second_one_changes_nothing(
    admin: Admin, write: Write, queue_type: str
) -> None:
    """Twice the same command: the same topology, exit code 0."""
    config = write("a", "b.c", queue_type=queue_type)
    planned = plan(settings_of(config))
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
    assert_declared(admin, plan(settings_of(config)))


def test_a_dry_run_prints_the_plan_and_changes_nothing(admin: Admin, write: Write) -> None:
    """Each line names one thing; nothing of it is there afterwards."""
    config = write("a")
    printed = ran(config, "declare", "--dry-run")
    assert "missing  queue    a.wait.0.3s" in printed
    assert "a.wait.0.1s --0.1s>3s--> a.wait.3s" in printed
    assert admin.names("queues") == set()
    document = read(config, "declare", "--dry-run")
    assert document["applied"] is False
    assert len(document["queues"]) == 9 * 2 + 2
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
    assert_declared(admin, plan(settings_of(config)))


@pytest.mark.parametrize(
    ("server", "code", "told"),
    [
        ("amqp://guest:secret@127.0.0.1:1/", 3, "no broker at 127.0.0.1:1"),
        ("amqp://nobody:secret@{at}/", 3, "refused the login of user 'nobody'"),
        ("amqp://guest:guest@{at}/nowhere", 1, "may not use virtual host 'nowhere'"),
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


def test_prune_removes_what_the_configuration_no_longer_names(admin: Admin, write: Write) -> None:
    """A queue that is gone from it, and the rungs of a level that is."""
    ran(write("a", "b", levels=3), "declare")
    config = write("a", levels=2)
    ran(config, "declare", "--prune", "--dry-run")
    assert "b" in admin.names("queues")
    assert "removed  queue    b.wait.3s" in ran(config, "declare", "--prune")
    assert_declared(admin, plan(settings_of(config)))


def test_prune_keeps_what_holds_a_task(admin: Admin, write: Write, channel: amqp.Channel) -> None:
    """One task on a rung keeps all that it still needs on its way."""
    old = write("a", "b", levels=3)
    ran(old, "declare")
    before = admin.names("queues")
    channel.basic_publish(amqp.Message(b"{}", delivery_mode=2), "", "b.wait.90s")
    config = write("a", levels=3)
    assert "b.wait.90s' holds 1 messages" in ran(config, "declare", "--prune")
    assert admin.names("queues") == before


def test_prune_keeps_what_has_a_consumer(admin: Admin, write: Write, channel: amqp.Channel) -> None:
    """Someone works on it: it is not ours to end that."""
    ran(write("a", "b"), "declare")
    before = admin.names("queues")
    channel.basic_consume("b", callback=lambda _: None)
    assert "b' has 1 consumers" in ran(write("a"), "declare", "--prune")
    assert admin.names("queues") == before


def test_prune_looks_again_right_before_it_removes(admin: Admin, write: Write, channel: amqp.Channel) -> None:
    """A task that came after the list was made, and a consumer of another queue: both keep all they need."""
    ran(write("a", "b", "c"), "declare")
    before = admin.names("queues")
    settings = settings_of(write("a"))
    found = leftovers(settings)
    assert [(each.owner, each.busy) for each in found] == [("b", None), ("c", None)]
    channel.basic_publish(amqp.Message(b"{}", delivery_mode=2), "", "b.dead")
    eventually(lambda: channel.queue_declare("b.dead", passive=True).message_count == 1, "it is there")
    channel.basic_consume("c", callback=lambda _: None)
    told = [each.busy for each in prune(crew(settings, silent), found)]
    assert told == ["queue 'b.dead' holds 1 messages", "queue 'c' has 1 consumers"]
    assert admin.names("queues") == before


def test_prune_keeps_what_an_interrupted_migration_needs(
    admin: Admin, write: Write, channel: amqp.Channel
) -> None:
    """The tasks that it has put aside are those of a queue that the configuration does not name."""
    ran(write("a", "b"), "declare")
    channel.queue_declare("b.moving", durable=True, auto_delete=False)
    channel.basic_publish(amqp.Message(b"{}", delivery_mode=2), "", "b.moving")
    before = admin.names("queues")
    assert "b.moving' holds 1 messages" in ran(write("a"), "declare", "--prune")
    assert admin.names("queues") == before


def test_prune_leaves_alone_what_is_not_ours(admin: Admin, write: Write, channel: amqp.Channel) -> None:
    """Queues of others that are named alike stay, empty and unused as they are."""
    dead_lettering = {"x-dead-letter-exchange": "orders.dead"}
    channel.queue_declare("orders", durable=True, auto_delete=False, arguments=dead_lettering)
    channel.queue_declare("orders.dead", durable=True, auto_delete=False)
    channel.queue_declare("orders.wait.5s", durable=True, auto_delete=False)
    channel.exchange_declare("orders.dead", "fanout", durable=True, auto_delete=False)
    queues, exchanges = admin.names("queues"), admin.names("exchanges")
    config = write("a")
    ran(config, "declare", "--prune")
    planned = plan(settings_of(config))
    assert admin.names("queues") == queues | {queue.name for queue in planned.queues}
    assert admin.names("exchanges") == exchanges | {exchange.name for exchange in planned.exchanges}


def test_prune_says_that_it_needs_the_management_api(admin: Admin, write: Write) -> None:
    """AMQP can't list what exists; nothing is declared then either."""
    done = run(write("a", management_url=None), "declare", "--prune")
    assert done.returncode == 2
    assert b"management_url" in done.stderr
    assert admin.names("queues") == set()


@pytest.mark.parametrize("queue_type", ["quorum", "classic"])
def test_an_itinerary_leads_through_the_ladder_and_is_never_early(
    write: Write, channel: amqp.Channel, queue_type: str
) -> None:
    """1.2 s in two legs: the message stands in the work queue after it, not before, and as it was."""
    config = write("a", queue_type=queue_type)
    settings = settings_of(config)
    declare(settings)
    first, *others = settings.ladder.itinerary(settings.ladder.ticks(1200))
    assert (first, *others) == ("in>0.2s", "0.1s>1s", "1s>due")
    arrived: list[tuple[float, bytes]] = []
    channel.basic_consume("a", callback=lambda message: arrived.append((time.monotonic(), message.body)))
    sent = time.monotonic()
    message = amqp.Message(b"body", delivery_mode=2, application_headers={"CC": others})
    channel.basic_publish(message, "a.wait", first, mandatory=True)
    while not arrived:
        channel.connection.drain_events(timeout=20)
    assert arrived[0][1] == b"body"
    assert 1.2 <= arrived[0][0] - sent < 15


def test_what_a_consumer_rejects_ends_in_the_dead_queue(write: Write, channel: amqp.Channel) -> None:
    """The broker's own way to the dead queue, which a task over its delivery limit takes."""
    config = write("a")
    declare(settings_of(config))
    channel.basic_publish(amqp.Message(b"body", delivery_mode=2), "", "a", mandatory=True)
    channel.basic_consume(
        "a", callback=lambda message: channel.basic_reject(message.delivery_tag, requeue=False)
    )
    channel.connection.drain_events(timeout=20)
    eventually(lambda: channel.queue_declare("a.dead", passive=True).message_count == 1, "a dead message")
