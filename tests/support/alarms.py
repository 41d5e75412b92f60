"""A node that is short of something: it takes no publishes until it has enough of it again."""

from __future__ import annotations

from typing import Self

from sandbox.node import Broker

ALARMS = {
    "memory": ("set_vm_memory_high_watermark", "0.0000001", "0.4"),
    "disk": ("set_disk_free_limit", "100000GB", "50MB"),
}
"""The command that moves the limit, and a value that raises the alarm and one that clears it."""


class Alarm:
    """One alarm of a node, raised and cleared by hand, or for a ``with`` block."""

    def __init__(self, node: Broker, name: str = "memory") -> None:
        self._node = node
        self._command, self._short, self._enough = ALARMS[name]

    def set(self) -> None:
        """Raise it."""
        self._node.ctl(self._command, self._short)

    def clear(self) -> None:
        """Let the node go on."""
        self._node.ctl(self._command, self._enough)

    def __enter__(self) -> Self:
        self.set()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
