"""taskqueue.ini as frozen dataclasses."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path

OK_ONLY = frozenset({200})
# Link-local, which is where clouds serve their metadata, in both families.
LINK_LOCAL = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` runs per `seconds`."""

    count: int
    seconds: int

    @property
    def per_second(self) -> float:
        """The same as runs a second."""
        return self.count / self.seconds


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One section of the ini: how the tasks of one queue run. Seconds where nothing else is said."""

    name: str
    base_url: str | None = None
    concurrency: int = 10
    rate: Rate | None = None
    retry_limit: int | None = None
    min_backoff_seconds: float = 1.0
    max_backoff_seconds: float = 3600.0
    max_doublings: int = 16
    jitter: float = 0.1
    timeout: float = 60.0
    connect_timeout: float = 10.0
    success_status: frozenset[int] = OK_ONLY
    permanent_status: frozenset[int] = frozenset()
    follow_redirects: bool = False
    allow_hosts: tuple[str, ...] = ()
    deny_networks: tuple[str, ...] = LINK_LOCAL
    proxy: str | None = field(default=None, repr=False)
    handlers: tuple[str, ...] = ("headers",)
    signing_secret: tuple[str, ...] = field(default=(), repr=False)
    delivery_limit: int = 20


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole ini: what is global, and every queue by its name."""

    servers: tuple[str, ...] = field(default=("amqp://guest:guest@localhost:5672/",), repr=False)
    ca_file: Path | None = None
    cert_file: Path | None = None
    key_file: Path | None = None
    queue_type: str = "quorum"
    resolution: Decimal = Decimal("0.1")
    levels: int = 8
    processes: int = 1
    metrics: str | None = None
    log_format: str = "text"
    management_url: str | None = field(default=None, repr=False)
    queues: Mapping[str, QueueSettings] = field(default_factory=dict)
