"""What `taskqueue check` says of the queues and exchanges that should be there."""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from taskqueue.broker.session import Session
from taskqueue.cli.checks import Check, failure, some
from taskqueue.declare.permissions import Rights
from taskqueue.declare.verify import examine
from taskqueue.errors import BrokerRefused, NotKnown
from taskqueue.topology.plan import Exchange, Plan, Queue

DECLARE = "run 'taskqueue declare'"
"""The advice where something is missing."""


@dataclass(frozen=True, slots=True)
class Part:
    """What is looked at together: all of one queue, or of a ladder that several share."""

    name: str
    plan: Plan
    at_once: int


async def check_declared(
    session: Session, part: Part, may: Rights, gone: Container[Exchange | Queue]
) -> Check:
    """Look whether all of a part is there, and as it should be, as far as the user may see it."""
    name, items = part.name, part.plan.items
    try:
        findings = await examine(
            session, part.plan, gone=gone, compared=not may.declare, at_once=part.at_once
        )
    except (BrokerRefused, NotKnown) as error:
        return failure("declared", error, name)
    missing = findings.missing
    if findings.conflicts:
        told = some([str(conflict) for conflict in findings.conflicts])
        return Check("declared", ok=False, detail=told, queue=name, advice=findings.conflicts[0].advice)
    if items and len(missing) == len(items):
        return Check("declared", ok=False, detail="nothing of it", queue=name, advice=DECLARE)
    if missing:
        told = f"missing: {some([f'{item.kind} {item.name}' for item in missing])}"
        return Check("declared", ok=False, detail=told, queue=name, advice=DECLARE)
    rest = "; their settings are seen only by who may declare" if may.declare else ""
    if findings.unseen:
        rest = f" of {len(items)}; the others may be seen only by who has a permission on them{rest}"
    return Check(
        "declared",
        ok=True,
        detail=f"{len(items) - len(findings.unseen)} queues and exchanges{rest}",
        queue=name,
    )
