"""A cluster of three nodes, of which one at a time dies."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from sandbox.broker import Broker, cluster, find_script
from sandbox.receiver import Receiver
from taskqueue.topology import names
from tests.faults.harness import Trial, parameter, staged
from tests.support.crowd import Crowd
from tests.support.stage import Stage, eventually

PATH = "/limited"
GOES_ON = 30.0
"""Seconds in which tasks run again after a node was killed; far more than consumers take to find another."""


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


@pytest.mark.soak
def test_limits_hold_while_one_node_of_three_after_another_dies(receiver: Receiver, tmp_path: Path) -> None:
    """Each time it is the node of the consumers: all permits come back, and none is doubled."""
    if find_script() is None:
        pytest.fail("no local rabbitmq-server for a cluster: run `make broker`")
    crowd = Crowd(receiver, PATH, 0.1)
    with cluster(3) as nodes:
        stage = Stage(
            ",".join(node.url for node in nodes), receiver, tmp_path, max_concurrency=3, rate="20/s"
        ).declare()
        for node in nodes:
            node.sync()
        try:
            for _ in range(3):
                stage.run()
            with stage.client() as client:
                # So slow that tasks wait for their turn and not for a permit, most of the time.
                ids = client.send_many({"url": PATH, "queue": stage.name} for _ in range(700))
            for _ in range(parameter("NODES", 3)):
                more(receiver, 40)
                node = max(nodes, key=connections)
                node.kill()
                # What ran on it may be run again meanwhile, beside the rest of the first run.
                more(receiver, 20)
                crowd.most()
                more(receiver, 20)
                assert crowd.most() <= 3
                node.restart()
                more(receiver, 40)
                assert crowd.most() <= 3
            eventually(
                lambda: {each.headers["Taskqueue-Id"] for each in receiver.to(PATH)} == set(ids), "all"
            )
        finally:
            stage.stop()
        eventually(lambda: stage.depth(names.permits(stage.name)) == 3, "all permits are free")
        assert (stage.depth(), stage.waiting()) == (0, 0)


def connections(node: Broker) -> int:
    """Count the connections of a node."""
    return int(node.eval("length(rabbit_networking:local_connections())."))


def more(receiver: Receiver, count: int) -> None:
    """Wait until so many more requests came."""
    receiver.wait_for(len(receiver.to(PATH)) + count, timeout=GOES_ON, path=PATH)
