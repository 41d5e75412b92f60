"""The plan: every itinerary leads through it to the work queue, one way at each exchange."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Mapping
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import (
    CLASSIC,
    NO_DELIVERY_LIMIT,
    QUORUM,
    Exchange,
    Plan,
    essentials,
    plan,
    plan_queue,
)

TICKS_IN_20_YEARS = 20 * 366 * 86_400 * 10
MAILS = QueueSettings("mails", delivery_limit=7)
Routes = Mapping[tuple[str, str], list[str]]


def routes(planned: Plan) -> Routes:
    """Look bindings up as a direct exchange does: by its name and the routing key."""
    found = defaultdict(list)
    for binding in planned.bindings:
        found[binding.exchange, binding.routing_key].append(binding.queue)
    return found


def walk(planned: Plan, ways: Routes, queue: str, keys: tuple[str, ...]) -> int:
    """Route a message as RabbitMQ does until it is in the work queue; give the milliseconds it stayed.

    Every key rides along to each exchange (routing key and CC), and exactly one of them may match there.
    """
    arguments = {each.name: each.arguments for each in planned.queues}
    exchange, stayed = f"{queue}.wait", 0
    for hops_left in reversed(range(len(keys))):
        matches = [target for key in keys for target in ways.get((exchange, key), ())]
        assert len(matches) == 1, (exchange, keys, matches)
        if matches[0] == queue:
            assert hops_left == 0
            return stayed
        stayed += int(arguments[matches[0]]["x-message-ttl"])
        exchange = str(arguments[matches[0]]["x-dead-letter-exchange"])
    raise AssertionError(f"{keys} ended at {exchange} and not in the work queue")


def test_every_delay_up_to_2000_seconds_leads_to_the_work_queue_in_its_time() -> None:
    """All of them, with exactly one match at each hop."""
    ladder = Ladder()
    planned = plan_queue(MAILS, ladder, QUORUM)
    ways = routes(planned)
    for ticks in range(1, 20_001):
        assert walk(planned, ways, "mails", ladder.itinerary(ticks)) == ticks * 100


@given(
    st.integers(1, TICKS_IN_20_YEARS),
    st.sampled_from([Decimal("0.01"), Decimal("0.1"), Decimal("0.25"), Decimal(1)]),
    st.integers(1, 9),
)
def test_any_delay_on_any_ladder_leads_to_the_work_queue(
    ticks: int, resolution: Decimal, levels: int
) -> None:
    """Up to 20 years; what is longer than the ladder arrives after the longest itinerary."""
    ladder = Ladder(resolution, levels)
    planned = plan_queue(MAILS, ladder, QUORUM)
    expected = min(ticks, ladder.longest) * resolution * 1000
    assert walk(planned, routes(planned), "mails", ladder.itinerary(ticks)) == expected


@given(st.integers(1, 9), st.sampled_from([QUORUM, CLASSIC]))
def test_whatever_is_named_exists_and_is_named_once(levels: int, queue_type: str) -> None:
    """Bindings and dead-letter exchanges lead nowhere that is not planned."""
    planned = plan_queue(MAILS, Ladder(levels=levels), queue_type)
    exchanges = Counter(exchange.name for exchange in planned.exchanges)
    queues = Counter(queue.name for queue in planned.queues)
    assert set(exchanges.values()) == set(queues.values()) == {1}
    assert {binding.exchange for binding in planned.bindings} <= set(exchanges)
    assert {binding.queue for binding in planned.bindings} == set(queues)
    dead_letter = {
        str(queue.arguments.get("x-dead-letter-exchange", "mails.dead")) for queue in planned.queues
    }
    assert dead_letter <= set(exchanges)
    assert len(set(planned.bindings)) == len(planned.bindings)


@pytest.mark.parametrize("name", ["mails", "a.b", "with space", "ünï"])
def test_one_permission_pattern_covers_every_name(name: str) -> None:
    """`Q` and whatever begins with `Q.` is all that a user needs for queue Q."""
    planned = plan_queue(QueueSettings(name), Ladder(), QUORUM)
    pattern = re.compile(rf"^{re.escape(name)}(\..*)?$")
    every = {exchange.name for exchange in planned.exchanges} | {queue.name for queue in planned.queues}
    assert all(pattern.match(each) for each in every)


def test_a_queue_takes_nine_wait_queues_a_level_and_two_more() -> None:
    """The work queue and the dead queue; a wait, a dead and one exchange for each level."""
    planned = plan_queue(MAILS, Ladder(levels=8), QUORUM)
    assert len(planned.queues) == 9 * 8 + 2
    assert len(planned.exchanges) == 8 + 2


def test_quorum_queues_lose_nothing_on_the_way() -> None:
    """Whatever dead-letters does so at least once, and browsing never dead-letters."""
    planned = plan_queue(MAILS, Ladder(levels=1), QUORUM)
    arguments = {queue.name: dict(queue.arguments) for queue in planned.queues}
    safe = {
        "x-queue-type": "quorum",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
    }
    assert arguments["mails"] == {**safe, "x-dead-letter-exchange": "mails.dead", "x-delivery-limit": 7}
    assert arguments["mails.wait.0.3s"] == {
        **safe,
        "x-dead-letter-exchange": "mails.wait.0.1s",
        "x-message-ttl": 300,
        "x-delivery-limit": NO_DELIVERY_LIMIT,
    }
    assert arguments["mails.dead"] == {"x-queue-type": "quorum", "x-delivery-limit": NO_DELIVERY_LIMIT}


def test_classic_queues_have_only_arguments_that_classic_queues_know() -> None:
    """RabbitMQ refuses quorum arguments on them."""
    planned = plan_queue(MAILS, Ladder(levels=1), CLASSIC)
    arguments = {queue.name: dict(queue.arguments) for queue in planned.queues}
    assert arguments["mails"] == {"x-queue-type": "classic", "x-dead-letter-exchange": "mails.dead"}
    assert arguments["mails.wait.0.3s"] == {
        "x-queue-type": "classic",
        "x-dead-letter-exchange": "mails.wait.0.1s",
        "x-message-ttl": 300,
    }
    assert arguments["mails.dead"] == {"x-queue-type": "classic"}


def test_the_dead_exchange_takes_any_key_to_the_dead_queue() -> None:
    """What dies by the broker keeps the routing key it had."""
    planned = plan_queue(MAILS, Ladder(levels=1), QUORUM)
    assert Exchange("mails.dead", "fanout") in planned.exchanges
    assert [each.queue for each in planned.bindings if each.exchange == "mails.dead"] == ["mails.dead"]


def test_the_plan_of_the_settings_has_every_queue() -> None:
    """One after the other, each with its own names."""
    settings = Settings(levels=2, queues={name: QueueSettings(name) for name in ("a", "b")})
    planned = plan(settings)
    alone = [plan_queue(queue, settings.ladder, QUORUM) for queue in settings.queues.values()]
    assert planned.queues == alone[0].queues + alone[1].queues
    assert planned.bindings == alone[0].bindings + alone[1].bindings


def test_the_essentials_of_a_queue_are_part_of_its_plan() -> None:
    """What a consumer asks for is what declare creates."""
    planned = plan_queue(MAILS, Ladder(), QUORUM)
    for needed in essentials("mails"):
        kind = planned.exchanges if isinstance(needed, Exchange) else planned.queues
        assert needed.name in {each.name for each in kind}
    assert len(essentials("mails")) == 4
