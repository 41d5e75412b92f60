"""What is ready in a work queue that nobody consumes: found, and brought to the dead queue."""

from __future__ import annotations

from taskqueue.broker.session import connected, run
from taskqueue.operate import ready, waiting
from taskqueue.operate.acting import Acted
from taskqueue.operate.filters import Filter
from tests.support import command
from tests.support.stage import Stage


def test_ready_tasks_are_listed_in_their_order_and_stay(stage: Stage) -> None:
    """Twice the same."""
    for name in "abc":
        stage.publish({"url": f"/{name}"}, message_id=name)

    async def look() -> tuple[list[str | None], Acted]:
        async with connected(stage.settings, name="test") as session:
            found, seen = await ready.first(session, stage.name, Filter(), limit=2)
            return [facts.id for facts in found], seen

    for _ in range(2):
        assert run(look()) == (["a", "b"], Acted(3, 3, 0))
    assert stage.depth() == 3


def test_ready_tasks_are_cancelled_and_come_back(stage: Stage) -> None:
    """As those that waited; and forgotten where that is wanted."""
    for name in "abc":
        stage.publish({"url": f"/{name}"}, message_id=name)

    async def cancel(chosen: Filter, what: waiting.Act) -> Acted:
        async with connected(stage.settings, name="test") as session:
            return await ready.act(session, stage.name, chosen, what)

    chosen = Filter(ids=frozenset({"b", "nope"}))
    assert run(cancel(chosen, waiting.cancelled(stage.name))) == Acted(3, 1, 1, ("nope",))
    (dead,) = command.read(stage.path, "dead", "list", stage.name)
    assert (dead["id"], dead["reason"], stage.depth()) == ("b", "cancelled", 2)
    command.ran(stage.path, "dead", "replay", stage.name, "--reason", "cancelled", "--yes")
    assert stage.depth() == 3
    assert run(cancel(Filter(), waiting.forgotten)) == Acted(3, 3, 3)
    assert (stage.depth(), stage.depth(f"{stage.name}.dead")) == (0, 0)
