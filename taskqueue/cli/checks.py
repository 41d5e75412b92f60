"""What `taskqueue check` has found: as a table in which equal rows are one, and as JSON."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from rich.table import Table
from rich.text import Text

from taskqueue.cli import common, tables
from taskqueue.errors import TaskqueueError

_SHOWN = 3
_STYLE = {"failed": "red", "unknown": "yellow", "warning": "yellow", "ok": "green"}


@dataclasses.dataclass(frozen=True, slots=True)
class Check:
    """One thing that was checked; `detail` says what was found, `advice` what to do about it."""

    check: str
    ok: bool
    """False where something is not as it should be, which ends the command with `exit_code`."""
    detail: str
    queue: str | None = None
    advice: str | None = None
    exit_code: int = common.FAILED
    known: bool = True
    """False where it could not be looked at; `detail` says why."""

    @property
    def state(self) -> str:
        """Say in one word how it is."""
        if not self.ok:
            return "failed"
        if not self.known:
            return "unknown"
        return "warning" if self.advice else "ok"


def unknown(name: str, why: str, advice: str | None = None) -> Check:
    """Make a finding of what could not be looked at, as it was not set up to be: no failure, nor fine."""
    return Check(name, ok=True, known=False, detail=why, advice=advice)


def failure(name: str, error: TaskqueueError, queue: str | None = None) -> Check:
    """Make an error the finding of a check."""
    return Check(name, ok=False, detail=str(error), queue=queue, exit_code=error.exit_code)


def some(things: Sequence[str]) -> str:
    """Write the first few of what was found, and how many more there are."""
    more = f"; and {len(things) - _SHOWN} more" if len(things) > _SHOWN else ""
    return f"{'; '.join(things[:_SHOWN])}{more}"


def named(queues: Sequence[str]) -> str:
    """Write the first few names, and how many more there are."""
    more = f" and {len(queues) - _SHOWN} more" if len(queues) > _SHOWN else ""
    return f"{', '.join(queues[:_SHOWN])}{more}"


def table(checks: Iterable[Check]) -> Table:
    """Make a row for each check; queues of which the same is to be told share one."""
    rows: dict[Check, list[str]] = {}
    for each in checks:
        rows.setdefault(dataclasses.replace(each, queue=None), []).append(each.queue or "")
    made = tables.table("check", "queue", "", "found")
    for each, queues in rows.items():
        found = tables.cell(each.detail)
        if each.advice:
            found.append("\n").append_text(tables.cell(each.advice, "yellow"))
        made.add_row(
            tables.cell(each.check),
            tables.cell(named(queues) or None),
            Text(each.state, _STYLE[each.state]),
            found,
        )
    return made


def document(checks: Sequence[Check]) -> dict[str, Any]:
    """Give each finding by itself for JSON."""
    keys = ("check", "queue", "state", "ok", "detail", "advice")
    return {
        "ok": all(each.ok for each in checks),
        "checks": [{key: getattr(each, key) for key in keys} for each in checks],
    }
