"""When a message leaves its rung, so that a look gives it back in time."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.operate.rung_look import leaving
from taskqueue.schedule.messages import Wake, ask_publish, wake_publish
from taskqueue.task.message import Message, Publish
from taskqueue.topology.ladder import Way

NOW = 1_764_074_365
WAY = Way("mail", "mail")
TASK = Message(b"{}", {"taskqueue-due": (NOW + 23) * 1000})


def on_ladder(publish: Publish) -> Message:
    """Give a message as a rung holds it."""
    return replace(publish.message, headers={**publish.message.headers, "CC": list(publish.routing_keys[1:])})


def test_a_task_leaves_when_the_legs_that_follow_are_what_is_left() -> None:
    """By its due time and its way."""
    exchange, keys = WAY.route((NOW + 23) * 1000, NOW)
    message = on_ladder(Publish(exchange, keys, TASK))
    assert leaving(message, "20s", NOW * 1000) == (NOW + 20) * 1000
    assert leaving(message, "3s", NOW * 1000) == (NOW + 23) * 1000


def test_a_wake_up_is_given_back_in_time_too() -> None:
    """It has no due time of its own; what it was sent for is that."""
    message = on_ladder(wake_publish(Wake(NOW + 23), WAY, NOW))
    assert leaving(message, "20s", NOW * 1000) == (NOW + 20) * 1000


def test_a_wake_up_that_asks_for_the_time_is_given_back_at_once() -> None:
    """Whatever it was sent for: it stays for a tick."""
    message = on_ladder(ask_publish(Wake(NOW + 3600), WAY, float(NOW)))
    assert leaving(message, "0.1s", NOW * 1000) == NOW * 1000


@pytest.mark.parametrize("headers", [{}, {"taskqueue-due": (NOW - 3600) * 1000}, {"taskqueue-due": "soon"}])
def test_of_what_does_not_say_or_should_be_gone_nobody_knows(headers: dict[str, Any]) -> None:
    """It is held until the look ends."""
    assert leaving(Message(b"{}", headers), "20s", NOW * 1000) is None


@given(st.binary() | st.sampled_from([b'{"wake": 1e999, "asked": null}', b'{"wake": 7, "asked": NaN}']))
def test_no_body_keeps_a_look_from_going_on(body: bytes) -> None:
    """Others can publish onto the ladder, too."""
    found = leaving(Message(body), "20s", NOW * 1000)
    assert found is None or found >= 0
