"""When a quorum queue has taken all acks of a channel, which is about to be closed."""

from __future__ import annotations

from taskqueue.broker.asking import BEHIND_MANY, Channel, Delivery

_QUESTIONS = 3
SENT_AT_ONCE = 16
"""Acks that a client with nothing else under way puts off in no case."""
QUIET = 0.3
"""Seconds by which a message from a follower of the queue may come after the leader's answer."""


async def taken(channel: Channel, queue: str, *, but: int = 0) -> None:
    """Wait until a queue has all acks of its only channel, whose other consumers have tags before ``taken``.

    Its client puts off acks while 32 others are under way, and forgets them when the channel is closed
    (``rabbit_fifo_client``, SOFT_LIMIT): what was taken would be there again. The leader answers the first
    question behind the acks under way. By the second answer the client has learned of them, and has sent the
    rest ahead of the third question. What the consumers get goes back behind all else, as they are the last.
    Where there are no more acks than `but` nothing is asked. Raises NotKnown where the leader is silent.
    """
    if channel.acks > but:
        for number in range(_QUESTIONS):
            await channel.consume(queue, window=1, tag=f"taken-{number}", patience=BEHIND_MANY)
        channel.acks = 0


async def handed_out(channel: Channel) -> list[Delivery]:
    """Give what was handed out for those questions: it is no part of a look, but counts as delivered."""
    await channel.ask("basic_qos", patience=BEHIND_MANY, prefetch_count=1)
    found = []
    while (each := await channel.next(QUIET)) is not None:
        found.append(each)
    return found
