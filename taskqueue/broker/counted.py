"""How often the broker has handed a message out before, as far as its headers tell."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

from taskqueue.broker.connect import parsed_version
from taskqueue.task.message import ACQUIRED, DELIVERIES

_COUNTED_APART = (4, 3)


@dataclass(frozen=True, slots=True)
class Counted:
    """The header in which a broker counts all earlier deliveries of a message.

    From RabbitMQ 4.3 on ``x-delivery-count`` leaves out what came back by a nack or for a consumer timeout,
    and another header counts all (``rabbit_fifo_client:add_delivery_count_header/2``). Before, that header
    can only be a publisher's; so are both on a first delivery, or they tell of another queue.
    """

    header: str

    @property
    def apart(self) -> bool:
        """Tell whether it is 4.3 or later, which ends consumers over what is overdue, and not channels."""
        return self.header == ACQUIRED

    @classmethod
    def by(cls, server_properties: Mapping[str, Any] | None) -> Self:
        """Choose by the properties that the broker sent."""
        return cls(ACQUIRED if parsed_version(server_properties or {}) >= _COUNTED_APART else DELIVERIES)

    def earlier(self, headers: Mapping[str, Any], *, redelivered: bool) -> int:
        """Count the earlier deliveries of a message with these headers."""
        count = headers.get(self.header) if redelivered else None
        return count if isinstance(count, int) else 0
