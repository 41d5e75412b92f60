"""taskqueue's sender: confirms are streamed, which is how `send_many` is meant to be used."""

from __future__ import annotations

import os

from benchmarks.peers.sending import tasks
from taskqueue import Client

if __name__ == "__main__":
    queue = os.environ["BENCHMARK_QUEUE"]
    with Client(os.environ["BENCHMARK_BROKER"]) as client:
        client.send_many(
            {"url": url, "queue": queue} | ({} if delay is None else {"countdown": delay})
            for url, delay in tasks()
        )
