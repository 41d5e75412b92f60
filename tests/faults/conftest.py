"""Fixtures of the fault suite."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.broker import Broker, Server
from sandbox.receiver import Receiver
from tests.integration.stage import Stage

# It reports each refused connection six times, which hides what matters where a trial fails.
logging.getLogger("pika").setLevel(logging.CRITICAL)


@pytest.fixture
def staged(broker: Server, receiver: Receiver, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Give a maker of declared queues on the shared broker; keyword arguments are keys of the ini."""
    stages: list[Stage] = []

    def make(server: str | None = None, **keys: Any) -> Stage:
        stage = Stage(server or broker.url, receiver, tmp_path, **keys)
        stages.append(stage)
        return stage.declare()

    yield make
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(staged: Callable[..., Stage]) -> Stage:
    """Give one declared queue with quick retries."""
    return staged()


@pytest.fixture
def own_stage(private_broker: Broker, receiver: Receiver, tmp_path: Path) -> Iterator[Stage]:
    """Give one declared queue on a broker of this test's own."""
    stage = Stage(private_broker.url, receiver, tmp_path).declare()
    yield stage
    stage.stop()
