"""Whether the user may do with a queue what declaring, sending and consuming take."""

from __future__ import annotations

import secrets
from collections.abc import Callable

from pika.adapters.blocking_connection import BlockingChannel, BlockingConnection
from pika.exceptions import ChannelClosedByBroker

from taskqueue.topology import names
from taskqueue.topology.plan import CLASSIC
from taskqueue.topology.verify import ACCESS_REFUSED, NOT_FOUND, refused


def lacking(connection: BlockingConnection, queue: str) -> tuple[str, ...]:
    """Name the permissions that the user lacks on `queue`: configure, write, read.

    Tries them on a queue and an exchange under the queue's own prefix that are gone with this
    connection at the latest, and on the work queue itself as far as nothing is changed by it.
    Raises BrokerRefused where the broker refuses for another reason.
    """
    name = names.wait_queue(queue, f"check-{secrets.token_hex(4)}")
    if not _may(connection, lambda channel: _create(channel, name)):
        # Without something of ours to try them on, nothing can be said of the others.
        return ("configure",)
    read = _may(connection, lambda channel: channel.basic_get(name))
    write = _may(connection, lambda channel: channel.basic_publish(name, "", b""))
    if read and write:
        # There is no such binding to take away, but the broker asks first whether the user might. It
        # asks for read on the exchange as well, so without that this would tell nothing.
        write = _may(connection, lambda channel: channel.queue_unbind(queue, name, names.DUE), absent=True)
    _may(connection, lambda channel: _remove(channel, name))
    return tuple(permission for permission, has in (("write", write), ("read", read)) if not has)


def _create(channel: BlockingChannel, name: str) -> None:
    arguments = {"x-queue-type": CLASSIC}
    channel.queue_declare(name, exclusive=True, arguments=arguments)
    channel.exchange_declare(name, "direct", auto_delete=True)


def _remove(channel: BlockingChannel, name: str) -> None:
    channel.exchange_delete(name)
    channel.queue_delete(name)


def _may(
    connection: BlockingConnection, act: Callable[[BlockingChannel], object], *, absent: bool = False
) -> bool:
    """Do something on a channel of its own and tell whether the user may; `absent`: it may be missing."""
    channel = connection.channel()
    try:
        act(channel)
        # A publish is not answered: the refusal of it arrives before the answer to this.
        channel.basic_qos()
        channel.close()
    except ChannelClosedByBroker as error:
        if error.reply_code == ACCESS_REFUSED:
            return False
        if not (absent and error.reply_code == NOT_FOUND):
            raise refused(error) from error
    return True
