"""Remove what was declared for a former configuration: only what is proven to be empty.

What belongs to a queue that the configuration no longer names is removed together or not at all: a task on
an old ladder still needs every rung of it, and the work queue at its end. A ladder that is still named may
have rungs that are not. Each of those goes by itself when it is empty, as a task that finds no way comes to
the work queue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from taskqueue.broker.asking import Channel
from taskqueue.broker.management import Management
from taskqueue.broker.session import Progress, Session
from taskqueue.declare.apply import bind, unbind
from taskqueue.declare.beginning import end
from taskqueue.declare.emptiness import delete, reported, settled
from taskqueue.declare.limits import clear
from taskqueue.errors import BrokerUnreachable, ConfigError, NotKnown
from taskqueue.settings import Settings
from taskqueue.topology import names
from taskqueue.topology.plan import CLASSIC, Binding, plan

Listed = Mapping[str, Any]
"""A queue, an exchange or a binding as the management API lists it."""
_TARGET = "x-dead-letter-exchange"


@dataclass(frozen=True, slots=True)
class Leftover:
    """What is removed together; `busy` says why it has to stay, None where it may go."""

    owner: str
    queues: tuple[str, ...]
    exchanges: tuple[str, ...]
    busy: str | None = None
    known: bool = True
    """Whether it is known to be empty or busy. It stays where nobody could tell."""
    ways: tuple[Binding, ...] = ()
    """Every binding that leads to one of the queues, but for those from a classic rung."""
    classic: frozenset[str] = frozenset()
    """The classic ones among the queues, which the broker itself deletes only where they are empty."""


def leftovers(settings: Settings, only: Collection[str] | None = None) -> tuple[Leftover, ...]:
    """Find what the virtual host has under our naming scheme and the configuration does not name.

    `only` limits it to what belongs to these names. Raises ConfigError without `management_url`, as AMQP
    itself can't list anything, and BrokerUnreachable where the API does not answer.
    """
    if settings.management_url is None:
        raise ConfigError("--prune: needs 'management_url' in the configuration: AMQP can't list what exists")
    management = Management(settings)
    queues, exchanges, bindings = management.queues(), management.exchanges(), management.bindings()
    if queues is None or exchanges is None or bindings is None:
        raise BrokerUnreachable(f"{management.fault}: --prune can't find what is left over")
    found = sorted_out(settings, queues, exchanges, bindings)
    return tuple(each for each in found if only is None or each.owner in only)


def sorted_out(
    settings: Settings, queues: Iterable[Listed], exchanges: Iterable[Listed], bindings: Iterable[Listed]
) -> tuple[Leftover, ...]:
    """Sort what is listed by the queue it belongs to; what the plan has is left out.

    An exchange `Q.wait.due` with our arguments shows that `Q` was ours. Without it nothing is touched:
    applications of every kind have a queue `orders` and another `orders.dead`.
    """
    planned = plan(settings.layout)
    # Separate, as a level exchange has the same name as its first quorum rung.
    kept = {queue.name for queue in planned.queues}
    kept_exchanges = {exchange.name for exchange in planned.exchanges}
    listed = tuple(queues)
    spare = {each["name"]: each for each in listed if each.get("durable") and each["name"] not in kept}
    targets = {(each.get("arguments") or {}).get(_TARGET) for each in listed}
    every = {each["name"]: each for each in exchanges if each.get("durable")}
    ways = [
        Binding(each["source"], each["destination"], each["routing_key"])
        for each in bindings
        if each["source"] and each["destination_type"] == "queue"
    ]
    owners = {owner for name in every if (owner := names.owner(name)) and _is_ours(every, owner)}
    named = {*settings.queues, *settings.names, *(each.ladder for each in settings.queues.values())}
    found = []
    for owner in sorted(owners):
        # What expires meanwhile in one comes to another that is looked at and deleted later.
        rungs = sorted((name for name, queue in spare.items() if _rung_owner(queue) == owner), key=_downwards)
        extra = [name for name in every if name not in kept_exchanges and names.owner(name) == owner]
        if owner in named:
            found += [
                _leftover(owner, mine, tuple(level for level in extra if level == target), spare, ways)
                for target, mine in _by_level(rungs, spare)
            ]
            # A prune that ended early leaves one like this.
            found += [
                Leftover(owner, (), (name,))
                for name in extra
                if name not in targets and _is_level(name, owner)
            ]
            # They keep no task. Last, as markers of a killed look may still stand on a rung.
            beside = (names.looked(owner), names.probe(owner), names.probed(owner))
            found += [_leftover(owner, (name,), (), spare, ways) for name in beside if name in spare]
        else:
            timed = (names.wake(owner), names.schedule(owner))
            limits = names.limits(owner, paced=True, capped=True)
            aside = (names.moving(owner), names.lost(owner), names.looked(owner))
            probes = (names.probe(owner), names.probed(owner))
            rest = (*timed, *limits, *aside, *probes, names.dead(owner), owner)
            whole = (*rungs, *[name for name in rest if name in spare])
            found.append(_leftover(owner, whole, tuple(extra), spare, ways))
    return tuple(found)


async def prune(
    session: Session, settings: Settings, found: Iterable[Leftover], progress: Progress | None = None
) -> tuple[Leftover, ...]:
    """Remove what can go; gives each with `busy` set where it has turned out to be in use.

    First every way to the queues is unbound. Then a consumer of ours is put on each queue. A report of the
    management API must know of it. That report was made after nothing led there any more. It counts what is
    ready, unacked and being dead-lettered in one look of the leader. Where that is nothing the queue is
    deleted, else it is bound again.

    Classic queues keep the ways that lead on from their rungs, as they drop what expires and finds none. They
    are deleted from the longest rung down to the work queue, each by the broker and only where it is empty.
    So what expires meanwhile has come to one that is not deleted yet, which keeps what is left.
    """
    whole = [each for each in found if each.busy is None]
    todo = list(whole)
    removed: set[int] = set()
    try:
        for place, each in enumerate(whole):
            todo[place] = await _without_schedules(session, each)
            if todo[place].busy is None and names.permits(each.owner) in each.queues:
                await clear(session, each.owner)
        ways = [way for each in todo if each.busy is None for way in each.ways]
        await session.each("unbinding", unbind, ways, progress)
        await settled()
        todo = list(await session.each("looking", _looked_at, todo, progress))
        watched = tuple(
            name for each in todo if each.busy is None for name in _of_tasks(each) if name not in each.classic
        )
        async with session.own_channel() as channel:
            for name in watched:
                await channel.consume(name, window=1)
            counts = await reported(settings, watched)
            for place, each in enumerate(todo):
                todo[place] = await _remove(session, channel, each, counts)
                if todo[place].busy is None:
                    removed.add(place)
                if progress is not None:
                    progress("pruning", place + 1, len(todo))
    finally:
        kept = [way for place, each in enumerate(todo) if place not in removed for way in each.ways]
        await session.each("binding again", _bind_again, kept)
    return tuple(whole[place] if place in removed else each for place, each in enumerate(todo))


async def _without_schedules(session: Session, found: Leftover) -> Leftover:
    """Take away what is left of former schedules; where there are any, all of the queue stays."""
    if names.schedule(found.owner) not in found.queues:
        return found
    wake = names.wake(found.owner)
    ways = [way for way in found.ways if way.queue == wake]
    try:
        busy = await end(session, found.owner, lambda: session.each("", unbind, ways))
    except NotKnown as error:
        return replace(found, busy=str(error), known=False)
    if busy is not None:
        return replace(found, busy=busy)
    return replace(
        found,
        queues=tuple(name for name in found.queues if name != wake),
        ways=tuple(way for way in found.ways if way.queue != wake),
    )


async def _bind_again(session: Session, way: Binding) -> None:
    # An exchange that went with another leftover led here from a level that is no more, and of classic queues
    # some were deleted before the broker found one in use.
    if await session.exists("exchange", way.exchange) and await session.exists("queue", way.queue):
        await bind(session, way)


async def _looked_at(session: Session, found: Leftover) -> Leftover:
    """Ask each leader for its counts, as one that does not answer would hold up what comes next."""
    if found.busy is not None:
        return found
    for queue in _of_tasks(found):
        try:
            counts = await session.counts(queue)
        except NotKnown as error:
            return replace(found, busy=f"queue {queue!r} is not known: {error}", known=False)
        if counts is not None and (told := _told(queue, counts.ready, counts.consumers)):
            return replace(found, busy=told)
    return found


def _of_tasks(found: Leftover) -> tuple[str, ...]:
    """Leave out the queues of probes: what is in them tells how late a ladder was that is no more."""
    return tuple(name for name in found.queues if not names.is_of_probes(name))


async def _remove(
    session: Session, watching: Channel, found: Leftover, counts: Mapping[str, int | None]
) -> Leftover:
    """Delete what is proven to be empty; the queues that others still need go last."""
    if found.busy is not None:
        return found
    for queue in _of_tasks(found):
        if queue in found.classic:
            seen = await session.counts(queue)
            if seen is not None and (told := _told(queue, seen.ready, seen.consumers)):
                return replace(found, busy=told)
            continue
        held = counts[queue]
        consumers = (await watching.ask("queue_declare", queue, passive=True)).consumer_count
        if held is None or consumers == 0:
            return replace(found, busy=f"queue {queue!r}: nobody can tell whether it is empty", known=False)
        if told := _told(queue, held, consumers - 1):
            return replace(found, busy=told)
    for queue in found.queues:
        if not await delete(session, queue, classic=queue in found.classic):
            return replace(found, busy=f"queue {queue!r} is in use")
    await _delete_exchanges(session, found)
    return found


async def _delete_exchanges(session: Session, found: Leftover) -> None:
    if names.control(found.owner) in found.exchanges:
        # A pause of what goes: no task is in it, and to delete what does not exist is no error.
        for queue in (names.pause_note(found.owner), names.paused(found.owner)):
            await delete(session, queue)
    for exchange in found.exchanges:
        async with session.channel() as channel:
            await channel.ask("exchange_delete", exchange)


def _is_ours(exchanges: Mapping[str, Listed], owner: str) -> bool:
    due = exchanges.get(names.due(owner))
    if due is None:
        return False
    alternate = (due.get("arguments") or {}).get("alternate-exchange")
    return (due["type"], alternate) in {("fanout", names.moving(owner)), ("direct", names.lost(owner))}


def _rung_owner(queue: Listed) -> str | None:
    """Name the ladder of a wait queue. Its arguments are the proof, not its name."""
    found = names.timed(queue["name"])
    arguments = queue.get("arguments") or {}
    if found is None or arguments.get("x-message-ttl") != found.seconds * 1000:
        return None
    return found.ladder if arguments.get(_TARGET) == found.level else None


def _downwards(rung: str) -> int:
    found = names.timed(rung)
    return -int(found.seconds * 1000) if found is not None else 0


def _is_level(exchange: str, owner: str) -> bool:
    # The exchange of a level has the name of its first rung.
    found = names.timed(exchange)
    return found is not None and found.ladder == owner and found.level == exchange


def _by_level(rungs: Iterable[str], spare: Mapping[str, Listed]) -> list[tuple[str, tuple[str, ...]]]:
    """Group rungs by the level exchange that they dead-letter to. It goes with the last of them."""
    levels: dict[str, list[str]] = {}
    for name in rungs:
        levels.setdefault(str(spare[name]["arguments"][_TARGET]), []).append(name)
    return [(level, tuple(queues)) for level, queues in levels.items()]


def _leftover(
    owner: str,
    queues: tuple[str, ...],
    exchanges: tuple[str, ...],
    spare: Mapping[str, Listed],
    ways: Iterable[Binding],
) -> Leftover:
    # What is in these is looked at later: it may stand for nothing.
    signs = {names.wake(owner), names.schedule(owner), names.limit(owner), names.permits(owner)}
    busy = next((told for name in queues if name not in signs and (told := _busy(spare[name]))), None)
    classic = {name for name in queues if spare[name]["arguments"].get("x-queue-type", CLASSIC) == CLASSIC}
    leading = tuple(way for way in ways if way.queue in queues)
    if rungs := [name for name in classic if names.timed(name)]:
        # A classic queue hands on at most once: what expires in it needs its way until it is deleted.
        if owner in queues and owner not in classic:
            busy = busy or "it has classic wait queues: declare it, run 'declare --migrate', then prune"
        onward = {spare[name]["arguments"].get(_TARGET) for name in rungs}
        onward |= {names.due(owner), names.moving(owner), names.lost(owner)}
        leading = tuple(way for way in leading if way.exchange not in onward)
    return Leftover(owner, queues, exchanges, busy, ways=leading, classic=frozenset(classic))


def _busy(queue: Listed) -> str | None:
    # The other two counts lack the messages that a quorum queue is handing on at the moment.
    messages = max(queue.get("messages", 0), queue.get("messages_dlx", 0))
    messages = 0 if names.is_of_probes(queue["name"]) else messages
    return _told(queue["name"], messages, queue.get("consumers", 0))


def _told(queue: str, messages: int, consumers: int) -> str | None:
    if messages:
        return f"queue {queue!r} holds {messages} messages"
    return f"queue {queue!r} has {consumers} consumers" if consumers else None
