"""The plan: whatever itinerary a message has, it leads to a work queue, one way at each exchange."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from taskqueue.schedule.messages import wake_way
from taskqueue.settings import QueueSettings, Settings
from taskqueue.settings.schedules import Definition, ScheduleSettings
from taskqueue.task.astray import wake_queue
from taskqueue.task.decide import Home
from taskqueue.task.message import Message
from taskqueue.task.settle import successors
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder, Way
from taskqueue.topology.plan import (
    CLASSIC,
    KEPT,
    NO_DELIVERY_LIMIT,
    QUORUM,
    Binding,
    Exchange,
    Plan,
    Queue,
    essentials,
    joined,
    ladder_essentials,
    levels,
    plan,
    plan_ladder,
    plan_queue,
)
from tests.support.routing import (
    CROWD,
    HEAD,
    QUEUE,
    RESOLUTIONS,
    SHAPES,
    Routing,
    configured,
    declared,
    ladders,
    shapes,
    ways,
)

LADDER = Ladder()
NOW_MS = 1_700_000_000_000
TWENTY_YEARS_MS = 20 * 366 * 86_400_000
delays = st.integers(1, TWENTY_YEARS_MS) | st.integers(1, 100_000)
queue_types = st.sampled_from([QUORUM, CLASSIC])
ONE = Settings(levels=1, queues={"mails": QueueSettings("mails", delivery_limit=7)})


def wait_ms(ladder: Ladder, delay_ms: int) -> int:
    """Give the length of one itinerary: the delay in whole ticks, or the longest rung."""
    return sum(map(ladder.ttl_ms, ladder.legs(ladder.ticks(delay_ms))))


def arguments(planned: Plan) -> dict[str, dict[str, str | int]]:
    """Give the arguments of every queue by its name."""
    return {queue.name: dict(queue.arguments) for queue in planned.queues}


# --- where messages come to


@pytest.mark.parametrize("shape", SHAPES)
def test_every_delay_up_to_2000_seconds_leads_to_the_work_queue_in_its_time(shape: str) -> None:
    """All 20,000 of them, with exactly one match at each hop."""
    routing, ladder = declared(shape, LADDER), names.wait(SHAPES[shape])
    for ticks in range(1, 20_001):
        journey = routing.reach(ladder, LADDER.itinerary(ticks, QUEUE))
        assert (journey.queue, journey.stayed_ms, journey.strayed) == (QUEUE, ticks * 100, False)


@given(shapes, ladders, delays)
def test_a_matching_ladder_takes_exactly_its_time(shape: str, ladder: Ladder, delay_ms: int) -> None:
    """Up to 20 years; what is longer than the ladder arrives after the longest rung, early."""
    way = Way(QUEUE, SHAPES[shape], ladder)
    journey = declared(shape, ladder).reach(*way.route(NOW_MS + delay_ms, NOW_MS / 1000))
    assert (journey.queue, journey.strayed) == (QUEUE, False)
    assert journey.stayed_ms == wait_ms(ladder, delay_ms)


@given(shapes, ladders, ladders, delays, st.data())
@example("shared", Ladder(levels=1), Ladder(levels=12), TWENTY_YEARS_MS, None)
@example("headed", LADDER, replace(LADDER, resolution=LADDER.resolution / 100), 25_305, None)
def test_no_ladder_that_a_sender_believes_in_leads_nowhere(
    shape: str, theirs: Ladder, ours: Ladder, delay_ms: int, data: st.DataObject | None
) -> None:
    """Every message comes to its work queue, or to the queue that the shared ladder is named after.

    It comes at its time or before, and before only where it has missed rungs: its consumer sees to that.
    """
    believed = ways(shape, theirs)
    way = believed[0] if data is None else data.draw(st.sampled_from(believed))
    journey = declared(shape, ours).reach(*way.route(NOW_MS + delay_ms, NOW_MS / 1000))
    to_the_head = shape == "headed" and way.ladder == HEAD and journey.strayed
    assert journey.queue == (HEAD if to_the_head else QUEUE)
    assert journey.stayed_ms <= wait_ms(theirs, delay_ms)
    assert journey.strayed == (journey.stayed_ms < wait_ms(theirs, delay_ms))


@given(shapes, ladders, ladders, delays, st.booleans())
def test_declaring_another_ladder_takes_nothing_from_those_who_use_the_former_one(
    shape: str, former: Ladder, present: Ladder, delay_ms: int, by_former: object
) -> None:
    """Both lead to the work queue in exactly their time, over the same exchanges: nothing is migrated."""
    ladder = former if by_former else present
    way = Way(QUEUE, SHAPES[shape], ladder)
    journey = declared(shape, former, present).reach(*way.route(NOW_MS + delay_ms, NOW_MS / 1000))
    assert (journey.queue, journey.strayed) == (QUEUE, False)
    assert journey.stayed_ms == wait_ms(ladder, delay_ms)


@given(st.sampled_from(["own", "shared"]), ladders, delays, st.data())
def test_a_queue_that_has_changed_its_ladder_is_found_on_either(
    before: str, ladder: Ladder, delay_ms: int, data: st.DataObject
) -> None:
    """From its own to a shared one or back, by who knows of the change and by who does not."""
    after = "shared" if before == "own" else "own"
    routing = Routing(joined(plan(configured(shape, ladder).layout) for shape in (before, after)))
    way = Way(QUEUE, data.draw(st.sampled_from([QUEUE, CROWD])), ladder)
    journey = routing.reach(*way.route(NOW_MS + delay_ms, NOW_MS / 1000))
    assert (journey.queue, journey.stayed_ms) == (QUEUE, wait_ms(ladder, delay_ms))


@given(ladders, queue_types, delays)
def test_a_ladder_of_the_other_type_takes_the_same_time(
    ladder: Ladder, queue_type: str, delay_ms: int
) -> None:
    """Only the names of its rungs are others, so that those of the former type drain by themselves."""
    way = Way(QUEUE, QUEUE, ladder)
    routing = Routing(plan(configured("own", ladder, queue_type).layout))
    journey = routing.reach(*way.route(NOW_MS + delay_ms, NOW_MS / 1000))
    assert journey.stayed_ms == wait_ms(ladder, delay_ms)
    assert {rung.endswith(".classic") for rung in journey.rungs} == {queue_type == CLASSIC}


@given(shapes, ladders, delays)
def test_a_wake_up_walks_the_ladder_of_its_queue_and_never_comes_to_the_work_queue(
    shape: str, ladder: Ladder, delay_ms: int
) -> None:
    """And tasks still come to the work queue, in their time."""
    settings = configured(shape, ladder)
    schedule = ScheduleSettings("nightly", QUEUE, Definition("@daily", "/x"))
    routing = Routing(plan(replace(settings, schedules={"nightly": schedule}).layout))
    way = Way(QUEUE, SHAPES[shape], ladder)
    for each, queue in ((wake_way(way), names.wake(QUEUE)), (way, QUEUE)):
        journey = routing.reach(*each.route(NOW_MS + delay_ms, NOW_MS / 1000))
        assert (journey.queue, journey.strayed) == (queue, False)
        assert journey.stayed_ms == wait_ms(ladder, delay_ms)
    assert routing.reach(names.schedule(QUEUE), ("x",)).queue == names.schedule(QUEUE)


@given(shapes, ladders, ladders, delays)
def test_a_wake_up_that_goes_astray_comes_home_whatever_ladder_its_sender_believes_in(
    shape: str, ladder: Ladder, former: Ladder, delay_ms: int
) -> None:
    """At once, or by the consumer of the queue that the ladder is named after."""
    settings = configured(shape, ladder)
    schedule = ScheduleSettings("nightly", QUEUE, Definition("@daily", "/x"))
    routing = Routing(plan(replace(settings, schedules={"nightly": schedule}).layout))
    exchange, keys = wake_way(Way(QUEUE, SHAPES[shape], former)).route(NOW_MS + delay_ms, NOW_MS / 1000)
    assume(routing.has(exchange))
    journey = routing.reach(exchange, keys)
    if journey.queue != names.wake(QUEUE):
        assert journey.queue == SHAPES[shape]
        assert wake_queue({"CC": list(keys)}) == names.wake(QUEUE)
        (sent,) = successors(
            Message(b"{}"),
            None,
            Home(names.wake(QUEUE)),
            way=Way(journey.queue, journey.queue, ladder),
            now=0,
        )
        journey = routing.reach(sent.exchange, sent.routing_keys)
    assert journey.queue == names.wake(QUEUE)


@pytest.mark.parametrize("keys", [("x",), ("",), ("in>20s",), ("in>20s", "10s>due"), ("astray>due:gone",)])
@pytest.mark.parametrize(
    ("shape", "queue"), [("own", QUEUE), ("headed", HEAD), ("shared", "crowd.wait.lost")]
)
def test_a_message_that_names_no_queue_is_kept_where_somebody_sees_it(
    shape: str, queue: str, keys: tuple[str, ...]
) -> None:
    """In the work queue that the ladder is named after; on a shared one in a queue for what is lost."""
    assert declared(shape, LADDER).reach(names.wait(SHAPES[shape]), keys).queue == queue


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("queue", [QUEUE, "other", HEAD])
def test_each_queue_has_a_straight_way_that_takes_no_time(shape: str, queue: str) -> None:
    """Of its own, for whatever key: what is published by tasks that move, follow or are replayed."""
    journey = declared(shape, LADDER).reach(names.due(queue), ("any key",))
    assert (journey.queue, journey.rungs, journey.strayed) == (queue, (), False)


@given(shapes, ladders, ladders, delays)
def test_no_queue_gets_what_is_for_another_on_the_same_ladder(
    shape: str, theirs: Ladder, ours: Ladder, delay_ms: int
) -> None:
    """Only the head of a ladder does, and only what has found no way."""
    ladder = "other" if shape == "own" else SHAPES[shape]
    way = Way("other", ladder, theirs)
    journey = declared(shape, ours).reach(*way.route(NOW_MS + delay_ms, NOW_MS / 1000))
    assert journey.queue == (HEAD if shape == "headed" and journey.strayed else "other")


def test_while_a_work_queue_is_replaced_its_messages_come_to_the_one_that_is_parked_in() -> None:
    """`declare --migrate` unbinds the one and binds the other; in between both are there."""
    planned = plan(configured("own", LADDER).layout)
    moving = names.moving(QUEUE)
    unbound = replace(planned, bindings=tuple(each for each in planned.bindings if each.queue != QUEUE))
    parked = Plan((Exchange(moving, "fanout"),), (Queue(moving, KEPT),), (Binding(moving, moving, ""),))
    routing = Routing(joined([unbound, parked]))
    assert routing.reach(names.due(QUEUE), (QUEUE,)).queue == moving
    assert routing.reach(names.wait(QUEUE), LADDER.itinerary(253, QUEUE)).queue == moving


# --- what there is


@given(shapes, ladders, queue_types)
def test_whatever_is_named_exists_and_is_named_once(shape: str, ladder: Ladder, queue_type: str) -> None:
    """Bindings, alternates and dead-letter exchanges lead nowhere that is not planned."""
    planned = plan(configured(shape, ladder, queue_type).layout)
    exchanges = Counter(exchange.name for exchange in planned.exchanges)
    queues = Counter(queue.name for queue in planned.queues)
    assert set(exchanges.values()) == set(queues.values()) == {1}
    assert {binding.exchange for binding in planned.bindings} <= set(exchanges)
    assert {binding.queue for binding in planned.bindings} == set(queues)
    dead_letter = {
        str(each["x-dead-letter-exchange"])
        for each in arguments(planned).values()
        if "x-dead-letter-exchange" in each
    }
    assert dead_letter <= set(exchanges)
    moving = {names.moving(queue) for queue in (QUEUE, "other", HEAD)}
    assert {each.alternate for each in planned.exchanges} <= {None, *moving, *exchanges}
    assert len(set(planned.bindings)) == len(planned.bindings)


@pytest.mark.parametrize("name", ["mails", "a.b", "with space", "ünï", "a>b", "due:x"])
def test_one_permission_pattern_covers_every_name(name: str) -> None:
    """`Q` and whatever begins with `Q.` is all that a user needs for queue Q; for a ladder, `L.wait`."""

    def every(planned: Plan) -> set[str]:
        bound = {name for each in planned.bindings for name in (each.exchange, each.queue)}
        return {each.name for each in planned.items} | bound

    own = Settings(levels=3, queues={name: QueueSettings(name)})
    pattern = re.compile(names.pattern(name))
    assert all(pattern.match(each) for each in every(plan(own.layout)))
    shared = Settings(levels=3, queues={"q": QueueSettings("q", ladder=name)})
    pattern = re.compile(names.pattern(name, shared=True))
    assert all(pattern.match(each) for each in every(plan_ladder(name, shared.layout)))


@given(st.integers(1, 9))
def test_a_queue_takes_nine_wait_queues_a_level_and_five_more(count: int) -> None:
    """Work queue, dead queue, markers, two for probes; entry, straight way, dead, control, each level."""
    planned = plan(Settings(levels=count, queues={"mails": QueueSettings("mails")}).layout)
    assert len(planned.queues) == 9 * count + 5
    assert len(planned.exchanges) == count + 4


def test_a_thousand_queues_on_one_ladder_take_two_queues_each() -> None:
    """And the ladder is there once, with queues for what is lost, for markers and for probes."""
    settings = Settings(queues={f"q{i}": QueueSettings(f"q{i}", ladder=CROWD) for i in range(1000)})
    planned = plan(settings.layout)
    assert len(planned.queues) == 2 * 1000 + 72 + 4
    assert len(planned.exchanges) == 4 * 1000 + 8 + 4


def test_quorum_queues_lose_nothing_on_the_way() -> None:
    """Whatever dead-letters does so at least once, and neither browsing nor a crash dead-letters."""
    found = arguments(plan(ONE.layout))
    safe = {
        "x-queue-type": "quorum",
        "x-dead-letter-strategy": "at-least-once",
        "x-overflow": "reject-publish",
        "x-delivery-limit": NO_DELIVERY_LIMIT,
    }
    assert found["mails"] == {**safe, "x-dead-letter-exchange": "mails.dead"}
    assert found["mails.wait.0.3s"] == {
        **safe,
        "x-dead-letter-exchange": "mails.wait.0.1s",
        "x-message-ttl": 300,
    }
    assert found["mails.dead"] == {
        "x-queue-type": "quorum",
        "x-delivery-limit": NO_DELIVERY_LIMIT,
        "x-overflow": "reject-publish",
    }


def test_classic_queues_have_only_arguments_that_classic_queues_know() -> None:
    """RabbitMQ refuses quorum arguments on them; the dead queue is a quorum queue all the same."""
    found = arguments(plan(replace(ONE, queue_type=CLASSIC).layout))
    assert found["mails"] == {"x-queue-type": "classic", "x-dead-letter-exchange": "mails.dead"}
    assert found["mails.wait.0.3s.classic"] == {
        "x-queue-type": "classic",
        "x-dead-letter-exchange": "mails.wait.0.1s",
        "x-message-ttl": 300,
    }
    assert found["mails.dead"] == {
        "x-queue-type": "quorum",
        "x-delivery-limit": NO_DELIVERY_LIMIT,
        "x-overflow": "reject-publish",
    }


@pytest.mark.parametrize("queue_type", [QUORUM, CLASSIC])
def test_what_is_kept_for_somebody_never_depends_on_the_type(queue_type: str) -> None:
    """Dead tasks, and what is lost on a shared ladder."""
    found = arguments(plan(configured("shared", LADDER, queue_type).layout))
    assert found[names.dead(QUEUE)] == found[names.lost(CROWD)] == KEPT


@given(shapes, ladders, ladders, queue_types)
def test_no_two_configurations_want_one_thing_in_two_shapes(
    shape: str, one: Ladder, other: Ladder, queue_type: str
) -> None:
    """Resolution, levels and delivery_limit may change at any time: a plain `declare` is all it takes."""
    first, second = configured(shape, one, queue_type), configured(shape, other, queue_type)
    second = replace(
        second, queues={name: replace(queue, delivery_limit=3) for name, queue in second.queues.items()}
    )
    wanted = {(item.kind, item.name): item for item in plan(first.layout).items}
    for item in plan(second.layout).items:
        former = wanted.get((item.kind, item.name), item)
        assert (former, former.arguments) == (item, item.arguments)


@given(ladders)
def test_of_two_types_only_the_work_queue_is_one_thing_in_two_shapes(ladder: Ladder) -> None:
    """So that is all that `declare --migrate` has to replace."""
    quorum, classic = (arguments(plan(configured("own", ladder, each).layout)) for each in (QUORUM, CLASSIC))
    differing = {name for name in quorum.keys() & classic.keys() if quorum[name] != classic[name]}
    assert differing == {QUEUE, "other", HEAD}


def test_the_dead_exchange_takes_any_key_to_the_dead_queue() -> None:
    """What dies by the broker keeps the routing key it had."""
    planned = plan_queue("mails", ONE.layout)
    assert Exchange("mails.dead", "fanout") in planned.exchanges
    assert Routing(planned).reach("mails.dead", ("any key", "10s>due:mails")).queue == "mails.dead"


def test_every_exchange_of_a_ladder_has_an_alternate() -> None:
    """What finds no way at it does not hold up the rung that it comes from."""
    for shape, ladder in SHAPES.items():
        settings = configured(shape, LADDER)
        alternates = {each.name: each.alternate for each in plan_ladder(ladder, settings.layout).exchanges}
        wait, due, lost = names.wait(ladder), names.due(ladder), names.lost(ladder)
        assert {alternates.pop(name) for name in [wait, *levels(ladder, LADDER)]} == {due}
        # Only what leads nowhere there comes back to whoever asks.
        assert alternates.pop(names.control(ladder)) is None
        assert alternates == ({due: lost, lost: None} if shape == "shared" else {})


@given(shapes, ladders)
def test_the_plan_of_the_settings_has_every_queue_and_every_ladder_once(shape: str, ladder: Ladder) -> None:
    """However many queues wait on it."""
    settings = configured(shape, ladder)
    layout = settings.layout
    parts = [plan_queue(name, layout) for name in layout.ladders]
    parts += [plan_ladder(name, layout) for name in set(layout.ladders.values())]
    planned, put_together = plan(settings.layout), joined(parts)
    assert set(planned.exchanges) == set(put_together.exchanges)
    assert arguments(planned) == arguments(put_together)
    assert set(planned.bindings) == set(put_together.bindings)


@given(shapes, ladders)
def test_a_plan_of_some_of_the_queues_is_part_of_that_of_all(shape: str, ladder: Ladder) -> None:
    """A command for one queue declares nothing in another shape, even without the head of its ladder."""
    every = configured(shape, ladder)
    every = replace(every, names=frozenset(every.queues))
    some = replace(every, queues={QUEUE: every.queues[QUEUE]})
    assert set(plan(some.layout).exchanges) <= set(plan(every.layout).exchanges)
    assert set(plan(some.layout).bindings) <= set(plan(every.layout).bindings)
    assert arguments(plan(some.layout)).items() <= arguments(plan(every.layout)).items()


@given(shapes, ladders, queue_types)
def test_the_essentials_are_part_of_the_plan(shape: str, ladder: Ladder, queue_type: str) -> None:
    """What a consumer asks for is what declare creates."""
    settings = configured(shape, ladder, queue_type)
    there = {(each.kind, each.name) for each in plan(settings.layout).items}
    needed = {(each.kind, each.name) for each in essentials(QUEUE)}
    assert len(needed) == 5
    rungs = {(each.kind, each.name) for each in ladder_essentials(SHAPES[shape], ladder, queue_type)}
    assert len(rungs) == 10 * ladder.levels + 2
    assert needed | rungs <= there


@given(shapes, st.integers(0, 4), st.integers(0, 4), st.integers(1, 8), st.integers(0, 3))
def test_a_ladder_within_the_declared_one_is_all_there_and_takes_exactly_its_time(
    shape: str, finest: int, finer: int, levels: int, longer: int
) -> None:
    """So `run` goes on where it finds its rungs, whoever has declared them, and nobody goes astray."""
    coarse = min(finest + finer, 4)
    ours = Ladder(RESOLUTIONS[coarse], levels)
    whole = Ladder(RESOLUTIONS[finest], levels + coarse - finest + longer)
    there = {(each.kind, each.name) for each in plan(configured(shape, whole).layout).items}
    assert {(each.kind, each.name) for each in ladder_essentials(SHAPES[shape], ours, QUORUM)} <= there
    for ticks in {1, ours.longest, ours.longest // 7, 10 ** (levels - 1)}:
        journey = declared(shape, whole).reach(names.wait(SHAPES[shape]), ours.itinerary(ticks, QUEUE))
        assert (journey.queue, journey.strayed) == (QUEUE, False)
        assert journey.stayed_ms == sum(map(ours.ttl_ms, ours.legs(ticks)))


@given(shapes, ladders, ladders)
def test_a_ladder_that_is_not_all_there_is_noticed(shape: str, ours: Ladder, whole: Ladder) -> None:
    """`run` looks for one rung more or less, at either end, before it takes a task."""
    there = {(each.kind, each.name) for each in plan(configured(shape, whole).layout).items}
    wanted = {(each.kind, each.name) for each in ladder_essentials(SHAPES[shape], ours, QUORUM)}
    within = {whole.ttl(leg) for leg in whole.rungs()} >= {ours.ttl(leg) for leg in ours.rungs()}
    assert (wanted <= there) == within
