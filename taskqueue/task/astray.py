"""What a message tells of the way it came: where it was to go, and whether it found its rungs.

Pure. Whoever publishes to a ladder writes the way into the message; one that believes in other rungs than
there are is led to the work queue by the alternate exchanges of the ladder, too early.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from taskqueue.task.message import PREFIX
from taskqueue.topology import names

SENT_ROUND = f"{PREFIX}sent-round"
"""When a consumer has last put a task back on the ladder as it came early: milliseconds since the epoch."""
MEANT_FOR = f"{PREFIX}meant-for"
"""The work queue at the end of the way of a message that has died before it came there."""
_AT_ONCE_MS = 500
_WORTH_WAITING_MS = 1000


def itinerary(headers: Mapping[str, Any]) -> tuple[str, ...]:
    """Read the routing keys behind the first one, as they ride in the ``CC`` header."""
    keys = headers.get("CC")
    return tuple(key for key in keys if isinstance(key, str)) if isinstance(keys, list) else ()


def meant_for(headers: Mapping[str, Any]) -> str | None:
    """Name the work queue that the way of a message ends at, None where it does not say.

    A dead one has lost its way, and says it by a header: replayed, it must not run by another's settings.
    """
    if isinstance(stated := headers.get(MEANT_FOR), str):
        return stated
    keys = itinerary(headers)
    return names.destination(keys[-1]) if keys else None


def missed_rungs(headers: Mapping[str, Any]) -> bool:
    """Tell whether a message was on fewer rungs than its way has."""
    hops = [key for key in itinerary(headers) if not names.is_astray(key)]
    deaths = headers.get("x-death")
    stays = [each for each in deaths if isinstance(each, dict)] if isinstance(deaths, list) else []
    return sum(names.timed(str(each.get("queue"))) is not None for each in stays) < len(hops)


def came_back_at_once(headers: Mapping[str, Any], due: int, now_ms: int) -> bool:
    """Tell whether a task that was put on the ladder a moment ago is here again, long before it is due.

    Then the consumer's own ladder is not there any more, and putting it back at once would go on and on.
    """
    sent = headers.get(SENT_ROUND)
    if not isinstance(sent, int) or isinstance(sent, bool):
        return False
    return 0 <= now_ms - sent < _AT_ONCE_MS and due - now_ms > _WORTH_WAITING_MS
