r"""Every exchange and queue name, all under the queue's own prefix.

One permission pattern, ``^Q(\..*)?$``, covers everything that belongs to queue ``Q``;
``^L\.wait(\..*)?$`` covers the ladder ``L`` where several queues share it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from functools import lru_cache

ENTRY = "in"
LOOK = "look"
"""The routing key of a marker: it leads from the exchange of each level to `looked`, and nowhere else."""
WATCH = "watch"
"""The routing key of a consumer's probe: it leads from each level, and from `control`, to `probe`."""
HISTORY = "taskqueue.history"
"""The exchange of the history, and its stream of records."""
HISTORY_INDEX = "taskqueue.history.index"
"""The stream that tells which records are where."""
_DUE = "due:"
_ASTRAY = "astray"
_WAKE = ".schedule.due"
_OURS = re.compile(r"(?P<owner>.*?)\.(?:wait|dead|moving|schedule|paused|limit)(?:\..*)?")
_TIMED = re.compile(r"(?P<owner>.+)\.wait\.(?P<seconds>\d+(?:\.\d+)?)s(?:\.classic)?")
_LAST_HOP = re.compile(rf"[^>]+>{_DUE}(?P<queue>.+)")


@lru_cache(maxsize=1024)
def seconds(value: Decimal) -> str:
    """Write a TTL (seconds) as people do: ``0.3s``, ``20s``, ``3000s``."""
    return f"{value.normalize():f}s"


def dead(queue: str) -> str:
    """Name both the dead exchange and the dead queue."""
    return f"{queue}.dead"


def wait(ladder: str) -> str:
    """Name the exchange where every delayed message enters a ladder."""
    return f"{ladder}.wait"


def due(queue: str) -> str:
    """Name the exchange that leads straight to the work queue.

    A message that finds no way on the ladder of that name goes there too.
    """
    return f"{queue}.wait.due"


def lost(ladder: str) -> str:
    """Name the exchange and queue of a shared ladder for messages that name no queue of it."""
    return f"{ladder}.wait.lost"


def looked(ladder: str) -> str:
    """Name the queue where the markers of a look end that was killed: it drops what comes to it."""
    return f"{ladder}.wait.looked"


def looking(ladder: str) -> str:
    """Name the queue that one look over a ladder has to itself: the lock of looks, gone when it ends."""
    return f"{ladder}.wait.looking"


def probe(ladder: str) -> str:
    """Name the queue that the probes of consumers come to: to one at a time, which sends the next."""
    return f"{ladder}.wait.probe"


def probed(ladder: str) -> str:
    """Name the queue that holds what the last probe has found; its routing key at `control` is the same."""
    return f"{ladder}.wait.probed"


def is_probes(name: str) -> bool:
    """Tell whether a queue is one that probes come to. Only its one consumer may ask for its head."""
    return name.endswith(".wait.probe")


def is_of_probes(name: str) -> bool:
    """Tell whether a queue is for probes alone, so that no task is ever in it."""
    return is_probes(name) or name.endswith(".wait.probed")


def level(ladder: str, unit: str) -> str:
    """Name the exchange that the wait queues of one level dead-letter to; `unit` is its tick."""
    return f"{ladder}.wait.{unit}"


def rung(ladder: str, ttl: str, *, classic: bool = False) -> str:
    """Name the wait queue whose messages stay for `ttl`.

    The rungs of either queue type have names of their own, so that those of a former type empty themselves.
    """
    return f"{ladder}.wait.{ttl}{'.classic' if classic else ''}"


def settling(queue: str, ladder: str) -> tuple[str, str, str]:
    """Name the exchanges that the tasks of a queue are settled by: what is due, what waits, what is dead."""
    return due(queue), wait(ladder), dead(queue)


def moving(queue: str) -> str:
    """Name the queue that holds the messages of `queue` while `declare --migrate` replaces it."""
    return f"{queue}.moving"


def schedule(queue: str) -> str:
    """Name both the exchange and the queue for the book of the schedules of `queue`."""
    return f"{queue}.schedule"


def wake(queue: str) -> str:
    """Name the queue to which messages come when a schedule of `queue` is due."""
    return queue + _WAKE


def is_wake(name: str) -> bool:
    """Tell whether a queue is one to which messages come when a schedule is due."""
    return name.endswith(_WAKE) and owner(name) == name.removesuffix(_WAKE)


def beginning(queue: str) -> str:
    """Name the queue that a command has for itself while it begins the schedules of `queue`, or ends them."""
    return f"{queue}.schedule.begins"


def paused(queue: str) -> str:
    """Name the queue that exists while `queue` is paused."""
    return f"{queue}.paused"


def stands_for_pause(name: str) -> bool:
    """Tell whether a queue is one whose existence pauses another."""
    found = owner(name)
    return found is not None and name == paused(found)


def pause_note(queue: str) -> str:
    """Name the queue that holds who has paused `queue`, and why."""
    return f"{queue}.paused.note"


def control(name: str) -> str:
    """Name the exchange that tells which queues are paused: this queue, or those that wait on this ladder."""
    return f"{name}.wait.control"


def controls(queue: str, ladder: str) -> tuple[str, ...]:
    """Name the exchanges by which consumers ask for a queue; its own first, which alone says it is paused."""
    return tuple(dict.fromkeys((control(queue), control(ladder))))


def written(queue: str, ladder: str) -> tuple[str, ...]:
    """Name the exchanges that a consumer publishes to: it settles by some, and sees pauses by the others."""
    return (*settling(queue, ladder), *controls(queue, ladder))


def pausing(queue: str) -> str:
    """Name the routing key that leads somewhere while `queue` is paused, and only then."""
    return f"paused:{queue}"


def noting(queue: str) -> str:
    """Name the routing key that leads to the note of a pause."""
    return f"note:{queue}"


def limit(queue: str) -> str:
    """Name both the exchange and the queue for the book of the permits of `queue`."""
    return f"{queue}.limit"


def limiting(queue: str) -> str:
    """Name the queue that a command has for itself while it begins the limit of `queue`."""
    return f"{queue}.limit.begins"


def permits(queue: str) -> str:
    """Name the queue of the permits of `queue`, of which a consumer holds one for each request."""
    return f"{queue}.limit.permits"


def members(queue: str) -> str:
    """Name the queue, always empty, whose consumers are those that share the rate of `queue`."""
    return f"{queue}.limit.rate"


def limits(queue: str, *, paced: bool, capped: bool) -> tuple[str, ...]:
    """Name the queues that a consumer reads for the limits of `queue`."""
    return (*((members(queue),) if paced else ()), *((limit(queue), permits(queue)) if capped else ()))


def hop(leaves: str, goes: str) -> str:
    """Name the routing key that a message follows from one rung to the next, ``10s>0.3s``."""
    return f"{leaves}>{goes}"


def last_hop(leaves: str, queue: str) -> str:
    """Name the routing key from the last rung to the work queue, ``0.1s>due:mail``."""
    return f"{leaves}>{_DUE}{queue}"


def astray(queue: str) -> str:
    """Name the routing key that brings a message to `queue` when it finds no way on a shared ladder."""
    return last_hop(_ASTRAY, queue)


def destination(routing_key: str) -> str | None:
    """Read the work queue that a last hop names, None for any other key."""
    found = _LAST_HOP.fullmatch(routing_key)
    return found["queue"] if found else None


def is_astray(routing_key: str) -> bool:
    """Tell whether a key leads home what finds no way on a shared ladder."""
    return routing_key.startswith(f"{_ASTRAY}>") and destination(routing_key) is not None


def is_rabbitmqs(name: str) -> bool:
    """Tell whether RabbitMQ keeps a name for itself, and lets nobody else declare it."""
    return name.startswith("amq.")


def is_historys(name: str) -> bool:
    """Tell whether a name belongs to the history of all queues."""
    return name == HISTORY or name.startswith(f"{HISTORY}.")


def pattern(name: str, *, shared: bool = False) -> str:
    """Write the permission pattern of a queue, or of a `shared` ladder."""
    return rf"^{re.escape(name)}\.wait(\..*)?$" if shared else rf"^{re.escape(name)}(\..*)?$"


def owner(name: str) -> str | None:
    """Give the queue that an exchange or queue of ours belongs to, None for any other name."""
    found = _OURS.fullmatch(name)
    return found["owner"] if found else None


@dataclass(frozen=True, slots=True)
class Timed:
    """What the name of a rung says: its ladder and its TTL."""

    ladder: str
    seconds: Decimal

    @property
    def unit(self) -> Decimal:
        """The tick of its level, in seconds."""
        return Decimal(1).scaleb(self.seconds.adjusted())

    @property
    def level(self) -> str:
        """The exchange of its level, which it dead-letters to."""
        return level(self.ladder, seconds(self.unit))


def timed(name: str) -> Timed | None:
    """Read the name of a rung, None for any other name."""
    found = _TIMED.fullmatch(name)
    return Timed(found["owner"], Decimal(found["seconds"])) if found else None
