"""What is planned for limits over machines: only where a queue has them."""

from __future__ import annotations

import pytest

from taskqueue.settings import Settings, parse
from taskqueue.topology import names
from taskqueue.topology.plan import KEPT, plan, plan_limits


def read(keys: str) -> Settings:
    """Read a configuration with one queue of these keys, and one without."""
    return parse(f"[mail]\n{keys}\n[plain]\n", source="test", environ={})


@pytest.mark.parametrize(
    ("keys", "queues"),
    [
        ("", []),
        ("rate = 5/s", ["mail.limit.rate"]),
        ("max_concurrency = 5", ["mail.limit", "mail.limit.permits"]),
        ("rate = 5/s\nmax_concurrency = 5", ["mail.limit.rate", "mail.limit", "mail.limit.permits"]),
    ],
)
def test_each_limit_has_its_queues_and_no_limit_has_none(keys: str, queues: list[str]) -> None:
    """They keep what is in them, whatever the type of the work queue."""
    layout = read(keys).layout
    planned = plan_limits("mail", layout)
    assert [each.name for each in planned.queues] == queues
    assert all(each.arguments == KEPT for each in planned.queues)
    ours = {each.name for each in plan(layout).items if names.limit("mail") in each.name}
    assert ours == {each.name for each in planned.items}
    assert not plan_limits("plain", layout).items


def test_what_is_published_finds_its_queue() -> None:
    """The exchange of the limits leads to the book and to the permits, by their names."""
    planned = plan_limits("mail", read("max_concurrency = 2").layout)
    assert {(each.exchange, each.routing_key, each.queue) for each in planned.bindings} == {
        ("mail.limit", name, name) for name in ("mail.limit", "mail.limit.permits")
    }
