"""What a policy of the operator would do to what is ours.

Of a policy and an argument RabbitMQ takes the smaller number, and else the argument, but for the overflow of
a quorum queue, where the policy wins (``rabbit_quorum_queue:ra_machine_config/1``,
``rabbit_amqqueue_process:process_args_policy/1``, ``rabbit_exchange:process_alternate/2``; 3.10 to 4.3). So
what is declared as an argument protects against some of them, and the rest is told.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue.broker.management import Management, Policies
from taskqueue.topology import names
from taskqueue.topology.plan import CLASSIC, Exchange, Plan, Queue

_REPORTED = 20.0
"""Seconds in which the management API knows of the policy of a queue: it is told every five."""
_LOOK = 0.5
_LIMITS = ("max-length", "max-length-bytes")


@dataclass(frozen=True, slots=True)
class Harm:
    """One key of a policy that breaks something of ours."""

    item: Exchange | Queue
    key: str
    value: object
    effect: str

    def __str__(self) -> str:
        """Tell what does what, in one line."""
        return f"{self.key} = {self.value} on {self.item.kind} {self.item.name}: {self.effect}"


async def look(management: Management, plan: Plan) -> tuple[Harm, ...] | None:
    """Find what policies break of what exists of a plan, and of what else bears its names: former rungs.

    A queue tells of its policy some seconds late. So what it tells counts once it is what follows from the
    policies that are set, or when it had the time to tell. None where nobody can tell, or not yet.
    """
    deadline = asyncio.get_running_loop().time() + _REPORTED
    while True:
        found = await asyncio.to_thread(management.policies)
        if found is None:
            return None
        every = tuple(_ours(plan, found))
        over = asyncio.get_running_loop().time() > deadline
        known = all(policy is not None for _, policy in every)
        told = tuple(harm for item, policy in every for harm in harms(item, policy or {}))
        expected = {harm for item, _ in every for harm in harms(item, due(item, found))}
        if known and (over or set(told) == expected):
            return told
        if over:
            return None
        await asyncio.sleep(_LOOK)


def _ours(plan: Plan, found: Policies) -> Iterator[tuple[Exchange | Queue, Mapping[str, Any] | None]]:
    """Give what exists of ours, as it was declared, and the policy that is in effect on it."""
    owners = {names.owner(item.name) or item.name for item in plan.items}
    for name, (arguments, policy) in found.exchanges.items():
        if name in owners or names.owner(name) in owners:
            yield Exchange(name, alternate=arguments.get("alternate-exchange")), policy
    for name, (arguments, policy) in found.queues.items():
        if name in owners or names.owner(name) in owners:
            yield Queue(name, arguments), policy


def due(item: Exchange | Queue, found: Policies) -> Mapping[str, Any]:
    """Work out the definition that should be in effect on something from the policies that are set.

    One policy and one operator policy count: those of the highest priority whose pattern matches. Of a number
    in both it is the smaller one, of all else that of the operator (``rabbit_policy:match_all/3``,
    ``rabbit_policies:merge_policy_value/3``; 3.10 to 4.3). Not all is worked out here: which of equal
    priority counts, which patterns Python reads otherwise, and which keys keep a policy off a type of queue.
    """
    if isinstance(item, Exchange):
        # It tells at once.
        return found.exchanges[item.name][1] or {}
    mine, theirs = (_first(policies, item) for policies in (found.defined, found.of_operators))
    both = {
        key: min(mine[key], value) if isinstance(value, int) and isinstance(mine[key], int) else value
        for key, value in theirs.items()
        if key in mine
    }
    return {**mine, **theirs, **both}


def _first(policies: Iterable[Mapping[str, Any]], queue: Queue) -> Mapping[str, Any]:
    kinds = {"all", "queues", f"{queue.arguments.get('x-queue-type', CLASSIC)}_queues"}
    matching = [
        each for each in policies if each["apply-to"] in kinds and _matches(each["pattern"], queue.name)
    ]
    return max(matching, key=lambda each: each["priority"])["definition"] if matching else {}


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.search(pattern, name) is not None
    except re.error:
        return False


def harms(item: Exchange | Queue, policy: Mapping[str, Any]) -> Iterator[Harm]:
    """Say what the definition of a policy, as it is in effect, breaks of one thing that is planned."""
    if isinstance(item, Exchange):
        told = _of_exchange(item, policy)
    elif names.stands_for_pause(item.name):
        told = _of_pause(item, policy)
    else:
        told = _of_queue(item, policy)
    for key, effect in told:
        yield Harm(item, key, policy[key], effect)


def _of_exchange(exchange: Exchange, policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    if "alternate-exchange" in policy and exchange.alternate is None:
        yield "alternate-exchange", "a task that finds no way there goes elsewhere, and counts as kept"


def _of_pause(queue: Queue, policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    # Nobody reads what comes to it: what counts is that it is there.
    if _lower(policy, queue.arguments, "expires"):
        yield "expires", "the pause is over once it has lasted so long"


def _of_queue(queue: Queue, policy: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    arguments = queue.arguments
    rung = names.timed(queue.name) is not None
    forwards = "x-dead-letter-exchange" in arguments
    gone = "go on early" if rung else "are dead without their roll_back" if forwards else "are deleted"
    if "expires" in policy:
        yield "expires", "the queue is deleted with its tasks once nobody has used it for so long"
    dropped = arguments.get("x-max-length") == 0
    if dropped or names.is_of_probes(queue.name):
        # It keeps nothing, so nothing else can do harm but what has it refuse; a probe is sent again.
        if dropped and "reject-publish" in policy.get("overflow", ""):
            yield "overflow", "what a killed look leaves on the ladder stays there for good"
        return
    if _lower(policy, arguments, "message-ttl"):
        yield "message-ttl", f"tasks that stay longer {gone}"
    if _lower(policy, arguments, "delivery-limit"):
        yield "delivery-limit", f"tasks that were handed out or looked at more often {gone}"
    refuses = policy.get("overflow", arguments.get("x-overflow")) == "reject-publish"
    for key in _LIMITS:
        if _lower(policy, arguments, key):
            yield key, "a full queue takes no more tasks" if refuses else f"tasks over it {gone}"
    if "overflow" in policy and not refuses and arguments.get("x-overflow") == "reject-publish":
        effect = "what goes on from there may get lost with a node" if forwards else "it no longer refuses"
        yield "overflow", effect
    if rung and "dead-letter-routing-key" in policy:
        yield "dead-letter-routing-key", "tasks lose their way on the ladder, and come early"


def _lower(policy: Mapping[str, Any], arguments: Mapping[str, str | int], key: str) -> bool:
    """Tell whether the number of a policy is the one that counts."""
    mine = arguments.get(f"x-{key}")
    theirs = policy.get(key)
    # A delivery limit below 0 is none (RabbitMQ 4).
    return isinstance(theirs, int) and theirs >= 0 and (not isinstance(mine, int) or theirs < mine)
