"""What the user may do with a queue: declare it, send to it, consume from it.

We ask RabbitMQ to unbind and to delete what does not exist. It checks the permissions first
(``rabbit_channel:binding_action``, 3.10 to 4.3), so nothing is changed, and it logs only what it refuses.
Nothing is published: a broker with an alarm would never answer.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from taskqueue.broker.replies import ACCESS_REFUSED, Refused
from taskqueue.broker.session import Session
from taskqueue.topology import names

CONFIGURE, WRITE, READ = "configure", "write", "read"


@dataclass(frozen=True, slots=True)
class Rights:
    """What the user lacks for each, ``write permission on mail.dead``; nothing where it may."""

    consume: tuple[str, ...]
    send: tuple[str, ...]
    declare: tuple[str, ...]
    look: tuple[str, ...]
    """For `inspect`, `dead` and `waiting`, which read every queue."""

    def __str__(self) -> str:
        """Tell what the user may do."""
        every = (("declare", self.declare), ("consume", self.consume), ("send", self.send))
        may = [name for name, lacks in every if not lacks]
        return f"may {', '.join(may)}" if may else "may neither declare nor consume nor send"


async def rights(session: Session, queue: str, ladder: str) -> Rights:
    """Find out what the user may do with a queue and its ladder; raises BrokerRefused, NotKnown."""
    ways = (names.due(queue), names.wait(ladder))
    found = [await _unbind(session, target, queue) for target in (*ways, names.dead(queue))]
    refused = {name for each in found for name in each}
    writable = [target for target in (*ways, names.dead(queue)) if target not in refused]
    send = [_lacks(WRITE, target) for target in ways if target in refused]
    consume = [*send, *(_lacks(WRITE, name) for name in (names.dead(queue),) if name in refused)]
    if queue in refused:
        consume.insert(0, _lacks(READ, queue))
    declare = []
    prefixes = {queue: False} | ({} if ladder == queue else {ladder: True})
    for prefix, shared in prefixes.items():
        whole = names.pattern(prefix, shared=shared)
        declare += [_lacks(kind, whole) for kind in await _on_prefix(session, prefix, writable)]
    look = [lack for lack in declare if lack.startswith(READ)]
    return Rights(tuple(consume), tuple(send), tuple(dict.fromkeys([*declare, *consume])), tuple(look))


async def _on_prefix(session: Session, prefix: str, writable: list[str]) -> list[str]:
    """Name the permissions that the user lacks on whatever begins with a name."""
    nothing = f"{names.wait(prefix)}.check-{secrets.token_hex(4)}"
    lacks = []
    try:
        async with session.channel() as channel:
            # RabbitMQ takes it for done where there is no such queue.
            await channel.ask("queue_delete", nothing)
    except Refused as error:
        if error.code != ACCESS_REFUSED:
            raise error.told() from error
        lacks.append(CONFIGURE)
    here = f"{nothing}.to"
    refused = await _unbind(session, here, nothing)
    if here in refused:
        lacks.append(WRITE)
        # It is asked about before the other one, so of that nothing was said.
        refused = await _unbind(session, writable[0], nothing) if writable else set()
    if nothing in refused:
        lacks.append(READ)
    return lacks


async def _unbind(session: Session, destination: str, source: str) -> set[str]:
    """Ask to unbind two exchanges that are not bound; give the one on which that is refused.

    It takes write on `destination`, which is asked for first, and read on `source`. Permissions go by the
    name, so that on an exchange of a queue's name tells of the queue.
    """
    try:
        async with session.channel() as channel:
            await channel.ask("exchange_unbind", destination, source, "taskqueue.check")
    except Refused as error:
        if error.code != ACCESS_REFUSED:
            raise error.told() from error
        return {source if f"exchange '{source}'" in error.reason else destination}
    return set()


def _lacks(kind: str, name: str) -> str:
    return f"{kind} permission on {name}"
