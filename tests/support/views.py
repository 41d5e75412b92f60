"""What is known of one queue, made up."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from taskqueue.broker.management import Flow
from taskqueue.operate.due import Due, Span
from taskqueue.operate.inspect import LadderState, QueueState
from taskqueue.operate.overview import View
from taskqueue.settings import QueueSettings

STATE = QueueState("mail", "mail", 0, 0, 0, 1, (), (), absent=False, looked=())
LADDER = LadderState("mail", Due((Span(60.0, 0),)), 0, None, None, (), (), absent=False, looked=())


def view(**changes: Any) -> View:
    """Give a declared queue with one consumer and nothing in it, but for what is changed of it.

    The changes are fields of the view, of the state of its queue, of its ladder (as ``ladder_…``), or of its
    settings (as ``set_…``).
    """
    name = changes.pop("name", "mail")
    state = replace(STATE, name=name, ladder=changes.pop("on", name))
    ladder = replace(LADDER, name=state.ladder)
    made = View(QueueSettings(name, ladder=state.ladder), state, ladder, None, True, None, None)  # noqa: FBT003 a field
    for key, value in changes.items():
        if key.startswith("ladder_"):
            made = replace(made, ladder=replace(made.ladder, **{key.removeprefix("ladder_"): value}))
        elif key.startswith("set_"):
            made = replace(made, settings=replace(made.settings, **{key.removeprefix("set_"): value}))
        elif key in QueueState.__dataclass_fields__:
            made = replace(made, state=replace(made.state, **{key: value}))
        else:
            made = replace(made, **{key: value})
    return made


def rates(unacked: int = 0, *, ready: int = 0, settled: float = 0.0, handed_out: float = 0.0) -> Flow:
    """Give what the management API tells."""
    return Flow(ready, unacked, settled, settled, handed_out)
