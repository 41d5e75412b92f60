"""What `taskqueue check` says of the broker's dead-lettering: faults by version, and what nodes read."""

from __future__ import annotations

import pytest

from taskqueue.cli.check_broker import check_faults
from taskqueue.operate.advanced import Advanced, judge

LEADER, CHURN = "#16203", "#16652"


@pytest.mark.parametrize(
    ("version", "known"),
    [
        ("3.10.8", {LEADER, CHURN}),
        ("3.13.7", {LEADER, CHURN}),
        ("4.0.5", {LEADER, CHURN}),
        ("4.2.6", {LEADER, CHURN}),
        ("4.2.7", {CHURN}),
        ("4.2.9", {CHURN}),
        ("4.3.0", {LEADER, CHURN}),
        ("4.3.1", {CHURN}),
        ("4.3.6", {CHURN}),
    ],
)
def test_faults_are_named_by_version(version: str, known: set[str]) -> None:
    """With the versions that mend one, where there are any: that is what can be done."""
    check = check_faults({"version": version})
    assert {issue for issue in (LEADER, CHURN) if issue in check.detail} == known
    assert check.ok
    advice = f"{LEADER} is mended in 4.2.7 and 4.3.1" if LEADER in known else None
    assert check.advice == advice


@pytest.mark.parametrize("version", ["4.3.7", "4.4.0", "5.0.0"])
def test_of_a_later_version_nothing_is_claimed(version: str) -> None:
    """Neither that it has a fault, nor that it has none."""
    assert check_faults({"version": version}).state == "unknown"


def test_nodes_without_a_file_for_the_setting_are_named() -> None:
    """rabbitmq.conf has no key for it; an older node may have its terms in rabbitmq.config."""
    conf, terms = "/etc/rabbitmq/rabbitmq.conf", "/etc/rabbitmq/advanced.config"
    assert judge({"rabbit@a": (terms, conf)}) == Advanced((), (terms,))
    assert judge({"rabbit@b": (conf,), "rabbit@a": (terms,)}) == Advanced(("rabbit@b",), (terms,))
    assert judge({"rabbit@a": ()}) == Advanced(("rabbit@a",), ())


@pytest.mark.parametrize("nodes", [None, {}, {"rabbit@a": ("advanced.config",), "rabbit@b": None}])
def test_what_is_not_told_is_not_known(nodes: dict[str, tuple[str, ...] | None] | None) -> None:
    """A user without the tag monitoring is told nothing, and a node says it some seconds after its start."""
    assert judge(nodes) is None
