"""What must be confirmed before an ack: messages made from a decision."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from taskqueue.task.astray import SENT_ROUND, came_back_at_once
from taskqueue.task.decide import Again, Dead, Done, Move
from taskqueue.task.decode import LARGEST_BODY, decode
from taskqueue.task.message import Message, Publish
from taskqueue.task.result import Following
from taskqueue.task.settle import roll_back_id, slimmer, successors
from taskqueue.topology.ladder import Way

NOW = 1_700_000_000.0
NOW_MS = 1_700_000_000_000
WAY = Way("q", "q")
SHARED = Way("q", "crowd")


def message(fields: dict[str, Any], headers: dict[str, Any] | None = None) -> Message:
    """Make a message as the broker hands it out after a walk through the ladder."""
    walked = {
        "x-death": [{"queue": "q.wait.20s"}],
        "x-first-death-queue": "q.wait.20s",
        "x-last-death-reason": "expired",
        "x-delivery-count": 3,
        "CC": ["10s>due:q"],
    }
    properties = {"message_id": "id-1", "priority": 5, "content_type": "application/json", "user_id": "app"}
    body = json.dumps(fields).encode()
    return Message(body, {"traceparent": "00-ab", **walked, **(headers or {})}, properties)


def settle(source: Message, decision: Any, way: Way = WAY) -> tuple[Publish, ...]:
    """List the successors of a message in queue q."""
    return successors(source, decode(source, now=NOW), decision, way=way, now=NOW)


def test_success_leaves_nothing_behind() -> None:
    """The ack is all."""
    assert settle(message({"url": "/x"}), Done()) == ()


def test_a_retry_walks_the_ladder_with_its_state_in_headers() -> None:
    """Body, priority and trace stay; what the broker wrote, the old itinerary and the login go."""
    source = message({"url": "/x"})
    (publish,) = settle(source, Again(NOW_MS + 25_300, 2, "status 503"))
    assert publish.exchange == "q.wait"
    assert publish.routing_keys == ("in>20s", "10s>5s", "1s>0.3s", "0.1s>due:q")
    assert publish.message.body is source.body
    assert publish.message.headers == {
        "traceparent": "00-ab",
        "taskqueue-due": NOW_MS + 25_300,
        "taskqueue-runs": 2,
        "taskqueue-error": "status 503",
        "taskqueue-first-seen": NOW_MS,
        "taskqueue-since": NOW_MS,
    }
    assert publish.message.properties == {
        "message_id": "id-1", "priority": 5, "content_type": "application/json",
    }  # fmt: skip


def test_headers_stay_the_same_size_over_a_hundred_retries() -> None:
    """Nothing piles up."""
    source = message({"url": "/x"})
    sizes = set()
    for run in range(100, 200):
        (publish,) = settle(source, Again(NOW_MS + 20_000, run, "status 503"))
        walked = {"x-death": [{"count": run}], "x-first-death-queue": "q", "CC": ["10s>due:q"]}
        source = Message(source.body, {**publish.message.headers, **walked}, publish.message.properties)
        sizes.add(len(str(publish.message.headers)))
    assert len(sizes) == 1


def test_a_retry_on_a_shared_ladder_says_for_which_queue_it_is() -> None:
    """Also where it finds no rung there."""
    (publish,) = settle(message({"url": "/x"}), Again(NOW_MS + 20_000, 1, "status 503"), SHARED)
    assert publish.exchange == "crowd.wait"
    assert publish.routing_keys == ("in>20s", "10s>due:q", "astray>due:q")


def test_a_retry_that_is_due_goes_straight_to_the_work_queue() -> None:
    """No delay is no leg."""
    for way in (WAY, SHARED):
        (publish,) = settle(message({"url": "/x"}), Again(NOW_MS - 5000, 1, "e"), way)
        assert (publish.exchange, publish.routing_keys) == ("q.wait.due", ("q",))


DECISIONS = (
    Done((Following("id-1.next", b'{"url": "/next"}'),)),
    Move("other"),
    Again(NOW_MS - 5, 0, None),
    Again(NOW_MS + 5000, 1, "status 503"),
    Again(NOW_MS + 10**12, 0, None, early=True),
    Dead("failed", "status 500", 3),
    Dead("invalid", "url: \u2026", 0),
)


@pytest.mark.parametrize("decision", DECISIONS)
def test_nothing_is_published_past_the_exchanges_of_its_queue(decision: Any) -> None:
    """One permission pattern for each queue, and one for a shared ladder, is all that a consumer needs."""
    source = message({"url": "/x", "roll_back": "/undo"})
    for way, allowed in ((WAY, r"(q|other)(\..*)?"), (SHARED, r"(q|other)(\..*)?|crowd\.wait(\..*)?")):
        for publish in settle(source, decision, way):
            assert re.fullmatch(allowed, publish.exchange)


@pytest.mark.parametrize("decision", DECISIONS)
def test_no_successor_keeps_what_the_broker_wrote(decision: Any) -> None:
    """A kept x-death is taken for a cycle, and a kept itinerary would lead it on two ways at once."""
    for publish in settle(message({"url": "/x", "roll_back": "/undo"}), decision):
        assert not {name for name in publish.message.headers if name == "CC" or name.startswith("x-")}


def test_what_came_early_tells_when_it_was_sent_round() -> None:
    """So that a consumer whose ladder is gone sees it come back at once."""
    (publish,) = settle(message({"url": "/x"}), Again(NOW_MS + 20_000, 2, "e", early=True))
    assert publish.message.headers[SENT_ROUND] == NOW_MS
    assert came_back_at_once(publish.message.headers, NOW_MS + 20_000, NOW_MS + 100)


@pytest.mark.parametrize("decision", [Again(NOW_MS + 20_000, 3, "e"), Again(NOW_MS - 5, 2, "e", crashes=1)])
def test_a_task_that_was_sent_round_once_does_not_say_so_for_ever(decision: Again) -> None:
    """A later retry that comes back soon is none that finds no ladder."""
    (publish,) = settle(message({"url": "/x"}, {SENT_ROUND: NOW_MS - 5, "taskqueue-runs": 2}), decision)
    assert SENT_ROUND not in publish.message.headers


def test_a_move_keeps_everything_for_the_other_queue() -> None:
    """It is published to that queue, and judged there."""
    (publish,) = settle(message({"url": "/x", "queue": "other"}), Move("other"))
    assert (publish.exchange, publish.routing_keys) == ("other.wait.due", ("other",))
    assert "x-death" not in publish.message.headers


def test_a_move_takes_its_state_along() -> None:
    """Runs, error and the time it was first seen: it is the same task."""
    state = {"taskqueue-runs": 2, "taskqueue-error": "e", "taskqueue-first-seen": 4, "taskqueue-due": 5}
    (publish,) = settle(message({"url": "/x"}, state), Move("other"))
    assert state.items() <= publish.message.headers.items()


def test_a_move_does_not_begin_the_countdown_again() -> None:
    """It was counted from the first receipt."""
    (publish,) = settle(message({"url": "/x", "queue": "other", "countdown": 5}), Move("other"))
    assert publish.message.headers["taskqueue-due"] == NOW_MS + 5000
    assert decode(publish.message, now=NOW + 3).due == NOW_MS + 5000


def test_a_dead_task_goes_to_the_dead_queue_with_its_reason() -> None:
    """Without a roll_back that is all."""
    (publish,) = settle(message({"url": "/x"}), Dead("failed", "status 500", 3))
    assert publish.exchange == "q.dead"
    assert publish.message.headers["taskqueue-reason"] == "failed"
    assert publish.message.headers["taskqueue-error"] == "status 500"
    assert publish.message.headers["taskqueue-runs"] == 3
    assert publish.message.headers["taskqueue-died"] == NOW_MS


def test_a_roll_back_is_a_task_of_its_own() -> None:
    """Same payload and max_retries, headers that say what failed, no roll_back, no timing, no state."""
    fields = {
        "url": "/x", "payload": "raw", "max_retries": 3, "metadata": {"a": 1},
        "roll_back": "/undo", "expires": 9e9, "countdown": 5, "queue": "q",
    }  # fmt: skip
    source = message(fields, {"taskqueue-due": 5, "taskqueue-runs": 2, "taskqueue-error": "e"})
    dead, roll_back = settle(source, Dead("failed", "status 500", 3))
    assert dead.exchange == "q.dead"
    assert (roll_back.exchange, roll_back.routing_keys) == ("q.wait.due", ("q",))
    assert json.loads(roll_back.message.body) == {
        "url": "/undo", "payload": "raw", "max_retries": 3, "metadata": {"a": 1},
    }  # fmt: skip
    assert roll_back.message.headers == {
        "traceparent": "00-ab",
        "taskqueue-due": NOW_MS,
        "taskqueue-first-seen": NOW_MS,
        "taskqueue-failed-id": "id-1",
        "taskqueue-failed-url": "/x",
        "taskqueue-failure": "failed: status 500",
    }
    assert roll_back.message.properties["message_id"] == "id-1.roll_back"
    task = decode(roll_back.message, now=NOW)
    assert (task.roll_back, task.runs, task.content) == (None, 0, b"raw")
    assert task.failed is not None
    assert task.failed.failure == "failed: status 500"


def test_whatever_was_taken_once_can_be_rolled_back() -> None:
    """Its roll_back is no longer than itself: text of 6 MB and as many bytes as a body may have."""
    for payload in ("ü" * 3_000_000, "x" * (LARGEST_BODY - 52)):
        body = f'{{"url": "/x", "roll_back": "/undo", "payload": ["{payload}"]}}'.encode()
        assert len(body) in {6_000_052, LARGEST_BODY}
        _, roll_back = settle(Message(body, {}, {"message_id": "m"}), Dead("failed", "…", 1))
        assert len(roll_back.message.body) < len(body)
        assert decode(roll_back.message, now=NOW).content == f'["{payload}"]'.encode()


def test_an_invalid_message_is_dead_with_its_body_untouched() -> None:
    """There is no task, so there is no roll_back to trust."""
    source = Message(b"\xff not json", {"taskqueue-due": "x"}, {"message_id": "m"})
    (publish,) = successors(source, None, Dead("invalid", "body: …", 0), way=WAY, now=NOW)
    assert publish.message.body == b"\xff not json"
    assert publish.message.headers["taskqueue-reason"] == "invalid"


def test_what_turns_out_to_be_invalid_for_its_queue_calls_no_roll_back() -> None:
    """A path without a base_url: once the configuration is mended it is replayed, and must not be undone."""
    source = message({"url": "/x", "roll_back": "http://host/undo"})
    (publish,) = settle(source, Dead("invalid", "url: …", 0))
    assert publish.exchange == "q.dead"


@pytest.mark.parametrize("reason", ["failed", "expired", "delivery_limit", "unknown_queue"])
def test_every_other_death_calls_the_roll_back(reason: str) -> None:
    """It was valid, and will not run."""
    _, roll_back = settle(message({"url": "/x", "roll_back": "/undo"}), Dead(reason, "…", 0))
    assert roll_back.message.headers["taskqueue-failure"] == f"{reason}: …"


def test_the_id_of_a_roll_back_is_stable_and_fits() -> None:
    """A receiver can tell a duplicate, also where the task's id is as long as AMQP allows."""
    assert roll_back_id("é" * 127) == roll_back_id("é" * 127)
    assert len(roll_back_id("é" * 127).encode()) <= 255


def test_what_is_put_back_keeps_its_count_until_there_is_an_answer() -> None:
    """The broker starts to count anew with each publish."""
    source = message({"url": "/x"}, {"taskqueue-crashes": 3, "taskqueue-due": NOW_MS - 5})
    (put_back,) = settle(source, Again(NOW_MS - 5, 0, None, crashes=4))
    assert (put_back.exchange, put_back.routing_keys) == ("q.wait.due", ("q",))
    assert put_back.message.headers["taskqueue-crashes"] == 4
    (retry,) = settle(source, Again(NOW_MS + 1000, 1, "status 500"))
    assert "taskqueue-crashes" not in retry.message.headers


THEIRS = {"foreign": "x" * 5000, "traceparent": "00-ab"}


def test_what_no_frame_holds_is_cut_before_anything_of_others_is_left_out() -> None:
    """Our texts first; then, of what is not to run again, what other programs wrote; then nothing is left."""
    headers = {
        **THEIRS,
        "taskqueue-failed-url": "/" + "u" * 9000,
        "taskqueue-failure": "failed: no",
        "taskqueue-due": 7,
    }
    publish = Publish("q.wait.due", ("q",), Message(b"{}", headers, {"message_id": "m"}))
    cut = slimmer(publish, keeps_theirs=False)
    assert cut is not None
    assert cut.message.headers == headers | {"taskqueue-failed-url": "/" + "u" * 299 + "..."}
    bare = slimmer(cut, keeps_theirs=False)
    assert bare is not None
    assert set(bare.message.headers) == set(headers) - set(THEIRS)
    assert slimmer(bare, keeps_theirs=False) is None
    assert slimmer(cut, keeps_theirs=True) is None
    assert (bare.message.body, bare.message.properties, bare.routing_keys) == (
        b"{}",
        {"message_id": "m"},
        ("q",),
    )


def test_a_header_of_ours_that_is_no_text_is_left_as_it_is() -> None:
    """Anybody may write one."""
    message = Message(b"{}", {"taskqueue-error": 7, "taskqueue-failure": ["x" * 900]}, {})
    assert slimmer(Publish("q.dead", ("q",), message), keeps_theirs=True) is None
