"""What a message tells of its way over the ladder: where it was to go, and whether it found its rungs.

Pure. A publisher writes the way into the message. It may believe in rungs that do not exist. The alternate
exchanges of the ladder then lead the message to the work queue, too early: it has gone astray.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskqueue.task.message import PREFIX, Message, stripped
from taskqueue.topology import names

SENT_ROUND = f"{PREFIX}sent-round"
"""When a consumer last put a task that came early back on the ladder: milliseconds since the epoch."""
MEANT_FOR = f"{PREFIX}meant-for"
"""The work queue that a message was on its way to, where its way is gone or ends in another queue."""
_AT_ONCE_MS = 500
_WORTH_WAITING_MS = 1000


def itinerary(headers: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the routing keys from the ``CC`` header: all but the first."""
    keys = headers.get("CC")
    return tuple(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else ()


def meant_for(headers: Mapping[str, Any]) -> str | None:
    """Name the work queue at the end of the way of a message, None where the message does not say.

    A copy has no way any more, or a new one, and says it by a header: it must not run with the settings of
    another queue.
    """
    if isinstance(stated := headers.get(MEANT_FOR), str):
        return stated
    keys = itinerary(headers)
    return names.destination(keys[-1]) if keys else None


def wake_queue(headers: Mapping[str, Any]) -> str | None:
    """Name the queue of wake-ups that a message was on its way to, None where it was on its way elsewhere."""
    end = meant_for(headers)
    return end if end is not None and names.is_wake(end) else None


def elsewhere(headers: Mapping[str, Any], queue: str) -> dict[str, str]:
    """Give the header by which a copy that stays with `queue` says that it is for another one, if it is."""
    meant = meant_for(headers)
    return {} if meant is None or meant == queue else {MEANT_FOR: meant}


def copied(headers: Mapping[str, Any], queue: str) -> dict[str, Any]:
    """Copy the headers of a message that stays with `queue`: without its way, but with whose it is."""
    return stripped(headers) | elsewhere(headers, queue)


def is_marker(message: Message) -> bool:
    """Tell whether a message is a marker, of whatever look or probe: its way ends where nothing is kept."""
    return not message.body and itinerary(message.headers)[-1:] == (names.LOOK,)


def missed_rungs(headers: Mapping[str, Any]) -> bool:
    """Tell whether a message was on fewer rungs than its way has."""
    hops = [key for key in itinerary(headers) if not names.is_astray(key)]
    deaths = headers.get("x-death")
    stays = [each for each in deaths if isinstance(each, dict)] if isinstance(deaths, list) else []
    return sum(names.timed(str(each.get("queue"))) is not None for each in stays) < len(hops)


def came_back_at_once(headers: Mapping[str, Any], due: int, now_ms: int) -> bool:
    """Tell whether a task that was put on the ladder a moment ago is here again, long before it is due.

    The ladder of this consumer is gone then, and a task that is put back at once would go round without end.
    """
    sent = headers.get(SENT_ROUND)
    if not isinstance(sent, int) or isinstance(sent, bool):
        return False
    return 0 <= now_ms - sent < _AT_ONCE_MS and due - now_ms > _WORTH_WAITING_MS
