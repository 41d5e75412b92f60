"""Messages that find no way: what they tell of it, and that they run at their time all the same."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.operate.dead import revived
from taskqueue.operate.reading import Facts
from taskqueue.operate.waiting import cancelled, moved, run_now
from taskqueue.settings import QueueSettings
from taskqueue.task.astray import (
    MEANT_FOR,
    SENT_ROUND,
    came_back_at_once,
    itinerary,
    meant_for,
    missed_rungs,
)
from taskqueue.task.decide import Again, Dead, Move, Run, on_receipt, unmoved
from taskqueue.task.decode import decode
from taskqueue.task.message import Message, Publish
from taskqueue.task.settle import successors
from taskqueue.topology.ladder import Ladder, Way
from tests.support.routing import QUEUE, Journey, configured, declared, ladders, shapes, ways

NOW_MS = 1_700_000_000_000


def deaths(*queues: str) -> list[dict[str, Any]]:
    """Make what RabbitMQ notes of the queues that a message was in, the latest first."""
    return [{"queue": queue, "reason": "expired", "count": 1} for queue in reversed(queues)]


WALKED = deaths("mail.wait.20s", "mail.wait.0.3s")


@pytest.mark.parametrize(
    ("headers", "keys", "queue"),
    [
        ({}, (), None),
        ({"CC": ["10s>due:mail"]}, ("10s>due:mail",), "mail"),
        ({"CC": ["10s>0.3s", "0.1s>due:mail"]}, ("10s>0.3s", "0.1s>due:mail"), "mail"),
        ({"CC": ["10s>due:mail", "astray>due:mail"]}, ("10s>due:mail", "astray>due:mail"), "mail"),
        ({"CC": ["10s>due:mail", "x"]}, ("10s>due:mail", "x"), None),
        ({"CC": ["10s>due"]}, ("10s>due",), None),
        ({"CC": []}, (), None),
        ({"CC": "10s>due:mail"}, (), None),
        ({"CC": {"a": "10s>due:mail"}}, (), None),
        ({"CC": [7, None, b"10s>due:mail", ["x"]]}, (), None),
    ],
)
def test_a_message_tells_the_way_it_was_to_go_and_the_queue_at_its_end(
    headers: dict[str, Any], keys: tuple[str, ...], queue: str | None
) -> None:
    """From the header in which the keys ride."""
    assert itinerary(headers) == keys
    assert meant_for(headers) == queue


@pytest.mark.parametrize(
    ("keys", "died", "missed"),
    [
        (["10s>0.3s", "0.1s>due:mail"], WALKED, False),
        (["10s>0.3s", "0.1s>due:mail", "astray>due:mail"], WALKED, False),
        (["10s>0.3s", "0.1s>due:mail"], deaths("mail.wait.20s.classic", "mail.wait.0.3s.classic"), False),
        (["10s>0.3s", "0.1s>due:mail"], deaths("crowd.wait.20s", "crowd.wait.0.3s"), False),
        (["10s>0.3s", "0.1s>due:mail"], WALKED[:1], True),
        (["10s>0.3s", "0.1s>due:mail"], [], True),
        (["10s>0.3s", "0.1s>due:mail"], None, True),
        (["10s>0.3s", "0.1s>due:mail", "astray>due:mail"], WALKED[:1], True),
        (["10s>due:mail", "astray>due:mail"], WALKED[:1], False),
        (["10s>due:mail"], deaths("mail"), True),
        ([], None, False),
        (None, None, False),
        (None, WALKED, False),
        (["10s>due:mail"], "x", True),
        (["10s>due:mail"], [7, {}, {"queue": None}, {"queue": b"mail.wait.20s"}], True),
    ],
)
def test_what_was_on_fewer_rungs_than_its_way_has_has_missed_some(
    keys: object, died: object, *, missed: bool
) -> None:
    """One stay for each key but the last resort; what went straight has missed nothing."""
    assert missed_rungs({"CC": keys, "x-death": died}) is missed


@pytest.mark.parametrize(
    ("sent", "due_in_ms", "at_once"),
    [
        (NOW_MS, 5000, True),
        (NOW_MS - 499, 5000, True),
        (NOW_MS - 500, 5000, False),
        (NOW_MS + 1, 5000, False),
        (NOW_MS - 10, 1001, True),
        (NOW_MS - 10, 1000, False),
        (NOW_MS - 10, -5000, False),
        (None, 5000, False),
        (True, 5000, False),
        ("1700000000000", 5000, False),
        (float(NOW_MS), 5000, False),
    ],
)
def test_what_was_put_on_the_ladder_and_is_here_again_long_before_its_time_came_back_at_once(
    sent: object, due_in_ms: int, *, at_once: bool
) -> None:
    """Within half a second, and due in more than one: what is nearly due costs no round worth telling."""
    assert came_back_at_once({SENT_ROUND: sent}, NOW_MS + due_in_ms, NOW_MS) is at_once


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.binary() | st.datetimes(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(st.dictionaries(st.sampled_from(["CC", "x-death", SENT_ROUND, "x-delivery-count"]), anything))
def test_whatever_others_write_there_is_read(headers: dict[str, Any]) -> None:
    """Anybody can publish, and no header may stop a consumer."""
    assert all(isinstance(key, str) for key in itinerary(headers))
    assert isinstance(meant_for(headers), str | None)
    assert isinstance(missed_rungs(headers), bool)
    assert isinstance(came_back_at_once(headers, NOW_MS, NOW_MS), bool)


def arrived(publish: Publish, journey: Journey) -> Message:
    """Give a published message as the consumer gets it."""
    headers = dict(publish.message.headers)
    if publish.routing_keys[1:]:
        headers["CC"] = list(publish.routing_keys[1:])
    if journey.rungs:
        headers["x-death"] = deaths(*journey.rungs)
    return replace(publish.message, headers=headers)


def sent(way: Way, delay_ms: int) -> Publish:
    """Send a task as anybody would who believes in this way."""
    exchange, keys = way.route(NOW_MS + delay_ms, NOW_MS / 1000)
    headers = {"taskqueue-due": NOW_MS + delay_ms, "taskqueue-first-seen": NOW_MS}
    message = Message(json.dumps({"url": "/x"}).encode(), headers, {"message_id": "a"})
    return Publish(exchange, keys, message)


delays = st.integers(1, 20 * 366 * 86_400_000) | st.integers(1, 100_000)


@given(shapes, ladders, ladders, delays, st.data())
def test_a_message_tells_that_it_went_astray_exactly_where_it_did(
    shape: str, theirs: Ladder, ours: Ladder, delay_ms: int, data: st.DataObject
) -> None:
    """And for whom it is, wherever it has come to."""
    publish = sent(data.draw(st.sampled_from(ways(shape, theirs))), delay_ms)
    journey = declared(shape, ours).reach(publish.exchange, publish.routing_keys)
    headers = arrived(publish, journey).headers
    assert missed_rungs(headers) == journey.strayed
    assert meant_for(headers) == QUEUE


@given(shapes, ladders, ladders, st.floats(0, 30), st.data())
def test_whatever_ladder_its_sender_believes_in_a_task_runs_in_its_queue_and_at_its_time(
    shape: str, theirs: Ladder, ours: Ladder, rounds: float, data: st.DataObject
) -> None:
    """Consumers move it to its queue and correct its time: never early, and late by less than one tick.

    It is sent round no more often than the longest rung is in its delay, and once more for what was missed.
    """
    settings, routing = configured(shape, ours), declared(shape, ours)
    longest = ours.ttl_ms(ours.legs(ours.longest)[0])
    # By the end of the year 9999.
    delay_ms = max(1, min(int(rounds * longest), 2 * 10**14))
    publish = sent(data.draw(st.sampled_from(ways(shape, theirs))), delay_ms)
    now_ms, corrections = NOW_MS, 0
    while True:
        journey = routing.reach(publish.exchange, publish.routing_keys)
        now_ms += journey.stayed_ms
        message, now = arrived(publish, journey), now_ms / 1000
        task = decode(message, now=now)
        policy = settings.queues[journey.queue]
        decision = on_receipt(task, policy, settings.queues, deliveries=0, now=now)
        if isinstance(decision, Run):
            break
        assert isinstance(decision, Again | Move)
        corrections += isinstance(decision, Again)
        assert corrections <= rounds + 20
        (publish,) = successors(message, task, decision, way=settings.way(journey.queue), now=now)
    assert journey.queue == QUEUE
    late_ms = now_ms - NOW_MS - delay_ms
    assert 0 <= late_ms < 1000 * max(theirs.resolution, ours.resolution)


@given(shapes, ladders, ladders, st.integers(1500, 10**9), st.data())
def test_a_consumer_whose_ladder_is_there_no_more_sees_its_tasks_come_back_at_once(
    shape: str, gone: Ladder, there: Ladder, delay_ms: int, data: st.DataObject
) -> None:
    """Unless they find a rung, which takes time off what is left: so nothing goes round in circles."""
    way = data.draw(st.sampled_from(ways(shape, gone)))
    now = NOW_MS / 1000
    message = sent(way, delay_ms).message
    task = decode(message, now=now)
    (again,) = successors(message, task, Again(task.due, 0, None, early=True), way=way, now=now)
    journey = declared(shape, there).reach(again.exchange, again.routing_keys)
    back = arrived(again, journey).headers
    assert came_back_at_once(back, task.due, NOW_MS + journey.stayed_ms + 5) or journey.stayed_ms


def test_what_died_far_from_its_queue_does_not_run_by_the_settings_of_another() -> None:
    """Nor does its roll_back, and nor does either when it is replayed: both still say whose they are."""
    keys = ["1s>due:theirs", "astray>due:theirs"]
    body = b'{"url": "/x", "roll_back": "/sorry"}'
    lost = Message(body, {"CC": keys}, {"message_id": "m"})
    policy = QueueSettings("ours", base_url="https://ours")
    task = decode(lost, now=NOW_MS / 1000)
    decision = on_receipt(task, policy, {"ours"}, deliveries=0, now=NOW_MS / 1000)
    assert isinstance(decision, Dead)
    for publish in successors(lost, task, decision, way=Way("ours", "ours"), now=NOW_MS / 1000):
        again = revived(Facts(publish.message, "ours"), Way("ours", "ours"), now=NOW_MS / 1000).message
        third = on_receipt(
            decode(again, now=NOW_MS / 1000), policy, {"ours"}, deliveries=0, now=NOW_MS / 1000
        )
        assert (third.reason if isinstance(third, Dead) else third) == "unknown_queue"


NOW = NOW_MS / 1000
OURS = QueueSettings("ours", base_url="https://ours")
WAY = Way("ours", "ours")


def theirs(**headers: Any) -> Message:
    """Make a task of another queue that has come to ours, as it found no way on the ladder of that name."""
    body = b'{"url": "/x", "roll_back": "/sorry"}'
    return Message(body, {"CC": ["1s>due:theirs"], **headers}, {"message_id": "m"})


def received(message: Message, now: float = NOW) -> Run | Move | Again | Dead:
    """Decide what our consumer does with it."""
    return on_receipt(decode(message, now=now), OURS, {"ours", "theirs"}, deliveries=0, now=now)


def settled(message: Message, decision: Again | Dead | Move, way: Way = WAY) -> tuple[Publish, ...]:
    """List what follows from a decision."""
    return successors(message, decode(message, now=NOW), decision, way=way, now=NOW)


def put_off(message: Message) -> Publish | None:
    """Try it later, as its own queue does not take it for now."""
    (publish,) = settled(message, unmoved(decode(message, now=NOW), OURS, now=NOW, spread=0.0))
    return publish


def died(message: Message) -> Publish | None:
    """Have it die here."""
    return settled(message, Dead("failed", "e", 1))[0]


def unread(message: Message) -> Publish | None:
    """Have it die here as what can't be read."""
    return successors(message, None, Dead("invalid", "e", 0), way=WAY, now=NOW)[0]


def replayed(message: Message) -> Publish | None:
    """Replay it from our dead queue; the broker, which brings what is expired there, leaves its way."""
    return revived(Facts(message, "ours"), WAY, now=NOW)


COPIES: tuple[Callable[[Message], Publish | None], ...] = (
    put_off,
    died,
    unread,
    replayed,
    lambda message: cancelled("ours")(Facts(message), NOW),
    lambda message: run_now("ours")(Facts(message), NOW),
    lambda message: moved(WAY, to=NOW + 60, out_of="ours")(Facts(message), NOW),
)


@pytest.mark.parametrize("first", COPIES)
@pytest.mark.parametrize("second", COPIES)
def test_a_copy_that_stays_with_another_queue_never_runs_there(
    first: Callable[[Message], Publish | None], second: Callable[[Message], Publish | None]
) -> None:
    """Whatever it went through, and whatever way it has now: it is moved to its own queue, and runs there."""
    message = theirs()
    for copy in (first, second):
        publish = copy(message)
        assert publish is not None
        message = arrived(publish, Journey("ours", (), 0, strayed=False))
        assert received(message, NOW + 100) == Move("theirs")
    (home,) = settled(message, Move("theirs"))
    task = decode(home.message, now=NOW + 100)
    policy = QueueSettings("theirs", base_url="https://theirs")
    assert on_receipt(task, policy, {"ours", "theirs"}, deliveries=0, now=NOW + 100) == Run()
    # It has come home: nothing leads it back there from wherever an operator moves it.
    assert MEANT_FOR not in home.message.headers


def test_a_roll_back_is_called_in_the_queue_that_an_operator_moved_its_task_to() -> None:
    """Though the task still says for which one it once was."""
    off = put_off(theirs())
    assert off is not None
    chosen = moved(Way("third", "third"), out_of="ours")(Facts(off.message), NOW)
    assert chosen is not None
    _, roll_back = settled(chosen.message, Dead("failed", "e", 1), Way("third", "third"))
    assert roll_back.exchange == "third.wait.due"
    assert meant_for(roll_back.message.headers) is None
