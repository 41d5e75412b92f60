"""What `taskqueue check` says of the history."""

from __future__ import annotations

from taskqueue.broker.session import Session
from taskqueue.cli.checks import Check, failure, some
from taskqueue.declare.permissions import WRITE, on_history
from taskqueue.declare.verify import examine
from taskqueue.errors import BrokerRefused, NotDeclared, NotKnown
from taskqueue.history import stream
from taskqueue.topology import names
from taskqueue.topology.plan import Retention, plan_history


async def check_history(session: Session, kept: Retention) -> Check:
    """Look whether the history is declared, and whether the user may write and read it."""
    try:
        findings = await examine(session, plan_history(kept), gone=(), compared=False)
        if findings.missing:
            missing = [item.name for item in findings.missing]
            told, advice = f"missing: {some(missing)}", "run 'taskqueue declare'"
            return Check("history", ok=False, detail=told, advice=advice)
        lacks = await on_history(session)
        if not lacks:
            # A stream that has no leader, or no replica on this node, does not let itself be read.
            await stream.end(session, names.HISTORY)
    except (BrokerRefused, NotDeclared, NotKnown) as error:
        return failure("history", error)
    if any(each.startswith(WRITE) for each in lacks):
        pattern = f"'{names.pattern(names.HISTORY)}'"
        advice = f"rabbitmqctl set_permissions -p VHOST USER, and add {pattern} to what it may write and read"
        return Check("history", ok=False, detail=f"no {' and no '.join(lacks)}", advice=advice)
    if lacks:
        # It is for who asks for the history, and `run` does not.
        return Check("history", ok=True, detail=f"declared, and may be written; no {' and no '.join(lacks)}")
    return Check("history", ok=True, detail="declared, and may be written and read")
