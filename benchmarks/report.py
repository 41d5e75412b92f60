"""What the programs have in common on their command line and in what they print."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

Row = Mapping[str, Any]
_progress = Console(stderr=True, highlight=False)


def parser(description: str) -> argparse.ArgumentParser:
    """Make a parser with the options that every program has."""
    # SIGTERM as an exception, so that the broker and the workers are ended too.
    signal.signal(signal.SIGTERM, lambda number, _frame: sys.exit(128 + number))
    made = argparse.ArgumentParser(description=description)
    made.add_argument("--json", action="store_true", help="print JSON instead of tables")
    made.add_argument(
        "--quick", action="store_true", help="small sizes: a check that it works, no measurement"
    )
    return made


def say(text: str) -> None:
    """Tell how far it is; on standard error, so that standard output has the result alone."""
    _progress.print(f"[dim]{text}[/dim]")


def tell(arguments: argparse.Namespace, title: str, tables: Mapping[str, Sequence[Row]]) -> None:
    """Print what was measured: `tables` by their headings, rows of the same columns in each."""
    if arguments.json:
        json.dump({"benchmark": title, "machine": machine(), "results": tables}, sys.stdout, indent=2)
        sys.stdout.write("\n")
        return
    console = Console(width=None if sys.stdout.isatty() else 140, highlight=False)
    for heading, rows in tables.items():
        table = Table(title=heading, title_justify="left", title_style="bold")
        columns = list(rows[0]) if rows else []
        for number, column in enumerate(columns):
            table.add_column(column, justify="left" if number == 0 or not column else "right")
        for row in rows:
            table.add_row(*(_text(row[column]) for column in columns))
        console.print(table)


def machine() -> dict[str, Any]:
    """Describe the machine, as far as a ratio may depend on it."""
    return {"cores": os.cpu_count(), "python": platform.python_version(), "system": platform.platform()}


def percentile(values: Sequence[float], percent: float) -> float:
    """Give the nearest-rank percentile of values that need not be sorted."""
    ordered = sorted(values)
    if not ordered:
        return float("nan")
    return ordered[min(len(ordered) - 1, int(len(ordered) * percent / 100))]


def _text(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.3g}"  # noqa: PLR2004 digits that say something
    return f"{value:,}" if isinstance(value, int) else str(value)
