"""No name that taskqueue itself uses is taken for a queue's or a ladder's: nothing is shared by accident."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskqueue.errors import ConfigError
from taskqueue.settings import Settings, parse
from taskqueue.topology import names
from taskqueue.topology.plan import (
    CLASSIC,
    QUORUM,
    Layout,
    plan_ladder,
    plan_limits,
    plan_queue,
    plan_schedules,
)

SEGMENTS = st.sampled_from(
    [
        "X",
        "Y",
        "wait",
        "dead",
        "moving",
        "schedule",
        "paused",
        "limit",
        "permits",
        "rate",
        "due",
        "lost",
        "1s",
        "0",
        "classic",
        "",
        "in",
        "amq",
    ]
)
NAMES = st.lists(SEGMENTS, min_size=1, max_size=4).map(".".join)


def used(queue: str, ladder: str) -> set[str]:
    """Give every name that belongs to a queue on a ladder, in either type and while it moves."""
    found = {names.moving(queue), names.paused(queue)}
    for queue_type in (QUORUM, CLASSIC):
        for known in (frozenset[str](), frozenset({ladder})):
            mine = frozenset({queue})
            layout = Layout({queue: ladder}, Settings().rungs, queue_type, known, paced=mine, capped=mine)
            planned = (
                plan_queue(queue, layout),
                plan_ladder(ladder, layout),
                plan_schedules(queue, layout),
                plan_limits(queue, layout),
            )
            found |= {item.name for each in planned for item in each.items}
    return found


def read(*queues: str, ladder: str = "") -> Settings:
    """Read a configuration with these queues, all on one ladder where it is named."""
    lines = [f"ladder = {ladder}", *(f"[{queue}]" for queue in queues)]
    return parse("\n".join(lines), source="test", environ={})


OURS = sorted(
    (used("X", "X") | used("X", "L")) - {"X"}
    | {"X.wait.1s.classic", "X.dead.moving", "X.moving.dead", "X.wait.anything", "X.wait.due.wait"}
)


@pytest.mark.parametrize("name", OURS)
def test_no_queue_and_no_ladder_has_a_name_of_ours(name: str) -> None:
    """Beside the queue that it belongs to, and alone: that one may come later."""
    with pytest.raises(ConfigError, match="is a name that belongs to queue"):
        read("X", name)
    with pytest.raises(ConfigError, match="is a name that belongs to queue"):
        read(name)
    with pytest.raises(ConfigError, match="ladder: is a name that belongs to a queue"):
        read("X", ladder=name)


@given(queues=st.lists(NAMES, min_size=1, max_size=4, unique=True), ladder=NAMES)
def test_what_is_accepted_shares_no_name_in_the_broker(queues: list[str], ladder: str) -> None:
    """Of two queues or ladders, whatever they are called."""
    for shared in ("", ladder):
        try:
            settings = read(*queues, ladder=shared)
        except ConfigError:
            continue
        owned: dict[str, str] = {}
        for queue in settings.queues.values():
            layout = settings.layout
            for name in {item.name for item in plan_queue(queue.name, layout).items} | {
                names.moving(queue.name)
            }:
                assert owned.setdefault(name, queue.name) == queue.name
        for used_ladder in {queue.ladder for queue in settings.queues.values()}:
            for name in {item.name for item in plan_ladder(used_ladder, settings.layout).items}:
                assert owned.setdefault(name, used_ladder) == used_ladder
