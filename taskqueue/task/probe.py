"""The probe that consumers send over each ladder, and what it has found: both as messages. Pure.

A probe stays on the shortest rung, so that it is there for a moment only. It has no body, and its last key is
that of a marker: what it leads to keeps nothing. So it is taken for a task nowhere.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from taskqueue.task.astray import is_marker, itinerary
from taskqueue.task.decode import DUE
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder, Leg

_SHORTEST = Leg(0, 1)


@dataclass(frozen=True, slots=True)
class Finding:
    """What is known of the last probe of a ladder."""

    probe: str
    """Its id."""
    out: bool
    """It is on its way: it may stand on its rung, or it may not be sent yet."""
    lateness: float | None = None
    """By how many seconds it came late, or is late by now; None where it is on its way in time."""


def stay(rungs: Ladder) -> str:
    """Give the rung that a probe stays on, as names and keys have it."""
    return rungs.ttl(_SHORTEST)


def stay_seconds(rungs: Ladder) -> float:
    """Give the seconds of that stay."""
    return rungs.ttl_ms(_SHORTEST) / 1000


def probe_publish(ladder: str, rungs: Ladder, probe: str, now: float) -> Publish:
    """Write a probe; `now` is in seconds since the epoch."""
    keys = (names.hop(names.ENTRY, stay(rungs)), names.WATCH, names.LOOK)
    # By this a look knows when to give it back.
    headers = {DUE: math.ceil(now * 1000) + rungs.ttl_ms(_SHORTEST)}
    return Publish(names.wait(ladder), keys, Message(b"", headers, {"message_id": probe}))


def call_publish(ladder: str) -> Publish:
    """Write what tells the one consumer that has the probes of a ladder that it is the one."""
    return Publish(names.control(ladder), (names.WATCH,), Message(b"", {}, {"message_id": "call"}))


def finding_publish(ladder: str, finding: Finding, lasts: float) -> Publish:
    """Write a finding, which is gone after some seconds, if another one does not take its place before."""
    properties = {"expiration": str(math.ceil(lasts * 1000)), "content_type": "application/json"}
    message = Message(json.dumps(asdict(finding)).encode(), {}, properties)
    return Publish(names.control(ladder), (names.probed(ladder),), message)


def is_probe(message: Message) -> bool:
    """Tell whether a message is the probe of a consumer."""
    return is_marker(message) and names.WATCH in itinerary(message.headers)


def read_finding(message: Message) -> Finding | None:
    """Read a finding, None where it is none; never raises, as anybody may have written it."""
    try:
        found: Any = json.loads(message.body)
    except ValueError:
        return None
    fields = found if isinstance(found, Mapping) else {}
    probe, out, late = fields.get("probe"), fields.get("out"), fields.get("lateness")
    if not isinstance(probe, str) or not isinstance(out, bool):
        return None
    if not isinstance(late, int | float) or isinstance(late, bool) or not 0 <= late < math.inf:
        late = None
    return Finding(probe, out, late)
