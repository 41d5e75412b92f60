"""What a broker hands out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from taskqueue.task.message import Message

if TYPE_CHECKING:
    from taskqueue.broker.channel import ConfirmChannel


@dataclass(frozen=True, slots=True, eq=False)
class Delivery:
    """A message that the broker has handed out, and the channel on which it can be acked."""

    channel: ConfirmChannel
    tag: int
    message: Message
    redelivered: bool = False
    """The broker has handed it out before."""
    earlier_deliveries: int = 0
    """How often it has."""

    @property
    def overdue(self) -> bool:
        """The broker has taken it back, as it was out for too long."""
        return self.tag in self.channel.released

    @property
    def lost(self) -> bool:
        """It can't be acked any more: the broker hands it out again."""
        return not self.channel.is_open or self.overdue
