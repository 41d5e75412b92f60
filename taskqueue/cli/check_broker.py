"""What `taskqueue check` says of the broker's dead-lettering, by which tasks walk their ladder."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from taskqueue.broker.connect import parsed_version
from taskqueue.broker.management import Management
from taskqueue.cli.checks import Check, some, unknown
from taskqueue.operate import advanced
from taskqueue.operate.advanced import SETTING
from taskqueue.operate.inspect import LadderState, QueueState

_Version = tuple[int, ...]
_ASK = f"to see it: rabbitmqctl eval 'application:get_env(rabbit, {SETTING}).'"
_RUNBOOK = "docs/operate.md, 'The broker is down'"


@dataclass(frozen=True, slots=True)
class _Fault:
    """A fault of RabbitMQ's at-least-once dead-lettering, which quorum queues on a ladder have."""

    issue: str
    means: str
    mended: tuple[_Version, ...]
    """The first version of each series without it; none where no version that was seen is."""

    def is_in(self, version: _Version) -> bool:
        """Tell whether a version has it: those of an older series do, and those of a newer one do not."""
        return not any(version[:2] == first[:2] and version >= first for first in self.mended) and (
            not self.mended or version[:2] <= max(self.mended)[:2]
        )


FAULTS = (
    _Fault(
        "#16203",
        "in a cluster a change of leader may end what hands on for a wait queue",
        ((4, 2, 7), (4, 3, 1)),
    ),
    _Fault(
        "#16652",
        "in a cluster many changes of leader at once may end what hands on for all of them, for good",
        (),
    ),
)
SEEN = (4, 3, 6)
"""The newest version that was looked at."""


def check_faults(about: Mapping[str, Any]) -> Check:
    """Name the faults of this version, by the properties that the broker sent."""
    version = parsed_version(about)
    if version > SEEN:
        newest = ".".join(map(str, SEEN))
        return unknown("faults", f"no version after {newest} was looked at: see RabbitMQ's release notes")
    found = [fault for fault in FAULTS if fault.is_in(version)]
    mends = [
        f"{fault.issue} is mended in {' and '.join('.'.join(map(str, first)) for first in fault.mended)}"
        for fault in found
        if fault.mended
    ]
    told = "; ".join(f"{fault.means} (rabbitmq-server{fault.issue})" for fault in found)
    return Check("faults", ok=True, detail=told or "none is known", advice="; ".join(mends) or None)


def check_advanced(management: Management) -> Check:
    """Tell whether the setting is missing, as far as can be known."""
    name = "advanced.config"
    if not management.is_asked:
        return unknown(name, f"AMQP does not tell whether {SETTING} is set", _ASK)
    found = advanced.look(management)
    if found is None:
        why = "it takes the user tag monitoring, or a node has just begun"
        return unknown(name, f"the management API does not say what the nodes read: {why}", _ASK)
    if found.without:
        advice = (
            f"without {SETTING} tasks may be up to 3 minutes late after a restart of the broker: install "
            f"deploy/advanced.config. A node may have it by its environment; {_ASK}"
        )
        return Check(name, ok=True, detail=f"not read by {some(found.without)}", advice=advice)
    return Check(name, ok=True, detail=f"nodes read {some(found.files)}; that it has {SETTING} is not told")


def check_held(queues: Iterable[QueueState], ladders: Iterable[LadderState]) -> Iterable[Check]:
    """Say where the broker could not hand on what is due, though the work queue is there."""
    for ladder in ladders:
        if ladder.held and not any(queue.cut_off(ladder) for queue in queues):
            told = f"{ladder.held:,} on ladder {ladder.name}, though their wait is over"
            advice = f"a few are on their way at any time; where they stay, see {_RUNBOOK}"
            yield Check("held", ok=True, detail=told, advice=advice)
