"""What the user may do with a queue: declare it, send to it, consume from it.

We ask RabbitMQ to unbind and to delete what does not exist. It checks the permissions first
(``rabbit_channel:binding_action``, 3.10 to 4.3), so nothing is changed, and it logs only what it refuses.
Nothing is published: a broker with an alarm would never answer.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from taskqueue.broker.replies import ACCESS_REFUSED, Refused
from taskqueue.broker.session import Session
from taskqueue.topology import names

CONFIGURE, WRITE, READ = "configure", "write", "read"
_KEY = "taskqueue.check"
_AT_ONCE = 50
"""Queues that are asked about in one go: far less than the broker works off in the time that it has."""


@dataclass(frozen=True, slots=True)
class Rights:
    """What the user lacks for each, ``write permission on mail.dead``; nothing where it may."""

    consume: tuple[str, ...]
    send: tuple[str, ...]
    declare: tuple[str, ...]
    look: tuple[str, ...]
    """For `inspect`, `dead` and `waiting`, which read every queue."""
    probe: str | None = None
    """For the probes of a consumer, which runs all the same without them."""

    def __str__(self) -> str:
        """Tell what the user may do."""
        every = (("declare", self.declare), ("consume", self.consume), ("send", self.send))
        may = [name for name, lacks in every if not lacks]
        return f"may {', '.join(may)}" if may else "may neither declare nor consume nor send"


ALL = Rights((), (), (), ())
"""Lacks nothing."""


async def rights(session: Session, queue: str, ladder: str, *, reads: Sequence[str] = ()) -> Rights:
    """Find out what the user may do with a queue, which a consumer also `reads` others for, and its ladder.

    Raises BrokerRefused, NotKnown.
    """
    ways = names.settling(queue, ladder)[:2]
    others = (names.dead(queue), *names.controls(queue, ladder))
    found = [await _unbind(session, target, queue) for target in (*ways, *others)]
    refused = {name for each in found for name in each}
    writable = [target for target in names.settling(queue, ladder) if target not in refused]
    send = [_lacks(WRITE, target) for target in ways if target in refused]
    consume = [*send, *(_lacks(WRITE, name) for name in others if name in refused)]
    if queue in refused:
        consume.insert(0, _lacks(READ, queue))
    # Where it may write to none, the first thing that it is refused for is that.
    unread = [name for name in reads if writable and name in await _unbind(session, writable[0], name)]
    consume += [_lacks(READ, name) for name in unread]
    probe = names.probe(ladder)
    unprobed = bool(writable) and probe in await _unbind(session, writable[0], probe)
    declare = []
    prefixes = {queue: False} | ({} if ladder == queue else {ladder: True})
    for prefix, shared in prefixes.items():
        whole = names.pattern(prefix, shared=shared)
        declare += [_lacks(kind, whole) for kind in await _on_prefix(session, prefix, writable)]
    look = [lack for lack in declare if lack.startswith(READ)]
    return Rights(
        consume=tuple(consume),
        send=tuple(send),
        declare=tuple(dict.fromkeys([*declare, *consume])),
        look=tuple(look),
        probe=_lacks(READ, probe) if unprobed else None,
    )


async def on_history(session: Session) -> tuple[str, ...]:
    """Name the permissions that the user lacks to write and to read the history; raises as `rights` does."""
    # It needs write on the first, which is asked for first, and read on the second.
    first = await _unbind(session, names.HISTORY, names.HISTORY_INDEX)
    lacks = [_lacks(WRITE, names.HISTORY)] if names.HISTORY in first else []
    if names.HISTORY_INDEX in first:
        lacks.append(_lacks(READ, names.pattern(names.HISTORY)))
    return tuple(lacks)


async def granted(session: Session, ways: Iterable[tuple[str, str]]) -> frozenset[str]:
    """Give the queues of `ways` (a queue and its ladder) of which it is sure that the user may do everything.

    All is asked for at once, and only the last question is answered. So it costs next to nothing where the
    user may do everything, as most may, and says nothing where it may not. Raises BrokerRefused, NotKnown.
    """
    every = tuple(ways)
    parts = [every[begin : begin + _AT_ONCE] for begin in range(0, len(every), _AT_ONCE)]
    found = await session.each("", _may_all, parts)
    return frozenset(queue for part, may in zip(parts, found, strict=True) if may for queue, _ in part)


async def _may_all(session: Session, ways: Sequence[tuple[str, str]]) -> bool:
    try:
        async with session.channel() as channel:
            for queue, ladder in ways:
                for target in names.written(queue, ladder):
                    channel.tell("exchange_unbind", target, queue, _KEY)
                for prefix in dict.fromkeys((queue, ladder)):
                    nothing = _nothing(prefix)
                    channel.tell("queue_delete", nothing)
                    channel.tell("exchange_unbind", f"{nothing}.to", nothing, _KEY)
            await channel.ask("basic_qos", prefetch_count=0)
    except Refused as error:
        if error.code != ACCESS_REFUSED:
            raise error.told() from error
        return False
    return True


def _nothing(prefix: str) -> str:
    return f"{names.wait(prefix)}.check-{secrets.token_hex(4)}"


async def _on_prefix(session: Session, prefix: str, writable: list[str]) -> list[str]:
    """Name the permissions that the user lacks on whatever begins with a name."""
    nothing = _nothing(prefix)
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
            await channel.ask("exchange_unbind", destination, source, _KEY)
    except Refused as error:
        if error.code != ACCESS_REFUSED:
            raise error.told() from error
        return {source if f"exchange '{source}'" in error.reason else destination}
    return set()


def _lacks(kind: str, name: str) -> str:
    return f"{kind} permission on {name}"
