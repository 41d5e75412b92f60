"""Finds records: those of some ids by the index, others by their time."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import aclosing
from dataclasses import dataclass, field

from taskqueue.broker.session import Session
from taskqueue.errors import TaskqueueError
from taskqueue.history import stream
from taskqueue.history.records import INTERVAL, Batch, Record, Stretch, read_batch, read_entry
from taskqueue.history.story import ending
from taskqueue.history.wanted import Wanted
from taskqueue.settings import Settings
from taskqueue.topology import names

_FOR_EVER = 2**63
SKEW = 60_000
"""Milliseconds by which the clocks of a writer and of the broker may differ."""
_UNINDEXED = int(INTERVAL * 1000) + SKEW
"""Milliseconds after its last entry in which a writer that died may have written."""
Progress = Callable[[int], None]
"""Called with the number of batches that were read."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Records in the order of their time: the last ones, where a limit was set."""

    records: tuple[Record, ...]
    total: int
    """How many there are in all."""
    dropped: int
    """How many the history lacks, as they could not be written."""


@dataclass(frozen=True, slots=True)
class Index:
    """What the entries say; times are milliseconds since the epoch."""

    stretches: tuple[Stretch, ...]

    @property
    def dropped(self) -> int:
        """How many records were dropped in all."""
        return sum(each.dropped for each in self.stretches)

    def ranges(self, ids: frozenset[str], begin: int, now: int) -> tuple[tuple[int, int], ...]:
        """Give the times in which records of some ids may have been written, apart and in order.

        `begin` is the time of the first batch. What came before the first entry is in no entry, nor is what a
        writer has written after its last one.
        """
        if not self.stretches:
            return ((begin, now),)
        found = [(begin, min(each.since for each in self.stretches))]
        found += ((each.since, each.until) for each in self.stretches if each.may_have(ids))
        latest = {each.writer: each for each in self.stretches}
        found += (
            (each.until, min(now, each.until + _UNINDEXED)) for each in latest.values() if not each.ended
        )
        return tuple(_united((since, until) for since, until in found if since <= until))

    def choice(self, ids: frozenset[str]) -> Choice:
        """Tell which batches may have records of some ids."""
        chosen = Choice()
        for each in self.stretches:
            chosen.indexed[each.writer] = max(each.last, chosen.indexed.get(each.writer, 0))
            if each.first <= each.last and each.may_have(ids):
                chosen.hits.setdefault(each.writer, []).append((each.first, each.last))
        return chosen


@dataclass(slots=True)
class Choice:
    """The batches that are worth reading."""

    indexed: dict[str, int] = field(default_factory=dict)
    """The last batch of each writer that an entry knows."""
    hits: dict[str, list[tuple[int, int]]] = field(default_factory=dict)

    def takes(self, batch: Batch) -> bool:
        """Tell whether a batch may have what is looked for."""
        if batch.number > self.indexed.get(batch.writer, 0):
            return True
        return any(first <= batch.number <= last for first, last in self.hits.get(batch.writer, ()))


async def find(session: Session, ids: frozenset[str], now: float, progress: Progress) -> Answer:
    """Find every record of some ids; `now` is in seconds since the epoch. Raises NotDeclared, NotKnown."""
    index = await _index(session)
    edges = await _edges(session)
    if edges is None:
        return Answer((), 0, index.dropped)
    choice = index.choice(ids)
    found: list[Record] = []
    ranges = index.ranges(ids, edges.begin, int(now * 1000))
    async for batch in _batches(session, ranges, edges, progress):
        if choice.takes(batch):
            found += batch.records(ids)
    return _answer(found, index)


async def recorded(session: Session, settings: Settings, task_id: str, now: float) -> tuple[str, ...]:
    """Say how a task ended by the history; nothing where none is kept, or it does not answer."""
    if settings.history is None:
        return ()
    try:
        answer = await find(session, frozenset({task_id}), now, lambda _: None)
    except TaskqueueError as error:
        return (f"the history does not tell: {error}",)
    return (f"by the history: {ending(task_id, answer.records)}",)


async def within(session: Session, wanted: Wanted, limit: int, progress: Progress) -> Answer:
    """Find the last `limit` of the records that are wanted, and count them all; raises as `find` does."""
    index = await _index(session)
    edges = await _edges(session)
    if edges is None:
        return Answer((), 0, index.dropped)
    earliest = int(wanted.since * 1000)
    found: list[Record] = []
    total = 0
    async for batch in _batches(session, ((earliest, int(wanted.now * 1000)),), edges, progress):
        records = batch.records(named=wanted.named)
        kept = [each for each in records if each["at"] >= earliest and wanted.keep(each)]
        total += len(kept)
        found += kept
        # There may be millions, and writers take turns: so by their time, and not each time.
        if len(found) > 2 * limit:
            found = sorted(found, key=_at)[-limit:]
    return Answer(tuple(sorted(found, key=_at)[-limit:]), total, index.dropped)


def _answer(found: list[Record], index: Index) -> Answer:
    return Answer(tuple(sorted(found, key=_at)), len(found), index.dropped)


def _at(record: Record) -> int:
    at: int = record["at"]
    return at


async def _index(session: Session) -> Index:
    last = await stream.end(session, names.HISTORY_INDEX)
    if last is None:
        return Index(())
    read = stream.read(session, names.HISTORY_INDEX, stream.FIRST, last[0])
    entries = [read_entry(message) async for message in read]
    # The broker may have an entry twice, where its confirm was lost.
    return Index(tuple({(each.writer, each.since): each for each in entries if each is not None}.values()))


@dataclass(frozen=True, slots=True)
class _Edges:
    """The times of the first and the last batch (milliseconds since the epoch), and the last one's offset."""

    begin: int
    end: int
    last: int


async def _edges(session: Session) -> _Edges | None:
    """Find where the records begin and end; None where there are none."""
    found = await stream.end(session, names.HISTORY)
    if found is None:
        return None
    offset, message = found
    last = read_batch(message)
    async with aclosing(stream.read(session, names.HISTORY, stream.FIRST, offset)) as messages:
        async for message in messages:
            first = read_batch(message)
            return _Edges(first.at if first else 0, last.at if last else _FOR_EVER, offset)
    return None


async def _batches(
    session: Session, ranges: Iterable[tuple[int, int]], edges: _Edges, progress: Progress
) -> AsyncIterator[Batch]:
    """Yield each batch that was written in some ranges of time, once."""
    seen: set[tuple[str, int]] = set()
    count = 0
    for since, until in ranges:
        if since - SKEW > edges.end:
            # There is nothing yet, and a stream would have us wait for it.
            continue
        # By the clock of the broker the last batch may be earlier than its writer says.
        offset = stream.at((since - 2 * SKEW) / 1000)
        async with aclosing(stream.read(session, names.HISTORY, offset, edges.last)) as messages:
            async for message in messages:
                count += 1
                progress(count)
                batch = read_batch(message)
                if batch is None or (batch.writer, batch.number) in seen:
                    continue
                if batch.at > until + SKEW:
                    break
                seen.add((batch.writer, batch.number))
                yield batch


def _united(ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Give ranges that are apart by more than what is read before and after each."""
    begin: int | None = None
    end = 0
    for since, until in sorted(ranges):
        if begin is None:
            begin, end = since, until
        elif since - end <= 3 * SKEW:
            end = max(end, until)
        else:
            yield begin, end
            begin, end = since, until
    if begin is not None:
        yield begin, end
