"""Real, signed requests to an application in the same process, and stores that the documentation shows."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from taskqueue.receiver import Store, Verifier
from taskqueue.testing import RecordingClient

SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
VERIFIER = Verifier(SECRET)
_DOCUMENT = Path(__file__).parents[2] / "docs" / "receiving.md"


def shown(name: str, document: Path = _DOCUMENT) -> dict[str, Any]:
    """Run a piece of a documentation's code, and give its names."""
    found = re.search(
        rf"<!-- test: {re.escape(name)} -->\n```python\n(.*?)```", document.read_text(), re.DOTALL
    )
    assert found is not None
    names: dict[str, Any] = {}
    exec(found[1], names)  # noqa: S102 our own documentation
    return names


class Database:
    """A database in memory, with a table of what was done and one of the work."""

    def __init__(self) -> None:
        self.connection = sqlite3.connect(":memory:", check_same_thread=False)
        self.connection.execute(
            "CREATE TABLE done (id TEXT PRIMARY KEY, at TIMESTAMP DEFAULT CURRENT_TIMESTAMP)"
        )
        self.connection.execute("CREATE TABLE work (url TEXT)")
        self.store: Store = shown("store")["Done"](self.connection)

    def work(self, url: str) -> None:
        """Do something that is to be done once."""
        self.connection.execute("INSERT INTO work VALUES (?)", (url,))

    @property
    def done(self) -> list[str]:
        """List what was done and kept."""
        self.connection.rollback()
        return [row[0] for row in self.connection.execute("SELECT url FROM work ORDER BY rowid")]

    @asynccontextmanager
    async def once(self, task_id: str) -> AsyncIterator[bool]:
        """Be the same store for asyncio."""
        with self.store.once(task_id) as new:
            yield new


def sending(folder: Path) -> tuple[RecordingClient, Path]:
    """Give a client for a queue whose requests are signed, and its ini."""
    path = folder / "taskqueue.ini"
    path.write_text(f"[default]\nhandlers = headers, signing\nsigning_secret = {SECRET}\n")
    return RecordingClient.from_config(path), path
