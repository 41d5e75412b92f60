"""A cluster of three nodes, of which one at a time dies."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.broker import Broker, cluster, find_script
from sandbox.receiver import Receiver
from tests.faults.harness import Trial, staged


@pytest.mark.slow
def test_nothing_is_lost_while_one_node_of_three_after_another_dies(
    receiver: Receiver, tmp_path: Path
) -> None:
    """All three hosts are in `server`: producers and consumers go on with those that live."""
    if find_script() is None:
        pytest.fail("no local rabbitmq-server for a cluster: run `make broker`")
    with cluster(3) as nodes:
        stage = staged([node.url for node in nodes], receiver, tmp_path)
        trial = Trial(stage, tasks=600, seconds=25, seed=random.randrange(10**6))
        summary = trial.run(one_after_another(nodes[:2]))
    assert summary.good, summary
    assert summary.confirmed > 300, summary


def one_after_another(nodes: list[Broker]) -> Callable[[Trial], None]:
    """Make faults: each node is killed, and is back before the next one goes."""

    def inject(trial: Trial) -> None:
        for node in nodes:
            trial.pause(2, 4)
            trial.kill_broker(node)

    return inject
