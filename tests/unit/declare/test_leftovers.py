"""What `declare --prune` takes for left over, of what the management API lists."""

from __future__ import annotations

from typing import Any

import pytest

from taskqueue.declare.leftovers import Leftover, sorted_out
from taskqueue.settings import Settings, parse
from taskqueue.topology import names
from taskqueue.topology.plan import Plan, plan

LIMITED = "rate = 5/s\nmax_concurrency = 2\n"


def settings(*queues: str, history: bool = False) -> Settings:
    """Give the configuration of queues with limits."""
    kept = "history = 1d\n" if history else ""
    sections = "".join(f"[{name}]\n{LIMITED}" for name in queues)
    return parse(f"levels = 1\n{kept}{sections}", source="test", environ={})


def listed(
    there: Plan, messages: dict[str, int], wanted: Settings, consumed: tuple[str, ...] = ()
) -> tuple[Leftover, ...]:
    """Sort out what is there; `messages` are in these queues, and each of `consumed` has a consumer."""
    queues: list[dict[str, Any]] = [
        {
            "name": each.name, "durable": True, "arguments": each.arguments,
            "messages": messages.get(each.name, 0), "consumers": int(each.name in consumed),
        }
        for each in there.queues
    ]  # fmt: skip
    exchanges: list[dict[str, Any]] = [
        {"name": each.name, "durable": True, "type": each.type, "arguments": each.arguments}
        for each in there.exchanges
    ]
    bindings = [
        {
            "source": each.exchange, "destination": each.queue, "destination_type": "queue",
            "routing_key": each.routing_key,
        }
        for each in there.bindings
    ]  # fmt: skip
    return sorted_out(wanted, queues, exchanges, bindings)


def test_all_of_a_queue_goes_with_it_its_limits_too() -> None:
    """And nothing of a queue that is still named, nor the history, which is no queue's."""
    there = plan(settings("a", "b", history=True).layout)
    (found,) = listed(there, {}, settings("a"))
    assert set(found.queues) == {each.name for each in there.queues if names.owner(each.name) == "b"} | {"b"}
    assert set(found.exchanges) == {each.name for each in there.exchanges if names.owner(each.name) == "b"}
    assert set(names.limits("b", paced=True, capped=True)) < set(found.queues)
    assert names.looked("b") in found.queues
    assert found.busy is None
    # Permits go last, and nobody asks whether they are used: they stand for no task. Nor do probes.
    permits = names.limits("b", paced=False, capped=True)
    assert found.queues[-2:] == permits
    assert set(found.queues) - set(found.proven) == {*permits, names.probe("b"), names.probed("b")}


@pytest.mark.parametrize("name", ["b", "b.dead", "b.wait.0.3s"])
def test_where_a_task_is_all_of_the_queue_stays(name: str) -> None:
    """Permits and their book stand for no task, and keep nothing."""
    limits = dict.fromkeys(names.limits("b", paced=False, capped=True), 1)
    there = plan(settings("a", "b").layout)
    (found,) = listed(there, limits, settings("a"))
    assert found.busy is None
    (found,) = listed(there, limits | {name: 1}, settings("a"))
    assert found.busy == f"queue {name!r} holds 1 messages"


def test_a_queue_whose_consumers_see_a_pause_stays() -> None:
    """They consume none of its tasks, but still share its rate."""
    there = plan(settings("a", "b").layout)
    (found,) = listed(there, {}, settings("a"), consumed=(names.members("b"),))
    assert found.busy == "queue 'b.limit.rate' has 1 consumers"


def test_nothing_is_left_over_of_what_is_named() -> None:
    """With limits and a history that are still wanted."""
    wanted = settings("a", "b", history=True)
    assert listed(plan(wanted.layout), {}, wanted) == ()


@pytest.mark.parametrize("consumed", [False, True])
def test_what_is_for_probes_goes_unless_a_consumer_sends_them(consumed: object) -> None:
    """What is in it is no task."""
    there = plan(settings("a", "b").layout)
    messages = {names.probe("b"): 2, names.probed("b"): 1}
    (found,) = listed(there, messages, settings("a"), (names.probe("b"),) if consumed else ())
    assert {names.probe("b"), names.probed("b")} < set(found.queues)
    assert (found.busy is not None) == bool(consumed)


def test_a_queue_that_is_consumed_is_named_before_its_probes() -> None:
    """Whoever consumes it sends them as well, and is found sooner by it."""
    there = plan(settings("a", "b").layout)
    (found,) = listed(there, {}, settings("a"), (names.probe("b"), "b"))
    assert found.busy == "queue 'b' has 1 consumers"
