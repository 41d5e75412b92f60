"""What consumers' probes of a ladder have found, and a count of their rung that leaves the probe out.

A probe stands on its rung for a moment, and there it is one message more. Before it is sent, a finding that
says so is confirmed. A count between two looks at the finding that are the same, and not of a probe on its
way, is one of tasks alone.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from taskqueue.broker.replies import Counts, Refused
from taskqueue.broker.session import Session
from taskqueue.task.probe import Finding, read_finding, stay, stay_seconds
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import rung_name

_PATIENCE = 1.5
_POLL = 0.05
_TAKEN = 3
"""How often to look for a finding that somebody else may hold at the moment."""


@dataclass(frozen=True, slots=True)
class Probed:
    """What a probe of a ladder has found, and what its rung holds without it."""

    finding: Finding | None
    rung: Counts | None
    """None where the rung does not exist."""


async def probed(session: Session, ladder: str, rungs: Ladder, queue_type: str) -> Probed:
    """Look at the last finding of a ladder, and count the rung of its probe; raises NotKnown, BrokerRefused.

    Waits for a probe on its way. One that does not come is over its time, and counts on its rung no more:
    the broker has taken it from there, to hand it on. Only on a coarse ladder it may stand there that long.
    """
    rung = rung_name(ladder, stay(rungs), queue_type)
    until = asyncio.get_running_loop().time() + _PATIENCE
    former = await _finding(session, ladder)
    while True:
        counts = await session.counts(rung)
        found = await _finding(session, ladder)
        on_its_way = found is not None and found.out and found.lateness is None
        if found == former and not on_its_way:
            return Probed(found, counts)
        # Where it has just come back, or is told to be late, the next look settles it.
        if on_its_way and asyncio.get_running_loop().time() > until:
            stands = stay_seconds(rungs) > _PATIENCE and counts is not None and counts.ready
            return Probed(found, replace(counts, ready=counts.ready - 1) if counts and stands else counts)
        former = found
        await asyncio.sleep(_POLL)


async def _finding(session: Session, ladder: str) -> Finding | None:
    """Read the finding and leave it where it is."""
    async with session.channel() as channel:
        try:
            for _ in range(_TAKEN):
                found = await channel.get(names.probed(ladder))
                if found is not None:
                    channel.requeue(found)
                    return read_finding(found.message)
                await asyncio.sleep(_POLL)
        except Refused as error:
            if not error.absent:
                raise error.told() from error
    return None
