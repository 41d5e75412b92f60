"""The counts of a consumer, and the page that shows them (extra `metrics`: prometheus-client)."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Protocol

from taskqueue.errors import ConfigError

_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_OURS = "TASKQUEUE_METRICS_DIR"
"""Our supervisor sets it to the same folder for its children. Without it `_SHARED` is meant for others."""
# The library's own buckets end at 10 s. A request may take 25 minutes, and a task may be hours late.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1500, 3600)


class Metrics(Protocol):
    """What a consumer reports. Called on its I/O thread."""

    def started(self, queue: str, lateness: float) -> None:
        """A task was handed to a worker, so many seconds after it was due."""

    def finished(self, queue: str, outcome: str, seconds: float) -> None:
        """An attempt is over: ``done``, ``retried``, ``dead_…``, or ``postponed`` without a request."""

    def dropped(self, queue: str, count: int) -> None:
        """So many tasks were given back before they began."""

    def died(self, queue: str, reason: str) -> None:
        """A task was put in the dead queue."""

    def reconnecting(self) -> None:
        """The connection to the broker was lost."""

    def blocked(self, *, now: bool) -> None:
        """The broker takes no publishes, or takes them again."""


class NullMetrics:
    """Counts nothing, at no cost."""

    def started(self, queue: str, lateness: float) -> None:
        """Do nothing."""

    def finished(self, queue: str, outcome: str, seconds: float) -> None:
        """Do nothing."""

    def dropped(self, queue: str, count: int) -> None:
        """Do nothing."""

    def died(self, queue: str, reason: str) -> None:
        """Do nothing."""

    def reconnecting(self) -> None:
        """Do nothing."""

    def blocked(self, *, now: bool) -> None:
        """Do nothing."""


class PrometheusMetrics:
    """The counts of one process, in a registry of its own; raises ConfigError without the extra."""

    def __init__(self) -> None:
        prometheus = _library()
        self.registry = prometheus.CollectorRegistry()
        queue, registry = ["queue"], self.registry
        counter, gauge, histogram = prometheus.Counter, prometheus.Gauge, prometheus.Histogram
        self._attempts = counter(
            "taskqueue_attempts", "Requests made.", ["queue", "outcome"], registry=registry
        )
        self._dead = counter(
            "taskqueue_dead", "Tasks put in the dead queue.", ["queue", "reason"], registry=registry
        )
        self._running = gauge(
            "taskqueue_running",
            "Tasks at or before a worker.",
            queue,
            registry=registry,
            multiprocess_mode="livesum",
        )
        self._lateness = histogram(
            "taskqueue_lateness_seconds",
            "From the due time to a worker.",
            queue,
            registry=registry,
            buckets=_BUCKETS,
        )
        self._seconds = histogram(
            "taskqueue_request_seconds", "Length of a request.", queue, registry=registry, buckets=_BUCKETS
        )
        self._reconnects = counter("taskqueue_reconnects", "Connections lost.", registry=registry)
        self._blocked = gauge(
            "taskqueue_broker_blocked",
            "1 while the broker takes no publishes, as it has a memory or disk alarm.",
            registry=registry,
            multiprocess_mode="livemax",
        )

    def started(self, queue: str, lateness: float) -> None:
        """Count a task at a worker, and how late it is."""
        self._running.labels(queue).inc()
        self._lateness.labels(queue).observe(lateness)

    def finished(self, queue: str, outcome: str, seconds: float) -> None:
        """Count a request that is over."""
        self._running.labels(queue).dec()
        self._attempts.labels(queue, outcome).inc()
        self._seconds.labels(queue).observe(seconds)

    def dropped(self, queue: str, count: int) -> None:
        """Count them as not running."""
        self._running.labels(queue).dec(count)

    def died(self, queue: str, reason: str) -> None:
        """Count a dead task."""
        self._dead.labels(queue, reason).inc()

    def reconnecting(self) -> None:
        """Count a lost connection."""
        self._reconnects.inc()

    def blocked(self, *, now: bool) -> None:
        """Show whether the broker takes publishes."""
        self._blocked.set(now)


def started(address: str | None) -> Metrics:
    """Count and serve the page on ``host:port`` (loopback where the host is empty), or do neither.

    Where the supervisor has a page, its child counts for that page. Raises ConfigError where the address
    can't be used or the extra is missing.
    """
    if address is None and not _counts_for_parent():
        return NullMetrics()
    metrics = PrometheusMetrics()
    if address is not None:
        _serve(address, metrics.registry)
    return metrics


@contextmanager
def shared_page(address: str | None) -> Iterator[tuple[Mapping[str, str], Callable[[int], None]]]:
    """Serve one page for several processes while the context lasts.

    Gives the environment for the processes, and a function to call with the pid of each that ends
    (https://prometheus.github.io/client_python/multiprocess/).
    """
    if address is None:
        yield {}, lambda _pid: None
        return
    prometheus = _library()
    multiprocess = importlib.import_module("prometheus_client.multiprocess")
    with tempfile.TemporaryDirectory(prefix="taskqueue-metrics-") as folder:
        registry = prometheus.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=folder)
        server = _serve(address, registry)
        try:
            yield (
                {_SHARED: folder, _OURS: folder},
                lambda pid: multiprocess.mark_process_dead(pid, path=folder),
            )
        finally:
            server.shutdown()
            server.server_close()


def _serve(address: str, registry: Any) -> Any:
    host, _, port = address.rpartition(":")
    try:
        server, _thread = _library().start_http_server(int(port), host.strip("[]") or "127.0.0.1", registry)
    except OSError as error:
        raise ConfigError(f"metrics: can't listen on {address}: {error.strerror or error}") from error
    return server


def _counts_for_parent() -> bool:
    return _OURS in os.environ and os.environ.get(_SHARED) == os.environ[_OURS]


def _library() -> Any:
    # The library counts in the folder that this variable names when it is imported.
    other = None if _counts_for_parent() else os.environ.pop(_SHARED, None)
    try:
        return importlib.import_module("prometheus_client")
    except ImportError as error:
        raise ConfigError("metrics: needs the extra: pip install 'taskqueue[metrics]'") from error
    finally:
        if other is not None:
            os.environ[_SHARED] = other
