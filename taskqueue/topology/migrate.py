"""`declare --migrate`: replace what has other settings, while everything that waits keeps its due time.

At every moment each message is in its old queue, in the parking queue `Q.moving`, or where it belongs:
it is confirmed in one before it is acked in the other. So the command may be killed anywhere and run
again. The steps of one task queue:

1. create what is missing, and the parking queue;
2. lead the routing keys of each queue that will be emptied to the parking queue, or to the stale queue
   (`topology.ways`), then empty it into the parking queue and remove it;
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
from taskqueue.management import Management
from taskqueue.settings import Settings
from taskqueue.topology import moves, names
from taskqueue.topology.crew import Crew, Hand, Progress
from taskqueue.topology.declare import apply, bind, create, crew, silent, verify
from taskqueue.topology.plan import Binding, Queue
from taskqueue.topology.relieve import delete_empty, relieve
from taskqueue.topology.survey import Emptied, Work, look, ready, survey
from taskqueue.topology.transfer import Successor, Transfer
from taskqueue.topology.verify import RESOURCE_LOCKED, Findings, refused
from taskqueue.topology.ways import Way, parking_queue, stale_hop, stale_queue, ways

_NAME = "taskqueue declare --migrate"
_UNDER_WAY = 2.0
"""Seconds in which a quorum queue hands on what has expired: it counts as ready no more."""
_LONGEST_UNDER_WAY = 60.0


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
            self._put_back(transfer)
        return self._moved

    def _prepare(self) -> None:
        work = self._work
        replaced = {each.name for each in work.emptied}
        self._each("creating exchanges", create, work.plan.exchanges)
        self._each("creating queues", create, [q for q in work.plan.queues if q.name not in replaced])
        self._create(parking_queue(names.moving(self._queue), self._types))
        changes = ways(work)
        if any(way.queue == names.stale(self._queue) for way in changes):
            self._create(stale_queue(self._queue, self._types))
            if work.work is None:
                bind(self._hand, Binding(stale_hop(self._queue)[0], self._queue, stale_hop(self._queue)[1]))
        self._each(f"leading {self._queue} aside", _lead, changes)

    def _empty_rungs(self, transfer: Transfer) -> None:
        rungs = self._work.rungs
        if not rungs and not self._work.obsolete:
            return
        home = None if self._work.work is not None else self._queue
        successor = moves.aside(self._queue, due_to=home)
        with self._counting(f"moving {self._queue} aside", rungs) as moved:
            for rung in rungs:
                self._drain(transfer, rung.name, successor, moved)
            self._await_under_way(rungs)
            for rung in rungs:
                self._drain(transfer, rung.name, successor, moved)
        self._each("removing", delete_empty, [rung.name for rung in rungs])
        for exchange in self._work.obsolete:
            self._hand.channel.exchange_delete(exchange)

    def _empty_work_queue(self, transfer: Transfer, emptied: Emptied) -> None:
        successor = moves.aside(self._queue, due_to=None)
        with self._counting(f"moving {self._queue} aside", [emptied]) as moved:
            relieve(
                self._hand,
                self._work,
                self._progress,
                drain=partial(self._drain, transfer, self._queue, successor, moved),
            )
        self._create(next(each for each in self._work.plan.queues if each.name == self._queue))
        self._hand.channel.queue_delete(names.asking(self._queue))

    def _move_dead(self, transfer: Transfer) -> None:
        """Replace the dead queue; what is dead keeps all that tells why."""
        dead = names.dead(self._queue)
        parking = names.moving(dead)
        if self._work.dead is not None:
            self._create(parking_queue(parking, self._types))
            _lead(self._hand, Way(dead, "", parking, dead))
            with self._counting(f"moving {dead} aside", [self._work.dead]) as moved:
                self._until_alone(dead, lambda: self._drain(transfer, dead, moves.as_it_is(parking), moved))
        elif ready(self._hand, parking) is None:
            return
        self._create(next(each for each in self._work.plan.queues if each.name == dead))
        _lead(self._hand, Way(dead, "", dead, parking))
        self._return(transfer, parking, moves.as_it_is(dead))

    def _lead_back(self) -> None:
        """Lead each key where the plan says: nothing that is published from now on is parked."""
        parking, stale = names.moving(self._queue), names.stale(self._queue)
        work = self._work
        self._each("creating queues", create, work.plan.queues)
        stale_exists = ready(self._hand, stale) is not None
        self._each(
            f"leading {self._queue} back",
            partial(_lead_home, away=(parking, stale) if stale_exists else (parking,)),
            work.plan.bindings,
        )
        if stale_exists:
            _lead(self._hand, Way(*stale_hop(self._queue), self._queue, parking))

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
                time.sleep(_UNDER_WAY / 4)
                if look(self._hand, queue) == (0, 0):
                    delete_empty(self._hand, queue)
                    return
            time.sleep(0.2)

    def _drain(self, transfer: Transfer, queue: str, successor: Successor, moved: Callable[[], None]) -> None:
        transfer.drain(queue, successor, ready=lambda: ready(self._hand, queue) or 0, moved=moved)

    def _await_under_way(self, rungs: Iterable[Emptied]) -> None:
        time.sleep(_UNDER_WAY)
        if self._settings.management_url is None:
            return
        management, own = Management(self._settings), {rung.name for rung in rungs}
        deadline = time.monotonic() + _LONGEST_UNDER_WAY
        while held := [
            each["name"]
            for each in management.queues() or ()
            if each["name"] in own and each.get("messages_dlx", 0)
        ]:
            if time.monotonic() > deadline:
                msg = f"{held[0]} is still handing on messages that have expired: run the command again later"
                raise TopologyConflict(msg)
            self._hand.channel.connection.process_data_events(1)

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


def _lead(hand: Hand, way: Way) -> None:
    """Bind one queue and unbind the other, right after each other: both get what is published between."""
    bind(hand, Binding(way.exchange, way.queue, way.key))
    if way.instead_of is not None:
        _unbind(hand, way.instead_of, way.exchange, way.key)


def _lead_home(hand: Hand, binding: Binding, *, away: tuple[str, ...]) -> None:
    bind(hand, binding)
    for queue in away:
        _unbind(hand, queue, binding.exchange, binding.routing_key)


def _unbind(hand: Hand, queue: str, exchange: str, key: str) -> None:
    try:
        hand.channel.queue_unbind(queue, exchange, key)
    except ChannelClosedByBroker as error:
        raise refused(error) from error
