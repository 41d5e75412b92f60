"""How late a ladder is: a message of our own walks it, and the broker alone decides when it comes.

No task, no consumer and no clock of another machine has a part in it. The stay is counted by the rungs, and
what is measured is the time on this machine between the publish and the arrival. It comes to the queue that a
look has for itself (`taskqueue.operate.markers`), so nothing is declared for it, and no look meets it. The
broker writes into it when it left its last rung, by its own clock: so it tells of a clock that is wrong, too.

Where the probe is killed, its message walks off by itself: the last key of its way is that of a marker, which
leads to a queue that keeps nothing. Without it the ladder would lead the message to the work queue.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from dataclasses import dataclass

from taskqueue.broker.asking import Channel
from taskqueue.broker.replies import Refused
from taskqueue.broker.session import Session
from taskqueue.errors import BrokerUnreachable, NotDeclared, NotKnown, TaskqueueError
from taskqueue.operate.markers import alone, asked
from taskqueue.schedule.clocks import broker_time
from taskqueue.settings import Settings
from taskqueue.task.message import Message, Publish
from taskqueue.topology import names
from taskqueue.topology.ladder import Ladder
from taskqueue.topology.plan import rung_name

_END = "probe"
_SECOND, _APART = 1.0, 1.0
"""The broker's time is up to a second later than it says; and by how much two clocks may differ."""


@dataclass(frozen=True, slots=True)
class Walk:
    """The way of a probe over a ladder: its stays as they are written, and their sum in seconds."""

    ladder: str
    stays: tuple[str, ...]
    seconds: float
    keys: tuple[str, ...]
    last: str
    """The unit of the last level: at its exchange the probe leaves the ladder."""

    @property
    def end(self) -> str:
        """The routing key by which it leaves."""
        return names.hop(self.last, _END)


@dataclass(frozen=True, slots=True)
class Probed:
    """What came of a probe: its lateness in seconds, or why that is not known.

    `clock` says by how many seconds the broker's clock is ahead of ours, 0 where they agree to a second or
    two, None where that is not known.
    """

    walk: Walk
    lateness: float | None = None
    clock: float | None = None
    why: str | None = None


def walk(ladder: str, rungs: Ladder, countdown: float) -> Walk:
    """Plan the way of a probe that waits for `countdown` seconds, rounded up to a tick as for any task."""
    ticks = max(1, rungs.ticks(countdown * 1000))
    legs = rungs.legs(ticks)
    last = rungs.unit(legs[-1].level)
    hops = rungs.itinerary(ticks, _END)[:-1]
    return Walk(
        ladder,
        tuple(map(rungs.ttl, legs)),
        sum(map(rungs.ttl_ms, legs)) / 1000,
        (*hops, names.hop(last, _END), names.LOOK),
        last,
    )


def ahead(told: float | None, own: float, lateness: float) -> float | None:
    """Tell by how many seconds the broker's clock is ahead of ours, 0 where that can't be told from nothing.

    `told` is when the probe left its last rung by the broker's clock, in whole seconds, and `own` when it was
    here; part of its lateness may lie between.
    """
    if told is None:
        return None
    return 0.0 if -_APART <= own - told <= _SECOND + _APART + lateness else told - own


async def probe(session: Session, settings: Settings, way: Walk, patience: float) -> Probed:
    """Send one probe over a ladder, and wait until it is `patience` seconds late.

    A fault of this ladder is told in what is given. Raises BrokerUnreachable.
    """
    try:
        await _verify(session, settings, way)
        async with (
            alone(session, way.ladder) as queue,
            session.own_channel() as arrivals,
            session.publishing() as channel,
        ):
            await asked(arrivals, "queue_bind", queue, names.level(way.ladder, way.last), way.end)
            await arrivals.consume(queue, window=0, settled=True)
            return await _walked(channel, arrivals, way, patience)
    except BrokerUnreachable:
        raise
    except Refused as error:
        return Probed(way, why=str(error.told()))
    except TaskqueueError as error:
        return Probed(way, why=str(error))


async def _verify(session: Session, settings: Settings, way: Walk) -> None:
    """See that all is there: what finds no way is led to the work queue, as if it were a task."""
    rungs = (rung_name(way.ladder, stay, settings.queue_type) for stay in way.stays)
    for queue in (*rungs, names.looked(way.ladder)):
        if not await session.exists("queue", queue):
            raise NotDeclared(f"queue {queue} does not exist: run `taskqueue declare`")


async def _walked(channel: Channel, arrivals: Channel, way: Walk, patience: float) -> Probed:
    clock = asyncio.get_running_loop().time
    own = uuid.uuid4().hex
    begun = clock()
    deadline = begun + way.seconds + patience
    try:
        async with asyncio.timeout_at(deadline):
            await channel.publish(
                Publish(names.wait(way.ladder), way.keys, Message(b"", {}, {"message_id": own}))
            )
    except TimeoutError as error:
        raise NotKnown(f"the first rung did not take it in {way.seconds + patience:g} s") from error
    while (rest := deadline - clock()) > 0:
        # One of a probe that was killed may come here too.
        found = await arrivals.next(rest)
        if found is not None and found.message.properties.get("message_id") == own:
            return _came(way, found.message, max(0.0, clock() - begun - way.seconds))
    return Probed(way, why=f"not there {patience:g} s after it was due: rungs hold it, or hand on too much")


def _came(way: Walk, message: Message, lateness: float) -> Probed:
    by = ahead(broker_time(message.headers), time.time(), lateness)
    why = None
    if by:
        which = "ahead of" if by > 0 else "behind"
        why = f"the broker's clock is {abs(by):.0f} s {which} that of this machine: set them (NTP)"
    return Probed(way, lateness, by, why)
