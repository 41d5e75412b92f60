"""What the broker answers: counts, or a reply code with which it closes a channel or a connection.

https://www.rabbitmq.com/amqp-0-9-1-reference#constants
"""

from __future__ import annotations

from dataclasses import dataclass

from taskqueue.errors import AccessRefused, BrokerRefused, NotKnown, PublishFailed, TaskqueueError

_CONTENT_TOO_LARGE = 311
ACCESS_REFUSED = 403
NOT_FOUND = 404
RESOURCE_LOCKED = 405
PRECONDITION_FAILED = 406
_NOT_ALLOWED = 530
_NOT_IMPLEMENTED = 540
_INTERNAL_ERROR = 541

REFUSALS = frozenset({_CONTENT_TOO_LARGE, ACCESS_REFUSED, NOT_FOUND, RESOURCE_LOCKED, PRECONDITION_FAILED})
"""By which one channel is closed over what it was asked; any other ends the connection."""
ANSWERS = REFUSALS | {_NOT_IMPLEMENTED, _INTERNAL_ERROR}
"""By which a question is answered; the last two, to a queue.declare for one, end the connection too."""
NOT_LET_IN = frozenset({ACCESS_REFUSED, _NOT_ALLOWED})
"""By which a connection is refused the virtual host."""
TOO_MANY_CHANNELS = "number of channels opened"
"""In what a broker says as it ends a connection over a limit of its user."""
_ABSENT = ("NOT_FOUND - no queue", "NOT_FOUND - no exchange")


@dataclass(frozen=True, slots=True)
class Counts:
    """What a queue holds that is ready, and its consumers: the answer to a passive ``queue.declare``."""

    ready: int
    consumers: int


def absent(code: int, reason: str) -> bool:
    """Tell whether there is no such queue or exchange.

    Any other 404 is a queue whose node or leader is away for now: it comes back by itself.
    """
    return code == NOT_FOUND and reason.startswith(_ABSENT)


def away(code: int, reason: str) -> bool:
    """Tell whether the node or the leader of a queue is away, or does not answer: for now."""
    return code == _INTERNAL_ERROR or (code == NOT_FOUND and not absent(code, reason))


def unacked_too_long(code: int, reason: str) -> bool:
    """Tell whether a delivery stayed unacked for longer than the broker's consumer_timeout.

    https://www.rabbitmq.com/docs/consumers#acknowledgement-timeout
    """
    return code == PRECONDITION_FAILED and "timed out" in reason


class Refused(Exception):
    """The broker has refused what a channel asked: its code and its words."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(f"{code} {reason}")
        self.code = code
        self.reason = reason

    @property
    def absent(self) -> bool:
        """There is no such queue or exchange."""
        return absent(self.code, self.reason)

    def told(self) -> TaskqueueError:
        """Say what the broker said, and which permission it takes."""
        if self.code == NOT_FOUND and not self.absent:
            return NotKnown(f"{self.reason}: its node or leader is away, try again")
        if self.code == ACCESS_REFUSED:
            return AccessRefused(
                f"{self.reason}: the user needs configure, write and read permission on "
                r"^Q(\..*)?$ for each queue Q (rabbitmqctl set_permissions)"
            )
        return BrokerRefused(f"the broker refused: {self.reason}")


class Returned(PublishFailed):
    """A message came back: no queue is bound for its routing key."""

    def __init__(self, exchange: str) -> None:
        super().__init__(f"{exchange}: no queue is bound, run 'taskqueue declare'")


def not_taken(exchange: str) -> PublishFailed:
    """Say that the broker has refused a message that was to go to an exchange."""
    return PublishFailed(f"{exchange}: a queue is full or its leader unavailable")
