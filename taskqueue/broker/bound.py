"""Asks whether a routing key leads anywhere, without an error in the broker's log where it does not.

A mandatory publish comes back where no queue is bound for its key. Routing needs no leader of any queue, so
one that hangs holds up no answer. A broker with an alarm reads no more from a connection that publishes: so
it goes over a connection of its own.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from taskqueue.broker.asking import PATIENCE
from taskqueue.broker.replies import Refused, Returned
from taskqueue.broker.session import Session
from taskqueue.errors import NotDeclared, NotKnown, PublishFailed
from taskqueue.task.message import Message, Publish

Key = tuple[str, str]
"""An exchange and a routing key."""
_NOTHING = "nothing"


async def bound(session: Session, keys: Sequence[Key]) -> list[bool]:
    """Tell of each key whether a queue is bound for it.

    Raises NotKnown where no answer comes, as during an alarm, NotDeclared where there is no such exchange,
    and BrokerRefused.
    """
    if not keys:
        return []
    async with session.publishing() as channel:
        try:
            asks = [channel.publish(Publish(exchange, (key,), Message(b""))) for exchange, key in keys]
            # It comes back behind all that come back of those before it.
            last = channel.publish(Publish(keys[-1][0], (_NOTHING,), Message(b"")))
            await asyncio.wait_for(last, PATIENCE)
        except Returned:
            return [not (ask.done() and isinstance(ask.exception(), Returned)) for ask in asks]
        except (PublishFailed, TimeoutError) as error:
            raise NotKnown(str(error) or f"the broker did not answer in {PATIENCE:g} s") from error
        except Refused as error:
            if error.absent:
                raise NotDeclared(f"{error.reason}: run 'taskqueue declare'") from error
            raise error.told() from error
    raise AssertionError(f"{keys[-1][0]}: a queue is bound for {_NOTHING!r}")
