"""`declare --migrate`: replace what has other settings, while everything that waits keeps its due time.

At every moment each message is in its old queue, in the parking queue `Q.moving`, or where it belongs:
it is confirmed in one before it is acked in the other. So the command may be killed anywhere and run
again. The steps of one task queue:

1. create what is missing, and the parking queue;
2. lead the routing keys of each queue with other settings to the parking queue (`topology.ways`),
   empty it into that and remove it;
3. create the whole plan and lead the keys back;
4. publish what is parked by the new ladder, each for its own due time.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

from pika.exceptions import ChannelClosedByBroker

from taskqueue.broker import connect, parameters
from taskqueue.errors import TopologyConflict
from taskqueue.settings import Settings
from taskqueue.topology import moves, names, ways
from taskqueue.topology.crew import Crew, Hand, Progress
from taskqueue.topology.declare import apply, create, crew, silent, verify
from taskqueue.topology.leading import lead, lead_home
from taskqueue.topology.plan import Queue
from taskqueue.topology.relieve import await_handed_on, delete_empty, relieve
from taskqueue.topology.survey import NOT_NAMED, Emptied, Work, look, ready, survey
from taskqueue.topology.transfer import WIDE, WINDOW, Successor, Transfer
from taskqueue.topology.verify import RESOURCE_LOCKED, Findings, refused
from taskqueue.topology.ways import Way, parking_queue

_NAME = "taskqueue declare --migrate"
_MOMENT = 0.5


@dataclass(frozen=True, slots=True)
class Migrated:
    """What was done for one task queue."""

    work: Work
    moved: int
    """Messages that were parked and are where they belong again."""


def migrate(
    settings: Settings, works: Iterable[Work], *, progress: Progress = silent
) -> tuple[Migrated, ...]:
    """Do what `examine` found, then declare all of the configuration.

    Raises TopologyConflict where a consumer does not let go or someone else migrates at the same time,
    BrokerUnreachable, BrokerRefused and PublishFailed; run it again after any of them.
    """
    done = []
    for work in works:
        with connect(settings, name=_NAME) as connection:
            hand = Hand(connection)
            _lock(hand, work.queue.name)
            done.append(Migrated(work, _Migration(settings, work, hand, progress).run()))
    findings = verify(settings, progress=progress)
    findings.require_none()
    apply(settings, findings, progress=progress)
    return tuple(done)


def examine(settings: Settings, findings: Findings, *, progress: Progress = silent) -> tuple[Work, ...]:
    """Find what there is to migrate; changes nothing."""
    return survey(settings, findings, crew(settings, progress))


def _lock(hand: Hand, queue: str) -> None:
    """Hold a queue that only this connection may use, and that is gone with it."""
    try:
        hand.channel.queue_declare(f"{names.moving(queue)}.lock", exclusive=True)
    except ChannelClosedByBroker as error:
        if error.reply_code == RESOURCE_LOCKED:
            raise TopologyConflict(f"{queue}: someone else migrates it right now") from error
        raise refused(error) from error


class _Migration:
    """The migration of one task queue."""

    def __init__(self, settings: Settings, work: Work, hand: Hand, progress: Progress) -> None:
        self._settings = settings
        self._work = work
        self._queue = work.queue.name
        self._hand = hand
        self._progress = progress
        self._crew: Crew = crew(settings, progress)
        self._moved = 0
        self._again = False
        self._types = settings.queue_type

    def run(self) -> int:
        """Do all steps; gives how many messages moved."""
        work = self._work
        with Transfer(parameters(self._settings, name=_NAME), moves.unfit(self._queue)) as transfer:
            self._prepare()
            self._empty_rungs(transfer)
            if work.work is not None:
                self._empty_work_queue(transfer, work.work)
            self._move_dead(transfer)
            self._lead_back()
            self._gather_doubles(transfer)
            # From here on consumers may have the work queue again.
            self._hand.channel.queue_delete(names.asking(self._queue))
            self._put_back(transfer)
        return self._moved

    def _prepare(self) -> None:
        work = self._work
        replaced = {each.name for each in work.emptied}
        self._each("creating exchanges", create, work.plan.exchanges)
        self._each("creating queues", create, [q for q in work.plan.queues if q.name not in replaced])
        self._create(parking_queue(names.moving(self._queue), self._types))
        self._again = ready(self._hand, names.stale(self._queue)) is not None
        crossings = tuple(ways.collisions(work))
        if crossings or ways.stale(work):
            self._create(ways.stale_queue(self._queue, self._types))
            # What is led there while it is led here as well is found here twice, and goes on once.
            lead(
                self._hand,
                Way(*ways.stale_hop(self._queue), names.moving(self._queue), (self._queue,)),
            )
        self._each("leading former itineraries", lead, crossings)

    def _empty_rungs(self, transfer: Transfer) -> None:
        rungs = self._work.rungs
        if not rungs and not self._work.obsolete:
            return
        successor = moves.aside(self._queue)
        with self._counting(f"moving {self._queue} aside", rungs) as moved:
            # Emptied right after its keys lead elsewhere, before what took both ways can move on.
            for rung in rungs:
                for way in ways.aside(self._work, rung.name, again=self._again):
                    lead(self._hand, way)
                self._drain(transfer, rung.name, successor, moved)
            await_handed_on(self._hand, self._settings, {rung.name for rung in rungs})
            for rung in rungs:
                self._drain(transfer, rung.name, successor, moved)
        # Before the rungs go: without them nobody would know these keys.
        self._each("leading former keys", lead, ways.stale(self._work))
        self._each("removing", delete_empty, [rung.name for rung in rungs])
        for exchange in self._work.obsolete:
            self._hand.channel.exchange_delete(exchange)

    def _empty_work_queue(self, transfer: Transfer, emptied: Emptied) -> None:
        # What may end its consumer must not get as many attempts again by being moved.
        successor = moves.aside(self._queue, most=self._work.queue.delivery_limit - 1)
        with self._counting(f"moving {self._queue} aside", [emptied]) as moved:
            relieve(
                self._hand,
                self._work,
                self._progress,
                drain=partial(self._drain, transfer, self._queue, successor, moved),
                lead_aside=lambda: self._each(
                    f"leading {self._queue} aside", lead, ways.due_aside(self._work)
                ),
            )
        self._create(next(each for each in self._work.plan.queues if each.name == self._queue))

    def _move_dead(self, transfer: Transfer) -> None:
        """Replace the dead queue; what is dead keeps all that tells why."""
        dead = names.dead(self._queue)
        parking = names.moving(dead)
        if self._work.dead is not None:
            self._create(parking_queue(parking, self._types))
            lead(self._hand, Way(dead, "", parking, (dead,)))
            with self._counting(f"moving {dead} aside", [self._work.dead]) as moved:
                self._until_alone(dead, lambda: self._drain(transfer, dead, moves.as_it_is(parking), moved))
        elif ready(self._hand, parking) is None:
            return
        self._create(next(each for each in self._work.plan.queues if each.name == dead))
        lead(self._hand, Way(dead, "", dead, (parking,)))
        self._return(transfer, parking, moves.as_it_is(dead))

    def _lead_back(self) -> None:
        """Lead each key where the plan says: nothing that is published from now on is parked."""
        parking, stale = names.moving(self._queue), names.stale(self._queue)
        work = self._work
        self._each("creating queues", create, work.plan.queues)
        stale_exists = ready(self._hand, stale) is not None
        self._each(
            f"leading {self._queue} back",
            partial(lead_home, away=(parking, stale) if stale_exists else (parking,)),
            work.plan.bindings,
        )
        if stale_exists:
            time.sleep(ways.STALE_MS / 1000 + _MOMENT)
            lead(self._hand, Way(*ways.stale_hop(self._queue), self._queue, (parking,)))

    def _gather_doubles(self, transfer: Transfer) -> None:
        """Park what came into the new queues meanwhile: some of it took both ways, and goes on once only."""
        work = self._work
        for rung in work.rungs:
            if rung.why != NOT_NAMED:
                self._gather(transfer, rung.name)
        if work.work is not None:
            self._gather(transfer, self._queue)

    def _gather(self, transfer: Transfer, queue: str) -> None:
        left = ready(self._hand, queue) or 0

        def moved() -> None:
            nonlocal left
            left -= 1

        def remaining() -> int:
            # No more than there was, as more may come at any rate.
            return min(left, ready(self._hand, queue) or 0) if left > 0 else 0

        transfer.drain(queue, moves.aside(self._queue), ready=remaining, moved=moved)

    def _put_back(self, transfer: Transfer) -> None:
        successor = moves.onward(self._queue, self._settings.ladder)
        self._return(transfer, names.moving(self._queue), successor)

    def _return(self, transfer: Transfer, parking: str, successor: Successor) -> None:
        parked = Emptied(parking, ready(self._hand, parking) or 0, "")
        with self._counting(f"moving {parking} back", [parked], counted=True) as moved:
            self._until_alone(parking, lambda: self._drain(transfer, parking, successor, moved))

    # --- the parts

    def _until_alone(self, queue: str, drain: Callable[[], None]) -> None:
        """Empty a queue and delete it once nothing is in it and nobody looks into it."""
        while True:
            drain()
            if look(self._hand, queue) == (0, 0):
                # What was published before its key led elsewhere has arrived by now.
                time.sleep(_MOMENT)
                if look(self._hand, queue) == (0, 0):
                    delete_empty(self._hand, queue)
                    return
            time.sleep(0.2)

    def _drain(self, transfer: Transfer, queue: str, successor: Successor, moved: Callable[[], None]) -> None:
        # What is put back, or dead, can't be recognized any more when it is there twice.
        parked_once = queue == self._queue or queue in {rung.name for rung in self._work.rungs}
        window = WIDE if parked_once else WINDOW
        transfer.drain(
            queue, successor, ready=lambda: ready(self._hand, queue) or 0, moved=moved, window=window
        )

    def _create(self, queue: Queue) -> None:
        """Create a queue, or take it as it is: an earlier run may have made it for other settings."""
        if look(self._hand, queue.name) is None:
            create(self._hand, queue)

    def _each(self, step: str, act: Callable[[Hand, Any], Any], items: Iterable[Any]) -> None:
        self._crew.each(step, act, tuple(items))

    @contextmanager
    def _counting(self, step: str, emptied: Iterable[Emptied], *, counted: bool = False) -> Any:
        total, done = sum(each.messages for each in emptied), 0

        def moved() -> None:
            nonlocal done
            done += 1
            # Ends are told once, behind everything: more may come than was counted.
            self._progress(step, done, max(total, done + 1))

        yield moved
        if done:
            self._progress(step, done, done)
        if counted:
            self._moved += done
