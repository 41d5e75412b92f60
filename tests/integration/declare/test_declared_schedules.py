"""What `declare` makes of schedules in the broker: once, again, shared ladders, and what is pruned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from amqp import Message as Content

from taskqueue.topology import names
from tests.conftest import connect
from tests.support.admin import Admin
from tests.support.command import ran, read, run
from tests.support.reports import outdated
from tests.support.stage import eventually

Write = Callable[..., Path]


@pytest.fixture
def write(admin: Admin, tmp_path: Path) -> Write:
    """Give a writer of configurations: keys of each queue, and of each schedule."""

    def write(
        queues: dict[str, dict[str, Any]], schedules: dict[str, str], management_url: str | None = None
    ) -> Path:
        management_url = management_url or admin.management_url
        lines = [f"server = {admin.url}", f"management_url = {management_url}", "levels = 2"]
        for queue, keys in queues.items():
            lines += [f"[{queue}]", *(f"{key} = {value}" for key, value in keys.items())]
        for schedule, queue in schedules.items():
            lines += [f"[schedule:{schedule}]", f"queue = {queue}", "cron = @daily", "url = http://h/x"]
        path = tmp_path / "taskqueue.ini"
        path.write_text("\n".join(lines))
        return path

    return write


def states(path: Path) -> dict[str, str]:
    """Declare, and give what became of each schedule."""
    return {each["name"]: each["state"] for each in read(path, "declare")["schedules"]}


def test_schedules_of_queues_on_a_shared_ladder_are_declared_once_and_kept(
    admin: Admin, write: Write
) -> None:
    """Two queues for each queue that has schedules; a second declare changes nothing."""
    queues = {name: {"ladder": "crowd"} for name in ("a", "b", "c")}
    path = write(queues, {"one": "a", "two": "a", "three": "b"})
    assert states(path) == {"one": "added", "two": "added", "three": "added"}
    expected = {name for queue in "ab" for name in (names.schedule(queue), names.wake(queue))}
    assert {name for name in admin.names("queues") if ".schedule" in name} == expected
    assert states(path) == {"one": "kept", "two": "kept", "three": "kept"}
    assert {each["name"] for each in read(path, "schedule", "list")} == {"one", "two", "three"}
    path = write(queues, {"one": "a", "two": "c"})
    assert states(path) == {"one": "kept", "two": "added", "three": "removed"}
    assert {(each["name"], each["queue"]) for each in read(path, "schedule", "list")} == {
        ("one", "a"), ("two", "c"),
    }  # fmt: skip


@pytest.mark.slow
def test_a_queue_is_pruned_with_its_schedules_queues_and_not_while_it_has_any(
    admin: Admin, write: Write
) -> None:
    """What still is due some day is no leftover."""
    ran(write({"a": {}, "b": {}}, {"nightly": "b"}), "declare")
    told = ran(write({"a": {}}, {}), "declare", "--prune")
    assert "b: no longer in the configuration, and kept" in told
    assert "nightly" in told or "holds 1 messages" in told
    assert names.schedule("b") in admin.names("queues")
    ran(write({"a": {}, "b": {}}, {}), "declare")
    with connect(admin.url) as connection:
        channel = connection.channel()
        # The wake-up that was on its way has nothing to say any more.
        eventually(
            lambda: bool(channel.queue_declare(names.wake("b"), passive=True).message_count), "the wake-up"
        )
        path = write({"a": {}}, {})
        # Somebody holds the book, though it says nothing any more.
        channel.basic_get(names.schedule("b"))
        before = admin.names("queues"), admin.bindings()

        def kept() -> bool:
            done = run(path, "declare", "--prune")
            return done.returncode == 1 and b"stands still" in done.stdout

        # The management API knows of an empty rung some seconds later.
        eventually(kept, "the queue is kept, as nobody knows")
        assert (admin.names("queues"), admin.bindings()) == before
    with connect(admin.url) as connection:
        channel = connection.channel()
        channel.basic_publish(Content(b"{}"), "", names.wake("b"))
        # Somebody holds what is none of ours: whoever asks for the head of that queue finds it empty.
        eventually(lambda: channel.basic_get(names.wake("b")) is not None, "it is taken")
        assert f"kept: queue '{names.wake('b')}'" in ran(path, "declare", "--prune")
        assert (admin.names("queues"), admin.bindings()) == before
    assert "holds a message that is none of ours" in ran(path, "declare", "--prune")
    with connect(admin.url) as connection:
        connection.channel().queue_purge(names.wake("b"))

    def pruned() -> bool:
        return [left["busy"] for left in read(path, "declare", "--prune")["leftovers"]] == [None]

    eventually(pruned, "the queue is pruned")
    assert not [name for name in admin.names("queues") if name.startswith("b")]


@pytest.mark.slow
def test_a_queue_of_wake_ups_is_kept_that_a_message_comes_to_after_the_report(
    admin: Admin, write: Write
) -> None:
    """Whatever it is: it is looked at by the next prune, and told."""
    ran(write({"a": {}, "b": {}}, {"nightly": "b"}), "declare")
    ran(write({"a": {}, "b": {}}, {}), "declare")

    def prunable() -> bool:
        (left,) = read(write({"a": {}}, {}), "declare", "--prune", "--dry-run")["leftovers"]
        return left["busy"] is None

    def came() -> bool:
        with connect(admin.url) as connection:
            return bool(connection.channel().queue_declare(names.wake("b"), passive=True).message_count)

    eventually(came, "the wake-up is there that was on its way")
    # The management API knows of an empty rung some seconds later.
    eventually(prunable, "the ladder is empty")

    def publish() -> None:
        with connect(admin.url) as connection:
            connection.channel().basic_publish_confirm(Content(b"{}", delivery_mode=2), "", names.wake("b"))

    with outdated(admin.management_url, names.wake("b"), 1, publish) as url:
        told = ran(write({"a": {}}, {}, url), "declare", "--prune")
    assert f"kept: queue '{names.wake('b')}' got a message or a consumer meanwhile" in told
    path = write({"a": {}}, {})
    assert "holds a message that is none of ours" in ran(path, "declare", "--prune")
