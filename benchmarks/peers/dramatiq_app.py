"""Dramatiq: confirmed publishes, quorum queues; the POST by one urllib3 pool in each process."""

from __future__ import annotations

import os
from typing import Any

import dramatiq
import urllib3
from dramatiq.brokers.rabbitmq import RabbitmqBroker

from benchmarks.peers.sending import tasks


class QuorumBroker(RabbitmqBroker):
    """Dramatiq's own broker, with the queue type that all contenders have."""

    def _build_queue_arguments(self, queue_name: str) -> dict[str, Any]:
        arguments: dict[str, Any] = super()._build_queue_arguments(queue_name)
        return {**arguments, "x-queue-type": "quorum"}


queue = os.environ.get("BENCHMARK_QUEUE", "default")
broker = QuorumBroker(url=os.environ["BENCHMARK_BROKER"], confirm_delivery=True)
dramatiq.set_broker(broker)
pool = urllib3.PoolManager(maxsize=64)


@dramatiq.actor(queue_name=queue, max_retries=3)
def post(url: str) -> None:
    """Make the request, and fail where it is not answered with success."""
    answer = pool.request("POST", url, body=b"{}", headers={"Content-Type": "application/json"})
    if answer.status != 200:  # noqa: PLR2004 the status that is success
        raise RuntimeError(f"status {answer.status}")


if __name__ == "__main__":
    for target, delay in tasks():
        post.send_with_options(args=(target,), delay=None if delay is None else int(delay * 1000))
