"""From a load to what it takes: threads, processes, broker CPU, disk and memory. Arithmetic, nothing is run.

The constants are those of `benchmarks.costs` and others, rounded, measured on one small machine:
take what comes out for orders of magnitude, and measure yours by the same programs.
"""

from __future__ import annotations

import math
import sys
from argparse import Namespace
from collections import Counter
from dataclasses import asdict, dataclass, replace

from benchmarks import report
from taskqueue.settings import QueueSettings
from taskqueue.task.backoff import backoff
from taskqueue.topology.ladder import Ladder, Leg

_SAMPLES = 997
"""Delays that stand for all from 0.5 to 1.5 times the mean."""
_BUSY = 0.7
"""The share of threads and cores that a load may take: what is busier has its tasks wait in line."""
_MEMBERS = 3
"""Copies of a quorum queue, as RabbitMQ has it by default (https://www.rabbitmq.com/docs/quorum-queues)."""


@dataclass(frozen=True, slots=True)
class Costs:
    """What the constants are, by which program, and in which column."""

    task_ms: float = 0.5
    """Broker CPU of a publish to a quorum queue; costs, "broker ms/task: a task", one by one."""
    leg_ms: float = 0.45
    """Broker CPU of a leg; costs, "broker ms/task: a leg", one by one."""
    delivery_ms: float = 0.08
    """Broker CPU of a delivery and its ack, with a small window; tuning, the prefetch."""
    worker_ms: float = 0.2
    """CPU of a consumer for an attempt; throughput and history, "workers ms/task", rounded up."""
    task_bytes: float = 5000.0
    """Bytes on disk of a publish, beside its payload; costs, "written, bytes/task: a task", one by one."""
    leg_bytes: float = 6500.0
    """Bytes on disk of a leg, beside its payload; costs, "written, bytes/task: a leg", one by one."""
    waiting_bytes: float = 1300.0
    """Broker memory of a task that waits, beside its payload, on each node; scale, the most that was seen."""


IN_TENS = Costs(
    task_ms=0.14, leg_ms=0.18, delivery_ms=0.02, worker_ms=0.12,
    task_bytes=1100.0, leg_bytes=3300.0, waiting_bytes=300.0,
)  # fmt: skip
"""The least that was seen of each: much comes at once, and shares what is written."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of one queue; of all queues of a broker, where it is their sum."""

    rate: float
    """Tasks a second, in the busiest hour."""
    request: float = 0.2
    """Seconds of a request, on average."""
    delayed: float = 0.0
    """The share of tasks with a countdown or an eta, 0 to 1."""
    delay: float = 60.0
    """Seconds of these, on average."""
    failing: float = 0.0
    """The share of attempts that fail, 0 to below 1."""
    max_retries: int = 20
    """How often a task runs at most."""
    payload: int = 200
    """Bytes of a task."""
    hours: float = 0.0
    """How long the receiver may be away: what comes meanwhile waits."""
    nodes: int = 1
    """Nodes of the cluster."""


@dataclass(frozen=True, slots=True)
class Needs:
    """What the load takes. Cores are filled to 70 %."""

    attempts_per_second: float
    legs_per_task: float
    busiest_rung_per_second: float
    """Tasks that one wait queue hands on, on average: that which most delays have a stay on."""
    threads: int
    consumer_cores: float
    broker_cores: float
    disk_bytes_per_second: float
    """Of all nodes together."""
    waiting: int
    waiting_bytes: int
    waiting_in_outage: int
    late_seconds: float
    """The most that the ladder adds, while neither thread nor core is short."""


def legs_of(delay: float, ladder: Ladder) -> Counter[Leg]:
    """Give the stays of 997 delays (seconds) from half of it to half as much again, by wait queue."""
    ticks = [ladder.ticks(delay * 1000 * (0.5 + step / (_SAMPLES - 1))) for step in range(_SAMPLES)]
    return Counter(leg for each in ticks for leg in ladder.legs(each))


def mean_legs(delay: float, ladder: Ladder) -> float:
    """Give the legs of a delay (seconds), on average over delays from half of it to half as much again."""
    return legs_of(delay, ladder).total() / _SAMPLES


def needs(
    load: Load, costs: Costs | None = None, policy: QueueSettings | None = None, ladder: Ladder | None = None
) -> Needs:
    """Reckon what a load takes; raises ValueError where no such load can be."""
    costs, ladder = costs or Costs(), ladder or Ladder()
    policy = policy or QueueSettings(name="plan")
    if not (load.rate > 0 and load.request > 0 and 0 <= load.delayed <= 1 and 0 <= load.failing < 1):
        raise ValueError("rate and request are above 0, delayed is 0 to 1, failing is 0 to below 1")
    if load.max_retries < 1 or load.payload < 0 or load.delay < 0 or load.hours < 0 or load.nodes < 1:
        raise ValueError("max_retries and nodes are 1 or more, payload, delay and hours 0 or more")
    # The share of tasks that come to a second run, a third, …; each waits for its backoff before.
    again = [load.failing**failures for failures in range(1, load.max_retries)]
    waits = [backoff(policy, failures, 0.0) for failures in range(1, load.max_retries)]
    attempts = 1 + sum(again)
    stays = {leg: load.delayed * count / _SAMPLES for leg, count in legs_of(load.delay, ladder).items()}
    for share, wait in zip(again, waits, strict=True):
        for leg in ladder.legs(ladder.ticks(wait * 1000)):
            stays[leg] = stays.get(leg, 0.0) + share
    legs = sum(stays.values())
    seconds = load.delayed * load.delay + sum(share * wait for share, wait in zip(again, waits, strict=True))
    dead = load.failing**load.max_retries
    # Every run but the last ends in a publish, and what is dead is moved once more.
    published = attempts + dead
    broker = (published * costs.task_ms + legs * costs.leg_ms + attempts * costs.delivery_ms) / 1000
    written = published * (costs.task_bytes + load.payload) + legs * (costs.leg_bytes + load.payload)
    copies = min(load.nodes, _MEMBERS)
    waiting = math.ceil(load.rate * seconds)
    return Needs(
        attempts_per_second=load.rate * attempts,
        legs_per_task=legs,
        busiest_rung_per_second=load.rate * max(stays.values(), default=0.0),
        threads=math.ceil(load.rate * attempts * load.request / _BUSY),
        consumer_cores=load.rate * attempts * costs.worker_ms / 1000 / _BUSY,
        broker_cores=load.rate * broker / _BUSY,
        disk_bytes_per_second=load.rate * written * copies,
        waiting=waiting,
        waiting_bytes=math.ceil(waiting * (costs.waiting_bytes + load.payload)),
        waiting_in_outage=waiting + math.ceil(load.rate * load.hours * 3600),
        late_seconds=float(ladder.resolution) if legs else 0.0,
    )


def main() -> int:
    """Print what a load takes."""
    parser, usual = report.parser(__doc__ or ""), Load(rate=1)
    parser.add_argument("rate", type=float, help="tasks a second, in the busiest hour")
    parser.add_argument("--request", type=float, default=usual.request, help="seconds of a request")
    parser.add_argument("--delayed", type=float, default=usual.delayed, help="share with a countdown, 0 to 1")
    parser.add_argument("--delay", type=float, default=usual.delay, help="seconds of a countdown")
    parser.add_argument("--failing", type=float, default=usual.failing, help="share of attempts that fail")
    parser.add_argument("--max-retries", type=int, default=usual.max_retries, help="runs of a task at most")
    parser.add_argument("--payload", type=int, default=usual.payload, help="bytes of a task")
    parser.add_argument("--hours", type=float, default=usual.hours, help="how long the receiver may be away")
    parser.add_argument("--nodes", type=int, default=usual.nodes, help="nodes of the cluster")
    parser.add_argument("--times", type=float, nargs="+", default=[1.0], help="this load, so many times")
    parser.add_argument("--in-tens", action="store_true", help="the least that was seen of each cost")
    arguments = vars(parser.parse_args())
    shown = Namespace(json=arguments.pop("json"))
    arguments.pop("quick")
    times, costs = arguments.pop("times"), IN_TENS if arguments.pop("in_tens") else Costs()
    try:
        load = Load(**arguments)
        rows = [asdict(needs(replace(load, rate=load.rate * each), costs)) for each in times]
    except ValueError as error:
        parser.error(str(error))
    # One table that reads downwards.
    lines = [
        {
            "": name.replace("_", " "),
            **{f"x {each:g}": row[name] for each, row in zip(times, rows, strict=True)},
        }
        for name in rows[0]
    ]
    report.tell(shown, "plan", {"needs": rows if shown.json else lines})
    return 0


if __name__ == "__main__":
    sys.exit(main())
