"""Fixtures of the tests that need a broker."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from sandbox.broker import Server
from sandbox.receiver import Receiver
from tests.integration.stage import Stage


@pytest.fixture
def staged(broker: Server, receiver: Receiver, tmp_path: Path) -> Iterator[Callable[..., Stage]]:
    """Give a maker of declared queues; the keyword arguments are keys of the ini."""
    stages: list[Stage] = []

    def make(**keys: Any) -> Stage:
        stage = Stage(broker.url, receiver, tmp_path, **keys)
        stages.append(stage)
        return stage.declare()

    yield make
    for stage in stages:
        stage.close()


@pytest.fixture
def stage(staged: Callable[..., Stage]) -> Stage:
    """Give one declared queue with quick retries."""
    return staged()
