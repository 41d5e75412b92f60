"""The fixture for pytest: ``pytest_plugins = ["taskqueue.testing.plugin"]`` in a conftest.py."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from taskqueue.testing import RecordingClient, recording


@pytest.fixture
def taskqueue_client() -> Iterator[RecordingClient]:
    """Have every client of the application record what it sends, and give what was sent."""
    with recording() as client:
        yield client
