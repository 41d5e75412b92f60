"""What a policy breaks of what is ours, and what the arguments that are declared protect against."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from taskqueue.broker.management import Policies
from taskqueue.declare.policies import due, harms
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.pause import PAUSE_NOTE, pause_queue
from taskqueue.topology.plan import CLASSIC, KEPT, QUORUM, Exchange, Layout, Queue, plan

ITEMS = {
    queue_type: {
        (item.kind, item.name): item
        for item in plan(Layout({"a": "a", "b": "shared"}, Ladder(Decimal("0.1"), 2), queue_type)).items
    }
    for queue_type in (QUORUM, CLASSIC)
}
LIMIT = {"max-length": 3}
DROPS = {"overflow": "drop-head"}
REFUSES = {"overflow": "reject-publish"}


@pytest.mark.parametrize(
    ("queue_type", "name", "policy", "effects"),
    [
        (QUORUM, "a.dead", {}, {}),
        (QUORUM, "a.dead", LIMIT, {"max-length": "takes no more"}),
        (QUORUM, "a.dead", {"max-length-bytes": 3}, {"max-length-bytes": "takes no more"}),
        (QUORUM, "a.dead", LIMIT | REFUSES, {"max-length": "takes no more"}),
        (QUORUM, "a.dead", LIMIT | DROPS, {"max-length": "are deleted", "overflow": "no longer refuses"}),
        (QUORUM, "a.dead", LIMIT | {"overflow": "reject-publish-dlx"},
         {"max-length": "are deleted", "overflow": "no longer refuses"}),
        (QUORUM, "a", DROPS, {"overflow": "may get lost"}),
        (QUORUM, "a", LIMIT, {"max-length": "takes no more"}),
        (QUORUM, "a.wait.3s", LIMIT | DROPS, {"max-length": "go on early", "overflow": "may get lost"}),
        (CLASSIC, "a", LIMIT, {"max-length": "without their roll_back"}),
        (CLASSIC, "a", DROPS, {}),
        (CLASSIC, "a.wait.3s.classic", LIMIT, {"max-length": "go on early"}),
        (CLASSIC, "a.wait.3s.classic", LIMIT | REFUSES, {"max-length": "takes no more"}),
        (CLASSIC, "a.dead", LIMIT, {"max-length": "takes no more"}),
        (QUORUM, "a.dead", {"message-ttl": 5}, {"message-ttl": "are deleted"}),
        (QUORUM, "shared.wait.lost", {"message-ttl": 5}, {"message-ttl": "are deleted"}),
        (QUORUM, "a.wait.looked", {"delivery-limit": 5, "message-ttl": 5} | LIMIT | DROPS, {}),
        (QUORUM, "a.wait.looked", REFUSES, {"overflow": "stays there"}),
        (QUORUM, "a.wait.looked", {"expires": 5}, {"expires": "is deleted"}),
        (QUORUM, "a", {"message-ttl": 5}, {"message-ttl": "without their roll_back"}),
        (QUORUM, "a.wait.3s", {"message-ttl": 2999}, {"message-ttl": "go on early"}),
        (QUORUM, "a.wait.3s", {"message-ttl": 3000}, {}),
        (QUORUM, "a.wait.3s", {"expires": 5}, {"expires": "is deleted"}),
        (CLASSIC, "a", {"expires": 5}, {"expires": "is deleted"}),
        (QUORUM, "a", {"delivery-limit": 5}, {"delivery-limit": "without their roll_back"}),
        (QUORUM, "a", {"delivery-limit": 2_000_000_000}, {}),
        (QUORUM, "a", {"delivery-limit": -1}, {}),
        (QUORUM, "a.dead", {"delivery-limit": 0}, {"delivery-limit": "are deleted"}),
        (QUORUM, "a.wait.3s", {"dead-letter-routing-key": "x"},
         {"dead-letter-routing-key": "lose their way"}),
        (QUORUM, "a", {"dead-letter-routing-key": "x", "dead-letter-exchange": "y"}, {}),
        (QUORUM, "a.dead", {"dead-letter-exchange": "y", "dead-letter-strategy": "at-most-once"}, {}),
        (CLASSIC, "a", {"queue-mode": "lazy", "queue-version": 2}, {}),
        (QUORUM, "a", {"queue-leader-locator": "balanced", "max-in-memory-length": 0}, {}),
    ],
)  # fmt: skip
def test_what_a_policy_does_to_a_queue_is_told(
    queue_type: str, name: str, policy: dict[str, Any], effects: dict[str, str]
) -> None:
    """The smaller number counts, else the argument, but for overflow."""
    item = ITEMS[queue_type]["queue", name]
    found = {harm.key: harm for harm in harms(item, policy)}
    assert found.keys() == effects.keys()
    for key, words in effects.items():
        assert words in found[key].effect
        assert str(found[key]).startswith(f"{key} = {policy[key]} on queue {name}: ")


@pytest.mark.parametrize("queue_type", [QUORUM, CLASSIC])
def test_an_alternate_exchange_matters_where_none_is_declared(queue_type: str) -> None:
    """Where one is, the argument counts."""
    every = [item for item in ITEMS[queue_type].values() if isinstance(item, Exchange)]
    found = {item.name for item in every if list(harms(item, {"alternate-exchange": "x"}))}
    control = {"a.wait.control", "b.wait.control", "shared.wait.control"}
    assert found == {"a.dead", "b.dead", "shared.wait.lost"} | control
    assert not any(list(harms(item, LIMIT | {"expires": 5})) for item in every)


def policy(priority: int, pattern: str = "^a", to: str = "all", **definition: Any) -> dict[str, Any]:
    """Write a policy as the management API does; the keyword arguments are its keys, with _ for -."""
    keys = {key.replace("_", "-"): value for key, value in definition.items()}
    return {"pattern": pattern, "apply-to": to, "priority": priority, "definition": keys}


A, DEAD = Queue("a", {"x-queue-type": QUORUM}), Queue("a.dead", {"x-queue-type": CLASSIC})


@pytest.mark.parametrize(
    ("queue", "policies", "operators", "expected"),
    [
        (A, [], [], {}),
        (A, [policy(0, max_length=3)], [], {"max-length": 3}),
        (A, [policy(0, max_length=3), policy(5, expires=7)], [], {"expires": 7}),
        (A, [policy(-1, "", max_length=3), policy(9, "^b", expires=7)], [], {"max-length": 3}),
        (A, [policy(0, to="exchanges", max_length=3)], [], {}),
        (A, [policy(0, to="queues", max_length=3)], [], {"max-length": 3}),
        (A, [policy(9, to="classic_queues", expires=7), policy(0, to="quorum_queues", max_length=3)], [],
         {"max-length": 3}),
        (DEAD, [policy(9, to="classic_queues", expires=7)], [], {"expires": 7}),
        (DEAD, [policy(0, r"\.dead$", max_length=3), policy(0, "^a$", expires=7)], [], {"max-length": 3}),
        (A, [policy(0, max_length=3, overflow="drop-head")], [policy(0, max_length=5, message_ttl=9)],
         {"max-length": 3, "overflow": "drop-head", "message-ttl": 9}),
        (A, [policy(0, max_length=5)], [policy(0, max_length=3)], {"max-length": 3}),
        (A, [policy(0, overflow="drop-head")], [policy(0, overflow="reject-publish")],
         {"overflow": "reject-publish"}),
        # PCRE has patterns that Python can't read.
        (A, [policy(0, r"^\Qa\E(?|x", max_length=3)], [], {}),
    ],
)  # fmt: skip
def test_what_is_due_follows_from_the_policies_that_are_set(
    queue: Queue, policies: list[dict[str, Any]], operators: list[dict[str, Any]], expected: dict[str, Any]
) -> None:
    """One of each kind counts, by its priority."""
    assert due(queue, Policies({}, {}, policies, operators)) == expected


PAUSED = Queue("a.paused", pause_queue(None))


@pytest.mark.parametrize(
    ("queue", "policy", "effects"),
    [
        (PAUSED, {"delivery-limit": 5, "message-ttl": 5} | LIMIT | REFUSES, {}),
        (PAUSED, {"expires": 5}, {"expires": "the pause is over"}),
        (Queue("a.paused", pause_queue(5)), {"expires": 9}, {}),
        (Queue("a.paused", pause_queue(9)), {"expires": 5}, {"expires": "the pause is over"}),
        (Queue("a.paused.note", PAUSE_NOTE), {"delivery-limit": 2_000_000_000} | LIMIT | DROPS, {}),
        (Queue("a.paused.note", PAUSE_NOTE), {"delivery-limit": 5}, {"delivery-limit": "are deleted"}),
    ],
)
def test_a_pause_is_ended_by_no_policy_but_one_that_deletes_its_queue(
    queue: Queue, policy: dict[str, Any], effects: dict[str, str]
) -> None:
    """Nobody reads what comes to it; the note of who and why is read."""
    found = {harm.key: harm.effect for harm in harms(queue, policy)}
    assert found.keys() == effects.keys()
    assert all(words in found[key] for key, words in effects.items())


def test_the_parking_queue_of_a_migration_is_as_a_dead_queue() -> None:
    """It has the same arguments."""
    (harm,) = harms(Queue("a.moving", KEPT), LIMIT)
    assert "takes no more" in harm.effect
