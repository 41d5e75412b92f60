"""What the broker's refusals mean, in RabbitMQ's own words."""

from __future__ import annotations

import pytest

from taskqueue.broker.replies import REFUSALS, Refused, absent, away, unacked_too_long
from taskqueue.errors import AccessRefused, BrokerRefused, NotKnown, TaskqueueError

NO_QUEUE = (404, "NOT_FOUND - no queue 'mail' in vhost '/'")
NO_EXCHANGE = (404, "NOT_FOUND - no exchange 'mail.wait' in vhost '/'")
NODE_AWAY = (
    404,
    "NOT_FOUND - home node 'rabbit@b' of durable queue 'mail' in vhost '/' is down or inaccessible",
)
NO_ACCESS = (403, "ACCESS_REFUSED - access to queue 'mail' in vhost '/' refused for user 'me'")
INEQUIVALENT = (406, "PRECONDITION_FAILED - inequivalent arg 'x-queue-type' for queue 'mail' in vhost '/'")
TIMED_OUT = (
    406,
    "PRECONDITION_FAILED - delivery acknowledgement on channel 1 timed out. Timeout value used: 1800000 ms.",
)
NO_ANSWER = (541, "INTERNAL_ERROR - Cannot declare a queue 'queue 'mail' in vhost '/'' on node 'rabbit@a'")
EVERY = (NO_QUEUE, NO_EXCHANGE, NODE_AWAY, NO_ACCESS, INEQUIVALENT, TIMED_OUT, NO_ANSWER)


def test_absent_is_only_what_is_not_there() -> None:
    """A queue whose node is away is there, with all that is in it."""
    assert [reply for reply in EVERY if absent(*reply)] == [NO_QUEUE, NO_EXCHANGE]
    assert [reply for reply in EVERY if Refused(*reply).absent] == [NO_QUEUE, NO_EXCHANGE]


def test_what_is_away_is_there() -> None:
    """By itself it comes back."""
    assert [reply for reply in EVERY if away(*reply)] == [NODE_AWAY, NO_ANSWER]


def test_an_ack_that_came_too_late_is_told_from_other_conditions() -> None:
    """Both have the code 406."""
    assert [reply for reply in EVERY if unacked_too_long(*reply)] == [TIMED_OUT]


def test_what_closes_a_channel_is_told_from_what_ends_the_connection() -> None:
    """A restart of the broker is nobody's refusal."""
    assert {code for code, _ in EVERY if code in REFUSALS} == {403, 404, 406}
    assert not REFUSALS & {200, 320, 501, 505, 530, 541}


@pytest.mark.parametrize(
    ("reply", "kind", "words"),
    [
        (NODE_AWAY, NotKnown, "is down or inaccessible: its node or leader is away, try again"),
        (NO_QUEUE, BrokerRefused, "the broker refused: NOT_FOUND - no queue 'mail'"),
        (NO_ACCESS, AccessRefused, r"write and read permission on ^Q(\..*)?$"),
        (INEQUIVALENT, BrokerRefused, "the broker refused: PRECONDITION_FAILED"),
    ],
)
def test_a_refusal_says_what_to_do(reply: tuple[int, str], kind: type[TaskqueueError], words: str) -> None:
    """What is only away for now is not known; it is not refused."""
    told = Refused(*reply).told()
    assert type(told) is kind
    assert words in str(told)
