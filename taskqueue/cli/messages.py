"""Prints a whole message, without the logins in its URLs."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from taskqueue.cli import common, console, tables
from taskqueue.operate import whole
from taskqueue.task.message import Message


def show(row: Mapping[str, Any], message: Message, *, body: bool, as_json: bool) -> None:
    """Print one task: what is known of it, and its message; or only the bytes of its body."""
    if body:
        sys.stdout.buffer.write(message.body)
        sys.stdout.buffer.flush()
    elif as_json:
        common.emit({**row, **whole.document(message)})
    else:
        for name, value in (*row.items(), *whole.lines(message)):
            console.out.print(tables.cell(f"{name:<12} ", "bold") + tables.cell(value), soft_wrap=True)
