"""What of a plan does not exist, told by as few looks at what is not there as can be."""

from __future__ import annotations

from taskqueue.broker.session import Session
from taskqueue.errors import AccessRefused, NotKnown
from taskqueue.topology import names
from taskqueue.topology.plan import Exchange, Plan, Queue

Listed = frozenset[tuple[str, str]]
"""Kind and name of all that exists in a virtual host."""


async def absent(session: Session, plan: Plan, listed: Listed | None) -> frozenset[Exchange | Queue]:
    """Find what need not be looked at: each look at what does not exist is an error in the broker's log.

    `listed` is what exists by the management API, where there is one. Without it, all of a queue counts as
    missing where neither its work queue exists, which applications declare too, nor the entry to its ladder.
    What exists of it all the same is found when it is created.
    """
    if listed is not None:
        return frozenset(item for item in plan.items if (item.kind, item.name) not in listed)
    owned: dict[str, list[Exchange | Queue]] = {}
    for item in plan.items:
        owned.setdefault(names.owner(item.name) or item.name, []).append(item)

    async def declared(session: Session, owner: str) -> bool:
        try:
            for item in reversed(owned[owner]):
                if item.name in {owner, names.wait(owner)} and await session.exists(item.kind, item.name):
                    return True
        except (AccessRefused, NotKnown):
            # Whoever looks at the rest says which of it does not answer, or may not be looked at.
            return True
        return False

    there = await session.each("", declared, owned)
    return frozenset(
        item for items, found in zip(owned.values(), there, strict=True) if not found for item in items
    )
