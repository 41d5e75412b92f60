"""Finds out which permissions the user has on a queue: those to declare, send and consume."""

from __future__ import annotations

import re
import secrets
from collections.abc import Awaitable, Callable

from taskqueue.broker.asking import ACCESS_REFUSED, Channel, Refused
from taskqueue.broker.session import Session
from taskqueue.topology import names
from taskqueue.topology.plan import CLASSIC

_Act = Callable[[Channel], Awaitable[object]]


def pattern(name: str, *, shared: bool = False) -> str:
    """Write the permission pattern of a queue, or of a `shared` ladder."""
    return rf"^{re.escape(name)}\.wait(\..*)?$" if shared else rf"^{re.escape(name)}(\..*)?$"


async def lacking(session: Session, queue: str, *, shared: bool = False) -> tuple[str, ...]:
    """Name the permissions that the user lacks on `queue`, or on a `shared` ladder: configure, write, read.

    Tries them on a queue and an exchange under the prefix of the queue, which go with this connection at the
    latest, and on the work queue itself as far as that changes nothing. Publishes nothing, as a broker with
    an alarm would never answer. Raises BrokerRefused where the broker refuses for another reason.
    """
    own = names.lost(queue) if shared else queue
    name = f"{names.wait(queue)}.check-{secrets.token_hex(4)}"
    if not await _may(session, lambda channel: _create(channel, name)):
        # Without configure there is nothing of ours to try the other permissions on.
        return ("configure",)
    read = await _may(session, lambda channel: channel.get(name))
    # A bind takes write on the queue and read on the exchange, so without read it would tell nothing.
    write = not read or (
        await _may(session, lambda channel: channel.ask("queue_bind", name, name, name))
        # There is no such binding to unbind, but the broker checks the permission first.
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
    """Do something and tell whether the user may; with `absent` its object may be missing."""
    try:
        async with session.channel() as channel:
            await act(channel)
    except Refused as error:
        if error.code == ACCESS_REFUSED:
            return False
        if not (absent and error.absent):
            raise error.told() from error
    return True
