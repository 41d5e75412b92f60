"""The probe of a consumer and its finding, as messages that anybody may have written."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.operate.rung_look import leaving
from taskqueue.task.message import Message
from taskqueue.task.probe import (
    Finding,
    call_publish,
    finding_publish,
    is_probe,
    probe_publish,
    read_finding,
    stay,
    stay_seconds,
)
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import plan
from tests.support.routing import SHAPES, configured, ladders, shapes


def received(message: Message, keys: tuple[str, ...]) -> Message:
    """Give it as the broker hands it out, with the keys but the first in a header."""
    return Message(message.body, {**message.headers, "CC": list(keys[1:])}, message.properties)


@given(shapes, ladders)
def test_a_probe_comes_to_its_queue_by_the_shortest_rung(shape: str, ladder: Ladder) -> None:
    """Followed through the plan: one queue at each hop, but for the copy that is dropped at the end."""
    name = SHAPES[shape]
    sent = probe_publish(name, ladder, "id", 1000.0)
    routes: dict[tuple[str, str], set[str]] = {}
    for each in plan(configured(shape, ladder).layout).bindings:
        routes.setdefault((each.exchange, each.routing_key), set()).add(each.queue)

    def to(exchange: str) -> set[str]:
        return {queue for key in sent.routing_keys for queue in routes.get((exchange, key), ())}

    assert sent.exchange == names.wait(name)
    (rung,) = to(sent.exchange)
    timed = names.timed(rung)
    assert timed is not None
    assert float(timed.seconds) == stay_seconds(ladder)
    assert to(timed.level) == {names.probe(name), names.looked(name)}
    assert routes[names.control(name), call_publish(name).routing_keys[0]] == {names.probe(name)}
    found = finding_publish(name, Finding("id", out=True), 30)
    assert routes[found.exchange, found.routing_keys[0]] == {names.probed(name)}


def test_a_look_gives_a_probe_back_when_its_stay_is_over() -> None:
    """It has a due time like a task; one that a command sent has none, and is a marker."""
    sent = probe_publish("mail", Ladder(), "id", 1000.0)
    message = received(sent.message, sent.routing_keys)
    assert is_probe(message)
    assert leaving(message, stay(Ladder()), 1_000_000) == 1_000_100
    assert not is_probe(received(Message(b""), ("in>0.1s", "0.1s>probe", names.LOOK)))
    assert not is_probe(received(Message(b"{}"), sent.routing_keys))


@pytest.mark.parametrize("late", [None, 0.0, 3.25])
def test_a_finding_is_read_as_it_was_written(late: float | None) -> None:
    """And it is gone after a while, so that none is believed for ever."""
    finding = Finding("id", out=late is None, lateness=late)
    written = finding_publish("mail", finding, 30.0)
    assert read_finding(written.message) == finding
    assert written.message.properties["expiration"] == "30000"


@given(st.binary() | st.sampled_from([b"[]", b'{"probe": 1, "out": true}', b'{"probe": "a", "out": 1}']))
def test_what_is_no_finding_is_none(body: bytes) -> None:
    """Whoever wrote it."""
    assert read_finding(Message(body)) is None


@pytest.mark.parametrize("late", ['"1"', "true", "-1", "NaN", "Infinity", "[]"])
def test_a_lateness_that_is_no_number_is_not_known(late: str) -> None:
    """Never zero."""
    body: Any = f'{{"probe": "a", "out": false, "lateness": {late}}}'
    assert read_finding(Message(body.encode())) == Finding("a", out=False)
