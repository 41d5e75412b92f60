"""What a consumer counts, and the page that shows it (extra `metrics`: prometheus-client)."""

from __future__ import annotations

from typing import Protocol

from taskqueue.errors import ConfigError


class Metrics(Protocol):
    """What a consumer tells. Called on its I/O thread."""

    def started(self, queue: str, lateness: float) -> None:
        """A task was handed to a worker, so many seconds after it was due."""

    def finished(self, queue: str, outcome: str, seconds: float) -> None:
        """A request is over: ``done``, ``retried`` or ``dead_…``."""

    def died(self, queue: str, reason: str) -> None:
        """A task was put in the dead queue."""

    def reconnecting(self) -> None:
        """The connection to the broker was lost."""


class NullMetrics:
    """Counts nothing, at no cost."""

    def started(self, queue: str, lateness: float) -> None:
        """Do nothing."""

    def finished(self, queue: str, outcome: str, seconds: float) -> None:
        """Do nothing."""

    def died(self, queue: str, reason: str) -> None:
        """Do nothing."""

    def reconnecting(self) -> None:
        """Do nothing."""


class PrometheusMetrics:
    """The page of one process, in a registry of its own; raises ConfigError without the extra."""

    def __init__(self, address: str) -> None:
        try:
            from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, start_http_server
        except ImportError as error:
            raise ConfigError("metrics: needs the extra: pip install 'taskqueue[metrics]'") from error
        registry = CollectorRegistry()
        self._attempts = Counter("taskqueue_attempts", "Requests made.", ["queue", "outcome"], registry=registry)
        self._dead = Counter("taskqueue_dead", "Tasks put in the dead queue.", ["queue", "reason"], registry=registry)
        self._running = Gauge("taskqueue_running", "Tasks at or before a worker.", ["queue"], registry=registry)
        self._lateness = Histogram(
            "taskqueue_lateness_seconds", "From the due time to the start.", ["queue"], registry=registry
        )
        self._seconds = Histogram("taskqueue_request_seconds", "Length of a request.", ["queue"], registry=registry)
        self._reconnects = Counter("taskqueue_reconnects", "Connections lost.", registry=registry)
        host, _, port = address.rpartition(":")
        try:
            server, _thread = start_http_server(int(port), host or "127.0.0.1", registry)
        except OSError as error:
            raise ConfigError(f"metrics: can't listen on {address}: {error}") from error
        self.port: int = server.server_port

    def started(self, queue: str, lateness: float) -> None:
        """Count a task at a worker, and how late it is."""
        self._running.labels(queue).inc()
        self._lateness.labels(queue).observe(lateness)

    def finished(self, queue: str, outcome: str, seconds: float) -> None:
        """Count a request that is over."""
        self._running.labels(queue).dec()
        self._attempts.labels(queue, outcome).inc()
        self._seconds.labels(queue).observe(seconds)

    def died(self, queue: str, reason: str) -> None:
        """Count a dead task."""
        self._dead.labels(queue, reason).inc()

    def reconnecting(self) -> None:
        """Count a lost connection."""
        self._reconnects.inc()


def started(address: str | None) -> Metrics:
    """Serve the page on ``host:port``, or count nothing where no address is set."""
    return NullMetrics() if address is None else PrometheusMetrics(address)
