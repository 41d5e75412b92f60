"""When a quorum queue has taken all acks of a channel, which is about to be closed."""

from __future__ import annotations

from taskqueue.broker.asking import BEHIND_MANY, Channel

_QUESTIONS = 3


async def taken(channel: Channel, queue: str) -> None:
    """Wait until a queue has all acks of its only channel, whose other consumers have tags before ``taken``.

    Its client puts off acks while 32 others are under way, and forgets them when the channel is closed
    (``rabbit_fifo_client``, SOFT_LIMIT): what was taken would be there again. The leader answers the first
    question behind the acks under way. By the second answer the client has learned of them, and has sent the
    rest ahead of the third question. What the consumers get goes back behind all else, as they are the last.
    Raises NotKnown where the leader does not answer.
    """
    for number in range(_QUESTIONS if channel.acked else 0):
        await channel.consume(queue, window=1, tag=f"taken-{number}", patience=BEHIND_MANY)
