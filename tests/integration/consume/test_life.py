"""The life of a task on a real broker and a real receiver: every arrow of the state diagram."""

from __future__ import annotations

import dataclasses
import itertools
import json
import threading
import time
from collections.abc import Callable

import pytest

from sandbox.receiver import Answer, Receiver
from taskqueue.broker.connect import parameters
from taskqueue.consume.consumer import Consumer
from taskqueue.consume.metrics import NullMetrics
from taskqueue.settings import load
from tests.support.stage import Stage, eventually

LATE = 30.0
"""A generous bound on lateness, in seconds, for a machine that does other things as well."""
BUSY = 1.5
"""Seconds that such a machine may take over one request more than over the next one."""


def test_a_raw_message_becomes_a_post(stage: Stage, receiver: Receiver) -> None:
    """Any program that can publish JSON can use it."""
    # Given a consumer
    stage.consume()
    # When a message is published to the queue of that name
    stage.publish({"url": "/hello?a=b", "payload": {"user": 7}}, message_id="task-1")
    # Then its payload arrives as a POST that says what it is
    (request,) = receiver.wait_for(1)
    assert (request.method, request.path, request.json) == ("POST", "/hello?a=b", {"user": 7})
    assert request.headers["Content-Type"] == "application/json"
    assert request.headers["Taskqueue-Id"] == request.headers["Idempotency-Key"] == "task-1"
    assert request.headers["Taskqueue-Queue"] == stage.name
    assert request.headers["Taskqueue-Attempt"] == "1"
    assert request.headers["Taskqueue-Previous-Error"] is None
    stage.settle()


@pytest.mark.parametrize(
    ("fields", "body"),
    [
        ({"payload": '{"as":  "it is"}'}, b'{"as":  "it is"}'),
        ({"payload": {"a": [1, None]}}, b'{"a": [1, null]}'),
        ({}, b"{}"),
    ],
)
def test_payload_a_string_goes_as_it_is_an_object_as_written_none_as_an_empty_object(
    stage: Stage, receiver: Receiver, fields: dict[str, object], body: bytes
) -> None:
    """The three forms of a payload."""
    stage.consume()
    stage.publish({"url": "/x", **fields})
    (request,) = receiver.wait_for(1)
    assert request.body == body


def test_a_payload_and_that_of_its_roll_back_go_out_as_they_were_written(
    stage: Stage, receiver: Receiver
) -> None:
    """Digit for digit, and 6 MB of text as 6 MB, not 18 that no broker takes."""
    receiver.answer("/x", 500)
    stage.consume()
    written = f'[9007199254740993.25, 1000000000000000000.5, "{"ü" * 3_000_000}"]'.encode()
    head = b'{"url": "/x", "max_retries": 1, "roll_back": "/undo", "payload": '
    stage.publish(b"%s%s}" % (head, written))
    requests = {request.path: request.body for request in receiver.wait_for(2)}
    assert requests == {"/x": written, "/undo": written}


def test_url_may_be_full(stage: Stage, receiver: Receiver) -> None:
    """Then the queue's base_url does not count."""
    stage.configure(base_url="http://127.0.0.1:9")
    stage.consume()
    stage.publish({"url": f"{receiver.url}/full"})
    (request,) = receiver.wait_for(1)
    assert request.path == "/full"


def test_countdown_of_a_raw_message_is_spent_in_the_broker(stage: Stage, receiver: Receiver) -> None:
    """The consumer puts it on the ladder, and gets it back when it is due."""
    stage.consume()
    sent = time.time()
    stage.publish({"url": "/x", "countdown": 1.3})
    (request,) = receiver.wait_for(1)
    assert 1.3 <= request.at - sent < 1.3 + LATE
    assert float(request.headers["Taskqueue-Due"]) >= sent + 1.3
    stage.settle()


def test_countdown_of_a_client_goes_straight_onto_the_ladder(stage: Stage, receiver: Receiver) -> None:
    """No consumer touches the task before it is due: there is none until then."""
    sent = time.time()
    stage.send("/x", countdown=1.2)
    eventually(lambda: stage.depth() == 1, "the broker has brought it to the work queue")
    assert time.time() - sent >= 1.2
    stage.consume()
    (request,) = receiver.wait_for(1)
    assert 1.2 <= request.at - sent < 1.2 + LATE


def test_eta_is_kept_and_one_in_the_past_runs_now(stage: Stage, receiver: Receiver) -> None:
    """Both ways of sending."""
    stage.consume()
    stage.publish({"url": "/past", "eta": 5})
    receiver.wait_for(1, path="/past")
    eta = time.time() + 1.0
    stage.publish({"url": "/raw", "eta": eta})
    stage.send("/client", eta=eta)
    requests = {request.path: request.at for request in receiver.wait_for(3)}
    assert eta <= requests["/raw"] < eta + LATE
    assert eta <= requests["/client"] < eta + LATE


def test_no_task_is_early_and_short_ones_pass_long_ones(stage: Stage, receiver: Receiver) -> None:
    """200 tasks with delays of 0.1 to 3 s: none early, none behind a longer one."""
    stage.consume()
    with stage.client() as client:
        sent = time.time()
        client.send_many(
            {"url": f"/{number}", "queue": stage.name, "countdown": 0.1 + number % 30 / 10}
            for number in range(200)
        )
    requests = receiver.wait_for(200)
    late = [request.at - float(request.headers["Taskqueue-Due"]) for request in requests]
    assert min(late) >= 0
    assert max(late) < LATE
    assert all(request.at - sent >= 0.1 + int(request.path[1:]) % 30 / 10 for request in requests)
    stage.settle()


def test_a_delay_longer_than_the_ladder_goes_round_again(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """The longest itinerary of one level is 0.9 s; the consumer sends the rest round."""
    stage = staged()
    stage.close()
    stage.path.write_text(stage.path.read_text().replace("levels = 3", "levels = 1"))
    stage.settings = load(stage.path)
    stage.declare()
    stage.consume()
    sent = time.time()
    stage.send("/x", countdown=2.3)
    (request,) = receiver.wait_for(1)
    assert 2.3 <= request.at - sent < 2.3 + LATE
    stage.settle()


def test_a_failure_is_retried_with_backoff_until_a_200(stage: Stage, receiver: Receiver) -> None:
    """0.2, 0.4 and 0.8 s, the attempt and the last error told each time, the id the same."""
    receiver.answer("/x", [500, 503, Answer(502), 200])
    stage.consume()
    stage.publish({"url": "/x"}, message_id="m")
    requests = receiver.wait_for(4)
    gaps = [later.at - earlier.at for earlier, later in itertools.pairwise(requests)]
    for gap, backoff in zip(gaps, (0.2, 0.4, 0.8), strict=True):
        assert backoff <= gap < backoff + LATE
    assert [request.headers["Taskqueue-Attempt"] for request in requests] == ["1", "2", "3", "4"]
    errors = [request.headers["Taskqueue-Previous-Error"] for request in requests]
    assert errors == [None, "status 500", "status 503", "status 502"]
    assert {request.headers["Taskqueue-Id"] for request in requests} == {"m"}
    stage.settle()


def test_without_a_limit_it_is_retried_on_and_on(stage: Stage, receiver: Receiver) -> None:
    """Until the answer is a 200."""
    stage.configure(min_backoff_seconds=0.1, max_backoff_seconds=0.1)
    receiver.answer("/x", [500] * 14 + [200])
    stage.consume()
    stage.publish({"url": "/x"})
    assert len(receiver.wait_for(15)) == 15
    stage.settle()


def test_max_retries_of_three_makes_exactly_three_requests(stage: Stage, receiver: Receiver) -> None:
    """Then it is dead, with the reason, and its body untouched."""
    receiver.answer("/x", 500)
    stage.consume()
    body = b'{"url":  "/x", "max_retries": 3 }'
    stage.publish(body, message_id="m", content_type="text/weird", priority=3)
    ((headers, dead, properties),) = stage.dead()
    assert len(receiver.requests) == 3
    assert (headers["taskqueue-reason"], headers["taskqueue-error"]) == ("failed", "status 500")
    assert headers["taskqueue-runs"] == 3
    assert dead == body
    assert (properties.message_id, properties.content_type, properties.priority) == ("m", "text/weird", 3)
    assert "x-death" not in headers
    stage.settle()


def test_a_dead_task_is_rolled_back(stage: Stage, receiver: Receiver) -> None:
    """A task of its own: same payload and max_retries, retried itself, without a roll_back."""
    receiver.answer("/x", 500)
    receiver.answer("/undo", [500, 200])
    stage.consume()
    stage.publish({"url": "/x", "payload": {"n": 1}, "max_retries": 2, "roll_back": "/undo"}, message_id="m")
    first, second = receiver.wait_for(2, path="/undo")
    assert first.json == second.json == {"n": 1}
    assert first.headers["Taskqueue-Failed-Url"] == "/x"
    assert first.headers["Taskqueue-Failed-Id"] == "m"
    assert first.headers["Taskqueue-Failure"] == "failed: status 500"
    assert first.headers["Taskqueue-Id"] == second.headers["Taskqueue-Id"] == "m.roll_back"
    assert [first.headers["Taskqueue-Attempt"], second.headers["Taskqueue-Attempt"]] == ["1", "2"]
    assert len(receiver.to("/x")) == 2
    stage.dead()
    stage.settle()


def test_an_expired_task_is_dead_and_rolled_back(stage: Stage, receiver: Receiver) -> None:
    """It is never run, and the roll_back says why."""
    stage.consume()
    stage.publish({"url": "/x", "expires": time.time() - 1, "roll_back": "/undo"})
    (request,) = receiver.wait_for(1)
    assert request.path == "/undo"
    assert request.headers["Taskqueue-Failure"].startswith("expired: ")
    ((headers, _, _),) = stage.dead()
    assert headers["taskqueue-reason"] == "expired"


def test_a_task_that_expires_between_retries_is_dead(stage: Stage, receiver: Receiver) -> None:
    """It runs while it may."""
    receiver.answer("/x", 500)
    stage.consume()
    stage.publish({"url": "/ready"})
    receiver.wait_for(1)
    stage.publish({"url": "/x", "expires": time.time() + 3})
    ((headers, _, _),) = stage.dead()
    assert headers["taskqueue-reason"] == "expired"
    assert headers["taskqueue-error"] == "status 500"
    assert receiver.to("/x")


def test_a_task_for_another_queue_is_moved_there(staged: Callable[..., Stage], receiver: Receiver) -> None:
    """And it runs by that queue's settings."""
    other = staged()
    stage = staged()
    stage.configure(others={other.name: {"base_url": f"{receiver.url}/other"}})
    stage.consume()
    stage.publish({"url": "/x", "queue": other.name, "countdown": 0.3}, message_id="m")
    (request,) = receiver.wait_for(1)
    assert request.path == "/other/x"
    assert request.headers["Taskqueue-Queue"] == other.name
    assert request.headers["Taskqueue-Id"] == "m"
    stage.stop()
    stage.configure()


def test_a_task_for_an_unknown_queue_is_dead(stage: Stage, receiver: Receiver) -> None:
    """One that no section names, and one that is in the ini and was never declared."""
    stage.configure(others={"never-declared": {}})
    consumer_settings = stage.settings
    stage.configure()
    consumer = Consumer(
        dataclasses.replace(consumer_settings, queues=stage.settings.queues),
        parameters(stage.settings),
        NullMetrics(),
        known=consumer_settings.queues,
    )
    thread = threading.Thread(target=consumer.run)
    thread.start()
    stage.publish({"url": "/x", "queue": "nobody-knows"})
    stage.publish({"url": "/x", "queue": "never-declared"})
    dead = stage.dead(2)
    consumer.stop()
    thread.join()
    assert {headers["taskqueue-reason"] for headers, _, _ in dead} == {"unknown_queue"}
    errors = " ".join(headers["taskqueue-error"] for headers, _, _ in dead)
    assert "nobody-knows" in errors
    assert "never-declared" in errors
    assert receiver.requests == []


def test_metadata_reaches_the_headers_handler(stage: Stage, receiver: Receiver) -> None:
    """It may choose method and headers."""
    stage.consume()
    stage.publish({"url": "/x", "metadata": {"method": "PUT", "headers": {"X-Tenant": "acme"}}})
    (request,) = receiver.wait_for(1)
    assert (request.method, request.headers["X-Tenant"]) == ("PUT", "acme")


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"not json", "body: is not JSON"),
        (b"[1]", "body: must be a JSON object"),
        (b'{"payload": 1}', "url: is missing"),
        (b'{"url": "/x", "countdown": "soon"}', "countdown: must be a number of seconds, got 'soon'"),
        (b'{"url": "/x", "eta": NaN}', "NaN is not a JSON number"),
        (b'{"url": "/x", "countdown": -3}', "countdown: must be from 0 to 253402300799 seconds, got -3"),
        (b'{"url": "/x", "eta": 1, "countdown": 1}', "eta: goes without countdown"),
        (b'\xff{"url": "/x"}', "body: is not UTF-8"),
        (b'{"url": "gopher://x/"}', "url: must have the scheme http or https, got 'gopher'"),
        (b'{"url": "/' + b"x" * 20_000 + b'"}', "url: must have at most 16384 characters"),
    ],
)
def test_bad_input_is_dead_with_its_reason_and_its_body_as_it_came(
    stage: Stage, receiver: Receiver, body: bytes, words: str
) -> None:
    """Nothing is lost, and the next task runs."""
    stage.consume()
    stage.publish(body, headers={"mine": "kept"})
    stage.publish({"url": "/next"})
    ((headers, dead, _),) = stage.dead()
    assert headers["taskqueue-reason"] == "invalid"
    assert words in headers["taskqueue-error"]
    assert headers["mine"] == "kept"
    assert dead == body
    assert receiver.wait_for(1)[0].path == "/next"
    stage.settle()


def test_headers_of_the_wrong_type_are_invalid(stage: Stage) -> None:
    """Other producers may write anything into headers with our names."""
    stage.consume()
    stage.publish({"url": "/x"}, headers={"taskqueue-runs": "many"})
    ((headers, _, _),) = stage.dead()
    assert "taskqueue-runs: must be a whole number from 0 to 2147483647" in headers["taskqueue-error"]


def test_a_hundred_retries_over_the_same_rungs_arrive_with_headers_of_one_size(
    stage: Stage, receiver: Receiver
) -> None:
    """A kept x-death would be taken for a cycle, and the task dropped."""
    stage.configure(min_backoff_seconds=0.1, max_backoff_seconds=0.1)
    receiver.answer("/x", 500)
    stage.consume()
    stage.publish({"url": "/x", "max_retries": 100})
    ((headers, _, _),) = stage.dead()
    assert len(receiver.requests) == 100
    assert not [name for name in headers if name.startswith("x-") and name != "x-delivery-count"]
    assert "CC" not in headers


def test_retry_after_is_heeded(stage: Stage, receiver: Receiver) -> None:
    """A receiver that asks for time gets it."""
    receiver.answer("/x", [Answer(429, headers={"Retry-After": "1"}), 200])
    stage.consume()
    stage.publish({"url": "/x"})
    first, second = receiver.wait_for(2)
    assert 1 <= second.at - first.at < 1 + LATE


def test_a_rate_is_kept_with_the_waits_in_the_broker(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Ten at once at 3 a second: the first at once, the last after three seconds."""
    stage = staged(rate="3/s")
    stage.consume()
    with stage.client() as client:
        client.send_many({"url": f"/{number}", "queue": stage.name} for number in range(10))
    requests = receiver.wait_for(10)
    times = sorted(request.at for request in requests)
    for first in range(len(times)):
        for last in range(first + 1, len(times)):
            assert last - first <= 3 * (times[last] - times[first]) + 1 + 3 * BUSY
    assert times[-1] - times[0] < 3 + LATE
    stage.settle()


def test_queues_that_share_a_ladder_get_their_own_tasks_back(
    staged: Callable[..., Stage], receiver: Receiver
) -> None:
    """Countdowns and retries of both walk the same rungs, and each comes to its own work queue."""
    stage = staged(ladder="of-all")
    other = "beside"
    stage.configure(
        ladder="of-all",
        others={
            other: {"ladder": "of-all", "base_url": receiver.url, "min_backoff_seconds": 0.2, "jitter": 0}
        },
    )
    stage.declare()
    receiver.answer("/x", lambda request: 500 if request.headers["Taskqueue-Attempt"] == "1" else 200)
    stage.consume()
    sent = time.time()
    with stage.client() as client:
        for number in range(20):
            client.send("/x", (stage.name, other)[number % 2], countdown=0.5, id=f"{number}")
    requests = receiver.wait_for(40)
    for request in requests:
        assert (
            request.headers["Taskqueue-Queue"]
            == (stage.name, other)[int(request.headers["Taskqueue-Id"]) % 2]
        )
        assert request.at - sent >= 0.5
    assert len({(each.headers["Taskqueue-Id"], each.headers["Taskqueue-Attempt"]) for each in requests}) == 40
    stage.settle()


def test_a_slow_queue_does_not_hold_up_another(staged: Callable[..., Stage], receiver: Receiver) -> None:
    """Every queue has a channel, a prefetch and threads of its own."""
    release = threading.Event()
    receiver.answer("/slow", Answer(hold=release))
    other = staged()
    stage = staged(concurrency=1)
    stage.configure(concurrency=1, others={other.name: {"base_url": receiver.url}})
    stage.consume()
    for _ in range(30):
        stage.publish({"url": "/slow"})
    receiver.wait_for(1, path="/slow")
    other.publish({"url": "/quick"})
    receiver.wait_for(1, path="/quick")
    release.set()
    stage.stop()
    stage.configure()


def test_replies_do_not_change_the_body(stage: Stage, receiver: Receiver) -> None:
    """After retries the dead copy is byte for byte what was published."""
    receiver.answer("/x", 500)
    stage.consume()
    body = json.dumps(
        {"url": "/x", "max_retries": 2, "payload": "ünï"}, ensure_ascii=False, indent=3
    ).encode()
    stage.publish(body)
    ((_, dead, _),) = stage.dead()
    assert dead == body
