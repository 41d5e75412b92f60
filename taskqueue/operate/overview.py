"""One look at everything: what is where, what is paused, how quickly it goes, and the broker's alarms."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from taskqueue.broker.absence import absent
from taskqueue.broker.management import WINDOW, Flow, Management
from taskqueue.broker.session import Session
from taskqueue.operate import advanced
from taskqueue.operate.advanced import Advanced
from taskqueue.operate.forecast import Forecast, forecast
from taskqueue.operate.inspect import LadderState, QueueState, states
from taskqueue.operate.pause import Pause, seen
from taskqueue.settings import QueueSettings, Settings
from taskqueue.topology import names
from taskqueue.topology.plan import plan

_AGAIN, _PATIENCE = 0.2, 1.0
"""Seconds between two looks, and in all, while somebody else holds messages to look at them."""


@dataclass(frozen=True, slots=True)
class View:
    """All that is known of one queue at one moment."""

    settings: QueueSettings
    state: QueueState
    ladder: LadderState
    pause: Pause | None
    pause_known: bool
    """False where the broker did not tell whether the queue is paused."""
    flow: Flow | None
    """What only the management API tells, None without it."""
    alarms: tuple[str, ...] | None

    @property
    def name(self) -> str:
        """The queue's name."""
        return self.state.name

    @property
    def own(self) -> LadderState | None:
        """Its ladder, where it shares it with no other queue."""
        return self.ladder if self.state.ladder == self.name else None

    @property
    def waiting(self) -> int | None:
        """How many wait on its own ladder; None where that is not known, or others wait there too."""
        return self.own.waiting if self.own else None

    @property
    def stuck(self) -> bool:
        """Whether tasks are out at consumers, were so before the time that rates are of, and none is settled.

        So it is where a consumer stands still, and where requests take longer than that.
        """
        flow = self.flow
        if flow is None or flow.settled is None or flow.handed_out is None:
            return False
        return flow.settled == 0 and flow.unacked > round(flow.handed_out * WINDOW)

    @property
    def empty(self) -> bool:
        """Whether nothing is in it, as far as is known, and nothing is to be told of it."""
        ladder = self.own
        counted = [self.state.ready, self.state.dead, self.state.unacked or 0]
        if ladder is not None:
            counted += [ladder.waiting, ladder.held or 0]
        told = self.state.missing or self.state.unknown or self.state.looked or self.pause
        return not told and all(count == 0 for count in counted)

    def forecast(self) -> Forecast | None:
        """Tell what comes due and how late it will be."""
        limit = self.settings.rate.per_second if self.settings.rate else None
        settled = self.flow.settled if self.flow else None
        due = self.own.due if self.own else None
        return forecast(self.state.ready, due, settled=settled, limit=limit)


@dataclass(frozen=True, slots=True)
class Overview:
    """What one look has found."""

    at: float
    """When: seconds since the epoch."""
    views: tuple[View, ...]
    ladders: Mapping[str, LadderState] = field(default_factory=dict)
    fault: str | None = None
    """Why the management API tells nothing, None where it does or is not asked."""
    alarms: tuple[str, ...] | None = None
    """Alarms of the broker; None where they are not known."""
    advanced: Advanced | None = None
    """What decides how long tasks are held; None where none is, or it is not known."""

    def shared(self) -> Iterator[LadderState]:
        """Yield the ladders that have the name of no queue."""
        own = {view.name for view in self.views}
        yield from (ladder for name, ladder in self.ladders.items() if name not in own)


async def look(session: Session, settings: Settings, management: Management) -> Overview:
    """Look at every queue of the settings; raises BrokerRefused, BrokerUnreachable."""
    wanted = tuple(settings.queues.values())
    until = time.monotonic() + _PATIENCE
    while True:
        counts, flows, listed, alarms = await asyncio.gather(
            asyncio.to_thread(management.counts),
            asyncio.to_thread(management.flows),
            asyncio.to_thread(management.listed),
            asyncio.to_thread(management.alarms),
        )
        gone = await absent(session, plan(settings.layout), listed)
        queues, ladders = await states(session, settings, wanted, counts, gone)
        looked = any(each.looked for each in queues) or any(each.looked for each in ladders)
        if not looked or time.monotonic() > until:
            break
        await asyncio.sleep(_AGAIN)
    of = {ladder.name: ladder for ladder in ladders}
    there = [queue.name for queue in queues if not _missing(queue, of[queue.ladder])]
    pauses = await seen(session, there, listed)
    views = tuple(
        View(
            settings=queue,
            state=state,
            ladder=of[state.ladder],
            pause=pauses.get(state.name),
            pause_known=state.name in pauses or state.name not in there,
            flow=None if flows is None else flows.get(state.name),
            alarms=alarms,
        )
        for queue, state in zip(wanted, queues, strict=True)
    )
    held = any(ladder.held for ladder in ladders)
    lengthens = await asyncio.to_thread(advanced.look, management) if held else None
    return Overview(time.time(), views, of, management.fault, alarms, lengthens)


def _missing(queue: QueueState, ladder: LadderState) -> bool:
    """Tell whether no consumer can ask if it is paused, so that none runs it."""
    missing = (*queue.missing, *ladder.missing)
    return any(f"exchange {name}" in missing for name in names.controls(queue.name, queue.ladder))
