"""The counts of a consumer (extra `metrics`: prometheus-client); docs/monitoring.md explains each."""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from typing import Any, Protocol

from taskqueue import events
from taskqueue.consume.health import QueueReport, Report
from taskqueue.errors import ConfigError
from taskqueue.events import Event
from taskqueue.task.decide import DELIVERY_LIMIT, EXPIRED, FAILED, INVALID, UNKNOWN_QUEUE

_SHARED = "PROMETHEUS_MULTIPROC_DIR"
_OURS = "TASKQUEUE_METRICS_DIR"
"""Our supervisor sets it to the same folder for its children. Without it `_SHARED` is meant for others."""
# The library's own buckets end at 10 s. A request may take 25 minutes, and a task may be hours late.
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1500, 3600)


class Metrics(Protocol):
    """What a consumer reports. Called on its I/O thread."""

    @property
    def listeners(self) -> tuple[Callable[[Event], None], ...]:
        """What counts the events of tasks."""

    def reconnecting(self) -> None:
        """The connection to the broker was lost."""

    def show(self, report: Report) -> None:
        """This is how it stands now."""

    def history_dropped(self, count: int) -> None:
        """So many records of the history were dropped; from any thread."""

    def probing(self, ladder: str) -> None:
        """This consumer takes part in the probes of a ladder."""

    def probed(self, ladder: str, lateness: float) -> None:
        """A probe has come over a ladder, so many seconds late."""

    def scheduled(self, queue: str, schedule: str, enqueued: int = 0, missed: int = 0) -> None:
        """So many occurrences were enqueued, and so many were missed."""


class NullMetrics:
    """Counts nothing, at no cost."""

    listeners = ()

    def reconnecting(self) -> None:
        """Do nothing."""

    def show(self, report: Report) -> None:
        """Do nothing."""

    def history_dropped(self, count: int) -> None:
        """Do nothing."""

    def probing(self, ladder: str) -> None:
        """Do nothing."""

    def probed(self, ladder: str, lateness: float) -> None:
        """Do nothing."""

    def scheduled(self, queue: str, schedule: str, enqueued: int = 0, missed: int = 0) -> None:
        """Do nothing."""


class PrometheusMetrics:
    """The counts of one process, in a registry of its own; raises ConfigError without the extra."""

    def __init__(self) -> None:
        prometheus = _library()
        self.registry = prometheus.CollectorRegistry()

        def counter(name: str, about: str, *labels: str) -> Any:
            return prometheus.Counter(f"taskqueue_{name}", about, labels, registry=self.registry)

        def gauge(name: str, about: str, mode: str, *labels: str) -> Any:
            return prometheus.Gauge(
                f"taskqueue_{name}", about, labels, registry=self.registry, multiprocess_mode=mode
            )

        def histogram(name: str, about: str, label: str = "queue") -> Any:
            return prometheus.Histogram(
                f"taskqueue_{name}", about, [label], registry=self.registry, buckets=_BUCKETS
            )

        self._attempts = counter(
            "attempts", "Requests made, by what became of the task.", "queue", "outcome", "response"
        )
        self._seconds = histogram("request_duration_seconds", "Length of a request.")
        self._lateness = histogram("lateness_seconds", "From the due time to the begin of the request.")
        self._probes = histogram(
            "probe_lateness_seconds",
            "How late each probe came over a ladder; no two processes count one.",
            "ladder",
        )
        self._enqueued = counter(
            "schedule_enqueued", "Occurrences of schedules that were enqueued.", "queue", "schedule"
        )
        self._missed = counter(
            "schedule_missed", "Occurrences that were over a minute late as nothing ran.", "queue", "schedule"
        )
        self._dead = counter("dead", "Tasks put in the dead queue.", "queue", "reason")
        self._postponed = counter(
            "postponed", "Tasks that have to wait for their turn, which is no attempt.", "queue", "reason"
        )
        self._others = {
            events.WAITING: counter("early", "Tasks that came before they were due.", "queue"),
            events.MOVED: counter("moved", "Tasks moved to the queue that they name.", "queue"),
            events.ROLLED_BACK: counter("rolled_back", "Roll_backs sent for dead tasks.", "queue"),
            events.SENT: counter("sent", "Tasks sent that follow from a success.", "queue"),
        }
        self._running = gauge("running", "Tasks at or before a worker.", "livesum", "queue")
        self._settling = gauge(
            "settling", "Tasks that wait until the broker has what follows from them.", "livesum", "queue"
        )
        self._consuming = gauge("consuming", "Processes that consume the queue.", "livesum", "queue")
        self._paused = gauge("paused", "1 while the queue is paused.", "livemax", "queue")
        self._connected = gauge(
            "broker_connected", "1 while every process is connected to the broker.", "livemin"
        )
        self._blocked = gauge(
            "broker_blocked", "1 while the broker takes no publishes, as it has an alarm.", "livemax"
        )
        self._history_dropped = counter(
            "history_dropped", "Records of the history that could not be written."
        )
        self._reconnects = counter("reconnects", "Connections to the broker that were lost.")
        self._connected.set(0)
        gauge("build_info", "1, with the version as a label.", "livemax", "version").labels(_version()).set(1)
        self._shown: dict[str, QueueReport] = {}

    @property
    def listeners(self) -> tuple[Callable[[Event], None], ...]:
        """Give what counts events."""
        return (self.happened,)

    def happened(self, event: Event) -> None:
        """Count what has happened to a task."""
        queue = event.queue
        if event.seconds is not None:
            response = "error" if event.status is None else f"{event.status // 100}xx"
            self._attempts.labels(queue, event.event, response).inc()
            self._seconds.labels(queue).observe(event.seconds)
            self._lateness.labels(queue).observe(event.lateness or 0.0)
        if event.event == events.DEAD:
            self._dead.labels(queue, event.reason).inc()
        elif event.event == events.POSTPONED:
            self._postponed.labels(queue, event.reason).inc()
        elif other := self._others.get(event.event):
            other.labels(queue).inc()

    def reconnecting(self) -> None:
        """Count a lost connection."""
        self._reconnects.inc()

    def history_dropped(self, count: int) -> None:
        """Count what the history lacks."""
        self._history_dropped.inc(count)

    def probing(self, ladder: str) -> None:
        """Begin at zero, so that no probe is seen to come where none comes."""
        self._probes.labels(ladder)

    def probed(self, ladder: str, lateness: float) -> None:
        """Count a probe."""
        self._probes.labels(ladder).observe(lateness)

    def scheduled(self, queue: str, schedule: str, enqueued: int = 0, missed: int = 0) -> None:
        """Count occurrences."""
        self._enqueued.labels(queue, schedule).inc(enqueued)
        self._missed.labels(queue, schedule).inc(missed)

    def show(self, report: Report) -> None:
        """Set what stands at a value; of the queues only those that have changed."""
        self._connected.set(report.connected)
        self._blocked.set(report.blocked)
        for name, queue in report.queues.items():
            shown = self._shown.get(name)
            if shown is None:
                # A rate needs the zero before the first one.
                self._attempts.labels(name, events.DONE, "2xx")
                for reason in (FAILED, EXPIRED, INVALID, UNKNOWN_QUEUE, DELIVERY_LIMIT):
                    self._dead.labels(name, reason)
            if shown != queue:
                self._shown[name] = queue
                self._running.labels(name).set(queue.running)
                self._settling.labels(name).set(queue.settling)
                self._consuming.labels(name).set(queue.consumed and not queue.paused)
                self._paused.labels(name).set(queue.paused)


def app(registry: Any) -> Any:
    """Give the WSGI application that shows a registry."""
    return _library().make_wsgi_app(registry)


def for_parent() -> Metrics:
    """Count for the page of our supervisor, where it has one."""
    return PrometheusMetrics() if _counts_for_parent() else NullMetrics()


@contextmanager
def shared() -> Iterator[tuple[Mapping[str, str], Any, Callable[[int], None]]]:
    """Add several processes up while the context lasts.

    Gives their environment, a WSGI application, and a function to call with the pid of each that ends
    (https://prometheus.github.io/client_python/multiprocess/).
    """
    prometheus = _library()
    multiprocess = importlib.import_module("prometheus_client.multiprocess")
    with tempfile.TemporaryDirectory(prefix="taskqueue-metrics-") as folder:
        registry = prometheus.CollectorRegistry()
        multiprocess.MultiProcessCollector(registry, path=folder)
        yield (
            {_SHARED: folder, _OURS: folder},
            app(registry),
            lambda pid: multiprocess.mark_process_dead(pid, path=folder),
        )


def _version() -> str:
    try:
        return version("taskqueue")
    except PackageNotFoundError:
        return "0"


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
