"""Kill loops: broker and consumers end with SIGKILL at random moments, over and over."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from sandbox.broker import Broker
from sandbox.receiver import Receiver
from tests.faults.harness import Trial, kills, parameter, staged


@pytest.mark.slow
def test_nothing_is_lost_and_nothing_early_over_kills_of_broker_and_consumers(
    private_broker: Broker, receiver: Receiver, tmp_path: Path
) -> None:
    """The short form: 2,000 tasks, 4 kills of each."""
    seed = random.randrange(10**6)
    stage = staged([private_broker.url], receiver, tmp_path)
    private_broker.sync()
    trial = Trial(stage, tasks=2_000, seconds=40, seed=seed)
    summary = trial.run(kills(private_broker, brokers=4, consumers=4, gap=(0.3, 2.5)))
    assert summary.good, summary
    assert summary.confirmed > 1_000, summary


@pytest.mark.soak
def test_nothing_is_lost_over_many_kills(private_broker: Broker, receiver: Receiver, tmp_path: Path) -> None:
    """The long form: TASKQUEUE_SOAK_TASKS, _KILLS (of each), _SECONDS and _SEED change it."""
    seed = parameter("SEED", random.randrange(10**6))
    count = parameter("KILLS", 20)
    stage = staged([private_broker.url], receiver, tmp_path)
    private_broker.sync()
    trial = Trial(stage, tasks=parameter("TASKS", 20_000), seconds=parameter("SECONDS", 300), seed=seed)
    summary = trial.run(kills(private_broker, brokers=count, consumers=count, gap=(0.5, 5.0)))
    assert summary.good, summary
