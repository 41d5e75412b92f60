"""What to ask of the broker to know which queues are paused, and what the answers say. Pure.

Each queue has an exchange of its own, by which it is asked for alone: at first, while it is paused, and now
and then. All others are asked for together, by their ladder: a single answer says of many that none is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import cycle, islice

from taskqueue.topology import names

_TOGETHER = 3500
"""Bytes of the keys of one ask: the smallest frame that a broker may allow has 4096."""
_LENGTH = 5
"""Bytes by which AMQP says how long a key is."""
_ROUNDS = 30
"""Rounds after which each queue was asked for alone: its pause may be bound to the ladder of a former ini."""


@dataclass(frozen=True, slots=True)
class Ask:
    """A question: is any of these queues paused?"""

    exchange: str
    queues: tuple[str, ...]

    @property
    def alone(self) -> bool:
        """Whether its answer is that of its only queue."""
        return len(self.queues) == 1 and self.exchange == names.control(self.queues[0])

    @property
    def keys(self) -> tuple[str, ...]:
        """The routing keys, of which one leads somewhere where the answer is yes."""
        return tuple(map(names.pausing, self.queues))


class Asks:
    """What is known of the queues of a consumer; `ladders` gives the ladder of each."""

    def __init__(self, ladders: Mapping[str, str]) -> None:
        self._refused: set[str] = set()
        self._ladders = ladders
        self._paused: dict[str, bool] = {}
        self._doubted = set(ladders)
        self._last: set[str] = set()
        self._next = cycle(ladders)
        self._share = -(-len(ladders) // _ROUNDS)

    @property
    def unknown(self) -> list[str]:
        """The queues of which nothing is known yet."""
        return [queue for queue in self._ladders if queue not in self._paused]

    @property
    def urgent(self) -> bool:
        """Whether something is to be asked at once."""
        return bool(self._doubted)

    def doubt(self) -> None:
        """Ask for each queue anew; what is known stays."""
        self._doubted = set(self._ladders)

    def forget(self) -> None:
        """Know nothing."""
        self._paused.clear()
        self._refused.clear()
        self.doubt()

    def refuse(self, exchange: str) -> list[str]:
        """Ask no more by an exchange; give the queues whose own it is, of which nothing is known now."""
        self._refused.add(exchange)
        own = [queue for queue in self._ladders if names.control(queue) == exchange]
        for queue in own:
            self._paused.pop(queue, None)
        return own

    def forgive(self, exchange: str) -> None:
        """Ask by an exchange again."""
        self._refused.discard(exchange)

    def see(self, queue: str, *, paused: bool) -> None:
        """Take what was found of a queue by other means than an ask."""
        self._paused[queue] = paused

    def hung(self, ask: Ask) -> None:
        """Ask for these last from now on: behind one of them the broker gives no more answers."""
        self._last = set(ask.queues)
        self.doubt()

    def next(self) -> tuple[Ask, ...]:
        """Give what is to be asked now, in this order."""
        alone = self._doubted | set(islice(self._next, self._share))
        asks: list[Ask] = []
        together: dict[str, list[str]] = {}
        for queue, ladder in self._ladders.items():
            shared, own = names.control(ladder), names.control(queue)
            if own in self._refused:
                continue
            if queue in alone or self._paused.get(queue) or shared in self._refused:
                asks.append(Ask(own, (queue,)))
            else:
                together.setdefault(shared, []).append(queue)
        for exchange, queues in together.items():
            asks += (Ask(exchange, part) for part in _parts(queues))
        return tuple(sorted(asks, key=lambda ask: not self._last.isdisjoint(ask.queues)))

    def learn(self, asked: Iterable[Ask], yes: Collection[Ask]) -> dict[str, bool]:
        """Take the answers to what was asked, and give the queues that are paused now, or not any more."""
        news: dict[str, bool] = {}
        self._doubted = set()
        for ask in asked:
            if ask in yes and not ask.alone:
                self._doubted.update(ask.queues)
                continue
            for queue in ask.queues:
                news[queue] = ask in yes
        changed = {queue: now for queue, now in news.items() if self._paused.get(queue) is not now}
        self._paused.update(changed)
        return changed


def _parts(queues: list[str]) -> Iterator[tuple[str, ...]]:
    part: list[str] = []
    size = 0
    for queue in queues:
        more = len(names.pausing(queue).encode()) + _LENGTH
        if part and size + more > _TOGETHER:
            yield tuple(part)
            part, size = [], 0
        part.append(queue)
        size += more
    yield tuple(part)
