"""What `declare` and `check` make of limits over machines: permits once, what is pruned, and the rights."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amqp import Message as Content

from sandbox.receiver import Receiver
from taskqueue.limit import read_permit
from taskqueue.task.message import Message
from taskqueue.topology import names
from tests.conftest import connect
from tests.support.admin import Admin
from tests.support.command import ran, read, run
from tests.support.stage import PATIENCE, Process, eventually

Write = Callable[..., Path]


@pytest.fixture
def write(admin: Admin, tmp_path: Path) -> Write:
    """Give a writer of configurations; the keyword arguments are global keys."""

    def write(*queues: str, server: str = admin.url, **keys: Any) -> Path:
        lines = [f"server = {server}", f"management_url = {admin.management_url}", "levels = 1"]
        lines += [f"{key} = {value}" for key, value in keys.items()]
        path = tmp_path / "taskqueue.ini"
        path.write_text("\n".join([*lines, *(f"[{queue}]" for queue in queues), ""]))
        return path

    return write


def permits(admin: Admin, queue: str) -> list[int]:
    """Give the numbers of the permits that are there, in order."""
    found = []
    with connect(admin.url) as connection:
        channel = connection.channel()
        while (message := channel.basic_get(names.permits(queue))) is not None:
            permit = read_permit(
                Message(message.body if isinstance(message.body, bytes) else message.body.encode())
            )
            found.append(-1 if permit is None else permit.number)
    return sorted(found)


def test_permits_are_issued_once_and_a_lower_limit_takes_none_away(admin: Admin, write: Write) -> None:
    """Declared again nothing changes; a queue that is gone is made anew with all of them."""
    ran(write("a", max_concurrency=3), "declare")
    ran(write("a", max_concurrency=3), "declare")
    assert permits(admin, "a") == [0, 1, 2]
    ran(write("a", max_concurrency=1), "declare")
    ran(write("a", max_concurrency=5), "declare")
    assert permits(admin, "a") == [0, 1, 2, 3, 4]
    with connect(admin.url) as connection:
        connection.channel().queue_delete(names.permits("a"))
    ran(write("a", max_concurrency=5), "declare")
    assert permits(admin, "a") == [0, 1, 2, 3, 4]


def test_the_queues_of_limits_are_pruned_with_their_queue(admin: Admin, write: Write) -> None:
    """A permit stands for no task, so it holds up nothing."""
    limits = {"max_concurrency": 2, "rate": "5/s"}
    ran(write("a", "b", **limits), "declare")
    ran(write("a", **limits), "declare", "--prune")
    assert {name for name in admin.names("queues") if name.startswith("b")} == set()
    assert "b.limit" not in admin.names("exchanges")
    assert permits(admin, "a") == [0, 1]


@pytest.mark.slow
def test_a_consumer_of_a_paused_queue_outlives_its_prune(
    admin: Admin, write: Write, receiver: Receiver
) -> None:
    """Nothing tells of it but its connection, as it takes neither tasks nor permits: so nothing is lost.

    With probes there is a consumer of its ladder, and the queue is busy as soon as the API knows of that.
    """
    limits = {"max_concurrency": 2, "base_url": receiver.url, "probe": "off"}
    both = write("a", "b", **limits)

    def pruned(config: Path) -> bool:
        (found,) = read(config, "declare", "--prune")["leftovers"]
        print(found)  # noqa: T201 what holds it up, where it never is
        return found["busy"] is None

    ran(both, "declare")
    consumer = Process("run", "--config", str(both))
    try:
        consumer.wait_for("consuming from b")
        ran(both, "pause", "b")
        consumer.wait_for("b: paused")
        alone = write("a", **limits)
        # The management API knows some seconds later that nobody consumes.
        eventually(lambda: pruned(alone), "the queue is pruned")
        assert {name for name in admin.names("queues") if name.startswith("b")} == set()
        ran(write("a", "b", **limits), "declare")
        ran(both, "send", "b", "/x")
        receiver.wait_for(1, timeout=PATIENCE)
    finally:
        consumer.stop()


@pytest.mark.parametrize("place", [names.limit("b"), names.permits("b")])
def test_what_is_none_of_ours_is_not_pruned(admin: Admin, write: Write, place: str) -> None:
    """It may be a task: whoever prunes is told where it is."""
    ran(write("a", "b", max_concurrency=2), "declare")
    with connect(admin.url) as connection:
        connection.channel().basic_publish(Content(b'{"url": "/x"}'), "", place)
    printed = ran(write("a", max_concurrency=2), "declare", "--prune")
    assert f"queue '{place}' holds a message that is none of ours" in printed
    assert place in admin.names("queues")


def test_check_tells_what_a_consumer_may_not_read_for_its_limits(admin: Admin, write: Write) -> None:
    """And that a limit is not declared; such a consumer ends with what it needs."""
    path = write("a", max_concurrency=2, rate="5/s")
    ran(path, "declare")
    assert read(path, "check")["ok"]
    everything, some = r"^a(\..*)?$", r"^a$|^a\.(wait|dead)(\..*)?$"
    path = write("a", server=admin.user(everything, everything, some), max_concurrency=2, rate="5/s")
    checks = read(path, "check", code=1)["checks"]
    told = next(each["detail"] for each in checks if each["check"] == "permissions")
    for name in ("a.limit.rate", "a.limit", "a.limit.permits"):
        assert f"no read permission on {name}" in told
    refused = run(path, "run")
    assert refused.returncode == 1
    assert (
        "the user needs read permission on a.limit.rate, a.limit, a.limit.permits" in refused.stderr.decode()
    )
    with connect(admin.url) as connection:
        connection.channel().queue_delete(names.members("a"))
    checks = read(write("a", max_concurrency=2, rate="5/s"), "check", code=1)["checks"]
    assert next(each["detail"] for each in checks if each["check"] == "declared") == (
        "missing: queue a.limit.rate"
    )
