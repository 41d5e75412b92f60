"""Who does not ask for a thing does not wait for its import."""

from __future__ import annotations

import subprocess
import sys

import pytest

import taskqueue


def loaded(statement: str) -> set[str]:
    """Give the names of what is imported after a statement, in a process of its own."""
    program = f"{statement}\nimport sys\nprint(*sys.modules)"
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return set(ended.stdout.split())


def test_a_client_brings_nothing_of_asyncio_of_ours() -> None:
    """Nor does the package itself bring a client."""
    assert "pika" not in loaded("import taskqueue")
    ours = loaded("from taskqueue import Client")
    assert "taskqueue.send.client" in ours
    assert "taskqueue.send.async_client" not in ours


def test_who_only_sends_does_not_meet_what_cancels() -> None:
    """Neither when a client is made."""
    ours = loaded("from taskqueue import Client, AsyncClient; Client(); AsyncClient()")
    assert "taskqueue.send.async_client" in ours
    assert ours.isdisjoint({"taskqueue.send.cancelling", "taskqueue.operate", "taskqueue.history"})
    assert "concurrent.futures" not in loaded("from taskqueue import Client; Client()")


def test_everything_public_is_there() -> None:
    """However late it is imported."""
    names = {name: getattr(taskqueue, name).__name__ for name in taskqueue.__all__}
    assert names == {name: name for name in names}
    assert set(dir(taskqueue)) >= names.keys()


def test_what_is_not_there_is_said_as_of_any_module() -> None:
    """So that hasattr works."""
    with pytest.raises(AttributeError, match="module 'taskqueue' has no attribute 'Clent'"):
        _ = taskqueue.Clent
    assert not hasattr(taskqueue, "Sender")
