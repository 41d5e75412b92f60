"""The rungs of a ladder in the order in which they are looked through, and what a waiting message tells."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.operate.reading import Facts
from taskqueue.operate.rungs import of_ladders, rest_ms, rungs, stages
from taskqueue.operate.waiting import is_for, waiting_task
from taskqueue.settings import QueueSettings, Settings
from taskqueue.task.message import Message
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import CLASSIC, plan_ladder
from tests.support.routing import configured, ladders

SETTINGS = Settings(queues={"mail": QueueSettings("mail")})
LADDER = SETTINGS.rungs


def test_rungs_go_from_the_longest_to_the_shortest() -> None:
    """Every one, by the name of its queue."""
    found = rungs("mail", SETTINGS)
    assert (len(found), found[0].queue, found[-1].queue) == (72, "mail.wait.9000000s", "mail.wait.0.1s")
    assert [rung.ttl_ms for rung in found] == sorted((rung.ttl_ms for rung in found), reverse=True)


@given(ladders, st.sampled_from(["quorum", CLASSIC]))
def test_the_rungs_are_the_wait_queues_of_the_plan(ladder: Ladder, queue_type: str) -> None:
    """Of the type that is configured."""
    settings = configured("own", ladder, queue_type)
    queues = plan_ladder("mail", settings.layout).queues
    planned = {
        each.name: each.arguments["x-message-ttl"] for each in queues if "x-message-ttl" in each.arguments
    }
    assert {rung.queue: rung.ttl_ms for rung in rungs("mail", settings)} == planned


@given(ladders, st.data())
def test_a_task_only_ever_moves_on_to_a_shorter_rung(ladder: Ladder, data: st.DataObject) -> None:
    """So a look from the longest rung to the shortest can't miss one that moves meanwhile."""
    walk = [ladder.ttl_ms(leg) for leg in ladder.legs(data.draw(st.integers(1, ladder.longest)))]
    assert walk == sorted(set(walk), reverse=True)


@given(ladders, st.data())
def test_a_task_walks_the_stages_in_their_order_and_has_one_rung_of_each_at_most(
    ladder: Ladder, data: st.DataObject
) -> None:
    """So looks at all the rungs of a stage at once, stage by stage, can't miss one that moves meanwhile."""
    settings = replace(SETTINGS, resolution=ladder.resolution, levels=ladder.levels)
    place = {
        rung.ttl_ms: number for number, stage in enumerate(stages(rungs("mail", settings))) for rung in stage
    }
    walk = [place[ladder.ttl_ms(leg)] for leg in ladder.legs(data.draw(st.integers(1, ladder.longest)))]
    assert walk == sorted(set(walk))
    assert len(place) == 9 * ladder.levels


@given(ladders, ladders, st.data())
def test_a_task_walks_the_stages_of_a_former_ladder_in_their_order_too(
    ladder: Ladder, former: Ladder, data: st.DataObject
) -> None:
    """All ladders are windows of one, so what is left of several is looked through at once."""
    settings = replace(SETTINGS, resolution=ladder.resolution, levels=ladder.levels)
    listed = [names.rung("former", former.ttl(leg)) for leg in former.rungs()]
    every = rungs("mail", settings, listed, led_to=listed[:1])
    place = {rung.queue: number for number, stage in enumerate(stages(every)) for rung in stage}
    walk = [former.ttl(leg) for leg in former.legs(data.draw(st.integers(1, former.longest)))]
    walked = [place[names.rung("former", ttl)] for ttl in walk]
    assert walked == sorted(set(walked))
    # One that no key leads to has no entry.
    assert {rung.queue: rung.entry for rung in every if rung.entry != "mail.wait"} == dict.fromkeys(
        listed
    ) | {listed[0]: "former.wait"}


def test_a_former_rung_goes_with_the_ladder_that_its_queue_waits_on_now() -> None:
    """Also where many share that; what is of no queue here is left alone."""
    queues = [QueueSettings("mail", ladder="all"), QueueSettings("sms", ladder="all"), QueueSettings("own")]
    listed = ("mail.wait.20s", "all.wait.3s", "own.wait.1s.classic", "other.wait.1s", "mail", "mail.wait.due")
    assert of_ladders(queues, listed) == {
        "all": ["mail.wait.20s", "all.wait.3s"],
        "own": ["own.wait.1s.classic"],
    }


@given(ladders, st.data(), st.booleans())
def test_the_way_of_a_task_tells_when_it_leaves_each_rung(
    ladder: Ladder, data: st.DataObject, shared: object
) -> None:
    """By the stays that follow: so it is given back in time, whichever rung it is seen on."""
    ticks = data.draw(st.integers(1, ladder.longest))
    legs = ladder.legs(ticks)
    keys = ladder.itinerary(ticks, "mail")[1:] + (("astray>due:mail",) if shared else ())
    for place, leg in enumerate(legs):
        assert rest_ms(keys, ladder.ttl(leg)) == sum(map(ladder.ttl_ms, legs[place + 1 :]))


@given(
    st.lists(st.text(max_size=8) | st.sampled_from(["in>20s", "10s>due:mail", "look"])), st.text(max_size=4)
)
def test_no_key_that_others_write_keeps_a_look_from_going_on(keys: list[str], ttl: str) -> None:
    """They can publish onto the ladder, too."""
    assert rest_ms(keys, ttl) >= 0


@given(ladders, st.data())
def test_a_task_on_a_rung_is_due_within_what_the_rung_says(ladder: Ladder, data: st.DataObject) -> None:
    """Its stay there and all that follows; the longest rung promises nothing, as tasks go round on it."""
    settings = replace(SETTINGS, resolution=ladder.resolution, levels=ladder.levels)
    within = {rung.ttl_ms: rung.within_ms for rung in rungs("mail", settings)}
    walk = [ladder.ttl_ms(leg) for leg in ladder.legs(data.draw(st.integers(1, ladder.longest)))]
    for place, stay in enumerate(walk):
        assert stay <= sum(walk[place:]) < within[stay]
    assert [stay for stay, most in within.items() if most > 2 * stay] == [max(within)]


def test_a_waiting_task_tells_when_it_is_due_and_why_it_failed() -> None:
    """From the headers, the url from the body."""
    headers = {"taskqueue-due": 1_764_074_365_500, "taskqueue-runs": 2, "taskqueue-error": "status 500"}
    task = waiting_task(Facts(Message(b'{"url": "/x"}', headers, {"message_id": "a"})), "20s")
    assert (task.id, task.url, task.due, task.runs) == ("a", "/x", 1_764_074_365.5, 2)
    assert (task.error, task.rung) == ("status 500", "20s")


def test_a_waiting_message_that_tells_nothing_is_read_all_the_same() -> None:
    """Others can publish onto the ladder, too."""
    message = Message(b"\xff", {"taskqueue-due": "soon", "taskqueue-runs": -1, "taskqueue-error": 7})
    task = waiting_task(Facts(message), "20s")
    assert (task.id, task.url, task.due, task.runs, task.error) == (None, None, None, 0, None)


@pytest.mark.parametrize(
    ("headers", "ours"),
    [
        ({"CC": ["10s>due:mail"]}, True),
        ({"CC": ["10s>due:news"]}, False),
        ({"CC": ["10s>0.3s", "0.1s>due:news", "astray>due:news"]}, False),
        ({"CC": ["10s>due:mail", "astray>due:mail"]}, True),
        ({}, True),
        ({"CC": []}, True),
        ({"CC": ["10s>due"]}, True),
        ({"CC": [b"\xff"]}, True),
        ({"CC": "10s>due:news"}, True),
        ({"CC": None}, True),
    ],
)
def test_a_look_at_a_queue_leaves_the_tasks_of_others_on_its_ladder_alone(
    headers: dict[str, Any], *, ours: bool
) -> None:
    """What does not say whose it is may be anybody's."""
    assert is_for(Message(b"{}", headers), "mail") is ours
