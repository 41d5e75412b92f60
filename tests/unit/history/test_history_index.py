"""Where a reader looks for an id: never past a batch that has it, whatever became of its writer."""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from taskqueue.history.records import INTERVAL, Batch, Stretch, mark
from taskqueue.history.search import SKEW, Index

MINUTE = 60_000
EVERY = int(INTERVAL * 1000)


def marks(*ids: str) -> bytes:
    """Write marks as an entry has them."""
    return array("I", map(mark, ids)).tobytes()


@dataclass
class World:
    """What some writers have written: batches with their ids, and entries."""

    batches: list[tuple[Batch, str]]
    entries: list[Stretch]
    now: int


def made(seed: int) -> World:
    """Have writers write now and then; some end in order, some are killed, some go on."""
    chance = random.Random(seed)
    now = 7 * 24 * 60 * MINUTE
    world = World([], [], now)
    for writer in (f"w{number}" for number in range(chance.randint(1, 4))):
        at = since = chance.randint(MINUTE, now - MINUTE)
        end = chance.choice([now, chance.randint(at, now)])
        world.entries.append(Stretch(writer, at, at))
        number, first, ids = 0, 1, list[str]()
        for _ in range(60):
            at += chance.randint(1, EVERY)
            while at - since >= EVERY and since + EVERY <= end:
                since += EVERY
                world.entries.append(Stretch(writer, since - EVERY, since, first, number, marks=marks(*ids)))
                first, ids = number + 1, []
            if at > end:
                break
            number += 1
            ids.append(f"{writer}-{number}")
            world.batches.append((Batch(writer, number, at, b""), ids[-1]))
        if at > end and end < now and chance.random() < 0.5:
            world.entries.append(Stretch(writer, since, end, first, number, ended=True, marks=marks(*ids)))
    return world


@given(st.integers(0, 10**6))
def test_every_batch_that_has_an_id_is_looked_at(seed: int) -> None:
    """Also those of a writer that was killed before it could say so."""
    world = made(seed)
    index = Index(tuple(world.entries))
    begin = min((batch.at for batch, _ in world.batches), default=0)
    some = random.Random(seed).sample(world.batches, min(20, len(world.batches)))
    for batch, task_id in some:
        ids = frozenset({task_id})
        covered = any(
            since - SKEW <= batch.at <= until + SKEW for since, until in index.ranges(ids, begin, world.now)
        )
        assert covered
        assert index.choice(ids).takes(batch)


def test_a_week_of_a_quiet_consumer_is_hardly_looked_at() -> None:
    """One stretch that has the id, and the last minutes, which are in no entry yet."""
    count = 7 * 24 * 12
    entries = tuple(
        Stretch(
            "w", each * EVERY, (each + 1) * EVERY, 100 * each + 1, 100 * each + 100, marks=marks(f"t{each}")
        )
        for each in range(count)
    )
    index = Index(entries)
    now = count * EVERY + MINUTE
    ranges = index.ranges(frozenset({"t500"}), 0, now)
    assert ranges == ((0, 0), (500 * EVERY, 501 * EVERY), (count * EVERY, now))
    choice = index.choice(frozenset({"t500"}))
    taken = [number for number in range(1, 100 * count + 10) if choice.takes(Batch("w", number, 0, b""))]
    assert taken == [*range(50_001, 50_101), *range(100 * count + 1, 100 * count + 10)]


def test_without_an_index_everything_is_looked_at() -> None:
    """Somebody has deleted it, or it is younger than the records."""
    now = 9 * EVERY
    assert Index(()).ranges(frozenset({"t"}), 5, now) == ((5, now),)
    assert Index(()).choice(frozenset({"t"})).takes(Batch("w", 1, 0, b""))
    young = Index((Stretch("w", 8 * EVERY, now, 1, 3, ended=True),))
    assert young.ranges(frozenset({"t"}), 5, now) == ((5, 8 * EVERY),)
    assert young.choice(frozenset({"t"})).takes(Batch("other", 1, 0, b""))
