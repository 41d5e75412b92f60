"""Find what was declared for a former configuration, by what the management API lists.

What belongs to a queue that the configuration no longer names is removed together or not at all: a task on
an old ladder still needs every rung of it, and the work queue at its end. A ladder that is still named may
have rungs that are not. Each of those goes by itself when it is empty, as a task that finds no way comes to
the work queue.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue.broker.management import Management
from taskqueue.errors import BrokerUnreachable, ConfigError
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

    @property
    def proven(self) -> tuple[str, ...]:
        """What has to be empty.

        A permit stands for no task, and `declare` issues others. What is in the queues of probes tells how
        late a ladder was that is no more.
        """
        permits = names.limits(self.owner, paced=False, capped=True)
        spare = (name for name in self.queues if name not in permits)
        return tuple(name for name in spare if not names.is_of_probes(name))


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
            # Permits last: what turns out to be in use keeps its limit.
            rest = (*timed, *aside, *probes, names.dead(owner), owner, *limits)
            whole = (*rungs, *[name for name in rest if name in spare])
            found.append(_leftover(owner, whole, tuple(extra), spare, ways))
    return tuple(found)


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
    signs = {names.wake(owner), names.schedule(owner), *names.limits(owner, paced=False, capped=True)}
    asked = (name for name in sorted(queues, key=names.is_of_probes) if name not in signs)
    busy = next((told for name in asked if (told := _busy(spare[name]))), None)
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
    return in_use(queue["name"], messages, queue.get("consumers", 0))


def in_use(queue: str, messages: int, consumers: int) -> str | None:
    """Say why a queue has to stay, None where it is empty and nobody consumes it."""
    if messages:
        return f"queue {queue!r} holds {messages} messages"
    return f"queue {queue!r} has {consumers} consumers" if consumers else None
