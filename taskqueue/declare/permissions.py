"""Whether the user may do with a queue what declaring, sending and consuming take."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable

from taskqueue.broker.asking import Channel
from taskqueue.broker.replies import ACCESS_REFUSED, Refused
from taskqueue.broker.session import Session
from taskqueue.topology import names
from taskqueue.topology.plan import CLASSIC

_Act = Callable[[Channel], Awaitable[object]]


async def lacking(session: Session, queue: str, *, shared: bool = False) -> tuple[str, ...]:
    """Name the permissions that the user lacks on `queue`, or on a `shared` ladder: configure, write, read.

    Tries them on a queue and an exchange under its own prefix that are gone with this connection at the
    latest, and on the work queue itself as far as nothing is changed by it. Nothing is published, which
    a broker with an alarm would never answer. Raises BrokerRefused where it refuses for another reason.
    """
    own = names.lost(queue) if shared else queue
    name = f"{names.wait(queue)}.check-{secrets.token_hex(4)}"
    if not await _may(session, lambda channel: _create(channel, name)):
        # Without something of ours to try them on, nothing can be said of the others.
        return ("configure",)
    read = await _may(session, lambda channel: channel.get(name))
    # A binding takes write on the queue and read on the exchange, so without that it would tell nothing.
    write = not read or (
        await _may(session, lambda channel: channel.ask("queue_bind", name, name, name))
        # There is no such binding to take away, but the broker asks first whether the user might.
        and await _may(session, lambda channel: channel.ask("queue_unbind", own, name, "none"), absent=True)
    )
    await _may(session, lambda channel: _remove(channel, name))
    return tuple(permission for permission, has in (("write", write), ("read", read)) if not has)


async def _create(channel: Channel, name: str) -> None:
    await channel.ask("queue_declare", name, exclusive=True, arguments={"x-queue-type": CLASSIC})
    await channel.ask("exchange_declare", name, "direct", auto_delete=True)


async def _remove(channel: Channel, name: str) -> None:
    await channel.ask("exchange_delete", name)
    await channel.ask("queue_delete", name)


async def _may(session: Session, act: _Act, *, absent: bool = False) -> bool:
    """Do something and tell whether the user may; `absent`: what it is done to may be missing."""
    try:
        async with session.channel() as channel:
            await act(channel)
    except Refused as error:
        if error.code == ACCESS_REFUSED:
            return False
        if not (absent and error.absent):
            raise error.told() from error
    return True
