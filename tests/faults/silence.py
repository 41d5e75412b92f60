"""Leaders that do not answer, as on a stalled disk or an overloaded node."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from sandbox.broker import Broker


@contextmanager
def silent(broker: Broker, queue: str) -> Iterator[None]:
    """Suspend the leader of a quorum queue for a ``with`` block, and let it go on afterwards."""
    _tell(broker, queue, "suspend")
    try:
        yield
    finally:
        _tell(broker, queue, "resume")


def _tell(broker: Broker, queue: str, what: str) -> None:
    assert re.fullmatch(r"[\w.-]+", queue)
    broker.eval(
        f'{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<"/">>, queue, <<"{queue}">>)), '
        f"{{Name, _}} = amqqueue:get_pid(Q), sys:{what}(whereis(Name)).",
    )
