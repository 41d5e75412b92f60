"""Which nodes lack the setting of deploy/advanced.config, as far as the management API tells.

It tells the files that a node reads and not what is in them, nor what a node was started with. So it is known
of a node that it reads none, and of the others that they may have the setting.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from taskqueue.broker.management import Management

SETTING = "dead_letter_worker_publisher_confirm_timeout"
"""Of the application rabbit: milliseconds until a wait queue tries again to hand on."""
_SUFFIX = ".config"
"""Of files with Erlang terms, advanced.config for one; rabbitmq.conf has no key for the setting."""


WITHIN = "within 3 minutes (5 s with deploy/advanced.config)"
"""When a wait queue tries again to hand on what it could not."""


@dataclass(frozen=True, slots=True)
class Advanced:
    """What the running nodes read."""

    without: tuple[str, ...]
    """Nodes that read no file which could have the setting."""
    files: tuple[str, ...]
    """The files that could have it."""


def look(management: Management) -> Advanced | None:
    """Ask what the nodes read; None where that is not known, as nobody may ask, or a node has only begun."""
    return judge(management.config_files())


def judge(nodes: Mapping[str, Sequence[str] | None] | None) -> Advanced | None:
    """Tell which of the files that each node reads may have the setting."""
    if not nodes or any(files is None for files in nodes.values()):
        return None
    could = {
        node: tuple(file for file in files or () if file.endswith(_SUFFIX)) for node, files in nodes.items()
    }
    without = tuple(sorted(node for node, files in could.items() if not files))
    return Advanced(without, tuple(sorted({file for files in could.values() for file in files})))
