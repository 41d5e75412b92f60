"""A node that is short of something: it takes no publishes until it has enough of it again."""

from __future__ import annotations

from typing import Self

from sandbox.node import Broker

ALARMS = {
    "memory": ("vm_memory_monitor:set_vm_memory_high_watermark", "0.0000001", "0.4"),
    "disk": ("rabbit_disk_monitor:set_disk_free_limit", "100000000000000", "50000000"),
}
"""What moves the limit, as rabbitmqctl does, and a value that raises the alarm and one that clears it."""


class Alarm:
    """One alarm of a node, raised and cleared by hand, or for a ``with`` block."""

    def __init__(self, node: Broker, name: str = "memory") -> None:
        self._node = node
        self._command, self._short, self._enough = ALARMS[name]

    def set(self) -> None:
        """Raise it."""
        self._node.eval(f"{self._command}({self._short}).")

    def clear(self) -> None:
        """Let the node go on."""
        self._node.eval(f"{self._command}({self._enough}).")

    def __enter__(self) -> Self:
        self.set()
        return self

    def __exit__(self, *_: object) -> None:
        self.clear()
