"""Policies of an operator on what is ours: `check` shows what they break, and a dead queue loses nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import amqp
import pytest

from sandbox.receiver import Receiver
from taskqueue.declare.apply import declare
from taskqueue.settings import parse
from tests.conftest import connect
from tests.support.admin import Admin
from tests.support.command import ran, run
from tests.support.stage import Stage, eventually

BREAKING: tuple[tuple[str, dict[str, Any], str], ...] = (
    (r"^a\.dead$", {"max_length": 3}, "max-length = 3 on queue a.dead: a full queue takes no more tasks"),
    (r"^a$", {"message_ttl": 60000}, "message-ttl = 60000 on queue a: tasks that stay longer are dead"),
    (r"^b\.dead$", {"expires": 600000}, "expires = 600000 on queue b.dead: the queue is deleted"),
    (r"^shared\.wait\.0\.2s$", {"delivery_limit": 5}, "delivery-limit = 5 on queue shared.wait.0.2s"),
    (r"^shared\.wait\.lost$", {"overflow": "drop-head"}, "overflow = drop-head on queue shared.wait"),
    (r"^b\.dead$", {"alternate_exchange": "x"}, "alternate-exchange = x on exchange b.dead"),
    (r"^a\.moving$", {"max_length_bytes": 3}, "max-length-bytes = 3 on queue a.moving"),
    (r"^a\.wait\.1s$", {"max_length": 7}, "max-length = 7 on queue a.wait.1s"),
)
"""Patterns, definitions, and what is told of each; `check` tells three at most."""


@pytest.fixture
def config(admin: Admin, tmp_path: Path) -> Path:
    """Give a configuration that is declared: a queue with a ladder of its own, and one on a shared ladder."""
    lines = [f"server = {admin.url}", f"management_url = {admin.management_url}", "levels = 1"]
    path = tmp_path / "taskqueue.ini"
    path.write_text("\n".join([*lines, "[a]", "[b]", "ladder = shared", ""]))
    declare(parse(path.read_text(), source="test", environ={}))
    return path


def found(config: Path) -> dict[str, Any]:
    """Give what `check` says of policies, whatever its exit code."""
    document = json.loads(run(config, "check", "--json").stdout)
    (policies,) = [each for each in document["checks"] if each["check"] == "policies"]
    return dict(policies)


@pytest.mark.parametrize("policies", [BREAKING[:3], BREAKING[3:6], BREAKING[6:]], ids=range(3))
def test_check_shows_what_policies_break(
    admin: Admin, config: Path, policies: tuple[tuple[str, dict[str, Any], str], ...]
) -> None:
    """On whatever is ours, be it a parking queue or a former rung, and however recently they were set."""
    with connect(admin.url) as connection:
        for name in ("a.moving", "a.wait.1s"):
            connection.channel().queue_declare(
                name, durable=True, auto_delete=False, arguments={"x-queue-type": "quorum"}
            )
    for number, (pattern, definition, _) in enumerate(policies):
        admin.policy(pattern, name=f"test-{number}", **definition)
    told = found(config)
    assert told["ok"] is False
    assert [words for *_, words in policies if words not in told["detail"]] == []
    for number in range(len(policies)):
        admin.drop_policy(f"test-{number}")
    assert found(config)["ok"] is True


def test_an_operator_policy_counts_too(admin: Admin, config: Path) -> None:
    """The smaller of both limits is in effect."""
    admin.policy(r"^a\.dead$", max_length=5)
    admin.policy(r"^a\.dead$", operator=True, max_length=3)
    assert "max-length = 3 on queue a.dead" in found(config)["detail"]


def test_what_a_policy_does_not_change_is_fine(admin: Admin, config: Path) -> None:
    """Arguments protect against it, or it belongs to somebody else's queues."""
    ran(config, "pause", "a", "--for", "1h")
    admin.policy("^other", max_length=3)
    assert found(config)["ok"] is True
    admin.policy(
        "", dead_letter_exchange="x", dead_letter_strategy="at-most-once", delivery_limit=2_000_000_000
    )
    every = ("a", "a.dead", "a.wait.0.3s", "a.paused", "a.paused.note")
    eventually(
        lambda: all("delivery-limit" in admin.policy_of(queue) for queue in every), "the policy in effect"
    )
    assert (found(config)["ok"], found(config)["detail"]) == (True, "none breaks anything")


def test_without_the_management_api_policies_are_not_known(config: Path) -> None:
    """It is said, and no failure."""
    lines = [line for line in config.read_text().splitlines() if "management_url" not in line]
    config.write_text("\n".join(lines))
    policies = found(config)
    assert (policies["state"], policies["ok"]) == ("unknown", True)
    assert policies["detail"] == "AMQP does not tell them"
    assert "management_url" in policies["advice"]


def test_a_dead_queue_that_a_policy_limits_loses_nothing(
    admin: Admin, staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """What finds no room stays with its consumer, or in the work queue, until there is some."""
    receiver.answer("/x", 500)
    stage = staged(server=admin.url)
    admin.policy(r"\.dead$", max_length=3)
    ids = {f"m-{number}" for number in range(10)}
    process = stage.run()
    for task_id in ids:
        stage.publish({"url": "/x", "max_retries": 1}, message_id=task_id)
    process.wait_for("refused by the broker (nack)")
    process.kill()
    admin.drop_policy()
    stage.consume()
    # One whose dead copy was taken a moment before the kill may be there twice.
    found: set[str | None] = set()
    while found != ids:
        ((_, _, properties),) = stage.dead()
        found.add(properties.message_id)
    stage.settle()


def test_what_the_broker_itself_dead_letters_finds_no_room_and_is_kept(
    admin: Admin, staged: Callable[..., Stage]
) -> None:
    """At-least-once: the work queue holds it until somebody takes away what is dead."""
    stage = staged(server=admin.url)
    admin.policy(r"\.dead$", max_length=3)
    with connect(admin.url) as connection:
        channel = connection.channel()
        for number in range(10):
            body = amqp.Message(b"{}", delivery_mode=2, message_id=f"m-{number}", expiration="1")
            channel.basic_publish(body, "", stage.name, mandatory=True)
    eventually(lambda: stage.depth(f"{stage.name}.dead") >= 3, "a full dead queue")
    assert len({properties.message_id for _, _, properties in stage.dead(10)}) == 10
