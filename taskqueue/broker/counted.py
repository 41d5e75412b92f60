"""How often the broker has handed a message out before, as far as its headers tell."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from taskqueue.broker.connect import parsed_version
from taskqueue.task.message import ACQUIRED, DELIVERIES

_COUNTED_APART = (4, 3)


def counting(server_properties: Mapping[str, Any] | None) -> Callable[[Mapping[str, Any], bool], int]:
    """Give what counts the earlier deliveries of a message, by its headers and whether it is redelivered.

    From RabbitMQ 4.3 on ``x-delivery-count`` leaves out what came back by a nack or for a consumer timeout,
    and another header counts all (``rabbit_fifo_client:add_delivery_count_header/2``). Before, that header
    can only be a publisher's; so are both on a first delivery, or they tell of another queue.
    """
    header = ACQUIRED if parsed_version(server_properties or {}) >= _COUNTED_APART else DELIVERIES

    def earlier(headers: Mapping[str, Any], redelivered: bool) -> int:  # noqa: FBT001
        count = headers.get(header) if redelivered else None
        return count if isinstance(count, int) else 0

    return earlier
