"""Celery: prefork, late acks, quorum queues; the POST by a `requests` session of each process."""

from __future__ import annotations

import os

import requests
from celery import Celery

from benchmarks.peers.sending import tasks

app = Celery("benchmark", broker=os.environ["BENCHMARK_BROKER"])
app.conf.update(
    task_default_queue=os.environ.get("BENCHMARK_QUEUE", "celery"),
    task_default_queue_type="quorum",
    # Native delayed delivery needs an exchange that is not direct (Celery's own docs).
    task_default_exchange_type="topic",
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_transport_options={"confirm_publish": True},
    broker_connection_retry_on_startup=True,
    worker_prefetch_multiplier=int(os.environ.get("BENCHMARK_PREFETCH", "4")),
    worker_send_task_events=False,
)
if os.environ.get("BENCHMARK_CLASSIC"):
    # Without quorum queues Celery keeps delayed tasks in the memory of its workers.
    app.conf.update(task_default_queue_type="classic", worker_detect_quorum_queues=False)
session = requests.Session()


@app.task(name="post")
def post(url: str) -> None:
    """Make the request, and fail where it is not answered with success."""
    session.post(url, json={}, timeout=60).raise_for_status()


if __name__ == "__main__":
    for target, delay in tasks():
        post.apply_async((target,), countdown=delay)
