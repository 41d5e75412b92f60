"""taskqueue.ini as frozen dataclasses: every key, its default, and its allowed values."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path

from taskqueue.errors import ConfigError
from taskqueue.settings import ini
from taskqueue.settings.keys import GLOBAL_KEYS, OF_CONSUMERS, QUEUE_KEYS, read_keys
from taskqueue.settings.schedules import KEYS, PREFIX, ScheduleSettings, schedules
from taskqueue.settings.values import LONGEST_NAME, Rate
from taskqueue.topology import names
from taskqueue.topology.ladder import BASE, LONGEST_TTL_MS, Ladder, Way
from taskqueue.topology.plan import Layout, Retention

__all__ = ["QueueSettings", "Rate", "Settings", "load", "parse"]

OK_ONLY = frozenset({200})
# Link-local networks of IPv4 and IPv6: clouds serve their metadata there.
LINK_LOCAL = ("169.254.0.0/16", "fe80::/10", "fd00:ec2::254/128")
_LONGEST_SHOWN = 60
# The key that each of these built-in handlers needs.
_NEEDS = {"signing": "signing_secret", "bearer": "bearer_token", "basic": "basic_auth"}


@dataclass(frozen=True, slots=True)
class QueueSettings:
    """One section of the ini: how the tasks of one queue run. Lengths of time are in seconds."""

    name: str
    ladder: str = ""
    """The ladder that its tasks wait on: its own, which has its name, unless it shares one."""
    base_url: str | None = None
    concurrency: int = 10
    max_concurrency: int | None = None
    """Requests at the same time over all consumers; `concurrency` and `per_host` are each process's own."""
    per_host: int | None = None
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
    request_ca_file: Path | None = None
    request_cert_file: Path | None = None
    request_key_file: Path | None = None
    handlers: tuple[str, ...] = ("headers",)
    signing_secret: tuple[str, ...] = field(default=(), repr=False)
    bearer_token: str | None = field(default=None, repr=False)
    basic_auth: str | None = field(default=None, repr=False)
    tracing: str = "off"
    delivery_limit: int = 20
    log_success: bool = True

    def __post_init__(self) -> None:
        """Give the queue a ladder of its own where the ini names none."""
        if not self.ladder:
            object.__setattr__(self, "ladder", self.name)


@dataclass(frozen=True, slots=True)
class Settings:
    """The whole ini: its global keys, and every queue by its name."""

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
    history: int | None = None
    """Seconds that records of the history are kept; None where there is no history."""
    history_bytes: int = 2_000_000_000
    probe: bool = True
    queues: Mapping[str, QueueSettings] = field(default_factory=dict)

    schedules: Mapping[str, ScheduleSettings] = field(default_factory=dict)
    """Every schedule by its name, also those of queues that `queues` does not hold."""

    names: frozenset[str] = frozenset()
    """The names of all queues of the ini, where `queues` holds only some of them."""

    @property
    def rungs(self) -> Ladder:
        """The rungs of every ladder."""
        return Ladder(self.resolution, self.levels)

    def way(self, queue: str) -> Way:
        """Give the way to a queue. A queue that the ini does not name has a ladder of its own."""
        found = self.queues.get(queue)
        return Way(queue, found.ladder if found else queue, self.rungs)

    @property
    def layout(self) -> Layout:
        """What the plan for the broker is made from."""
        ladders = {name: queue.ladder for name, queue in self.queues.items()}
        history = None if self.history is None else Retention(self.history, self.history_bytes)
        return Layout(
            ladders,
            self.rungs,
            self.queue_type,
            self.names,
            self.scheduled,
            paced=frozenset(name for name, queue in self.queues.items() if queue.rate),
            capped=frozenset(name for name, queue in self.queues.items() if queue.max_concurrency),
            history=history,
        )

    @property
    def scheduled(self) -> frozenset[str]:
        """The names of the queues here that have schedules."""
        return frozenset(each.queue for each in self.schedules.values()) & self.queues.keys()


def load(
    path: Path | None = None, environ: Mapping[str, str] = os.environ, *, sending: bool = False
) -> Settings:
    """Read the ini at `path`, else where TASKQUEUE_CONFIG_FILE points, else at the usual places.

    Raises ConfigError that names file, line and key.
    """
    found, text = ini.find(path, environ)
    return parse(text, source=str(found), environ=environ, sending=sending)


def parse(text: str, *, source: str, environ: Mapping[str, str], sending: bool = False) -> Settings:
    """Read settings from the text of an ini; `source` names it in errors. Raises ConfigError.

    With `sending` the keys of consumers are not read: they keep their defaults, and no secret of theirs is
    needed.
    """
    skip = OF_CONSUMERS | KEYS.keys() if sending else frozenset()
    sections = ini.read(text, source=source, environ=environ, skip=skip)
    top = sections.pop(ini.GLOBAL)
    settings = Settings(**read_keys(top, GLOBAL_KEYS, source, ignore=QUEUE_KEYS))
    _check_ladder(settings, top, source)
    _check_tls(settings, top, source)
    timed = {name: sections.pop(name) for name in tuple(sections) if name.startswith(PREFIX)}
    if not sections:
        raise ConfigError(f"{source}: names no queue: write a section such as [default]")
    common = read_keys(top, QUEUE_KEYS, source, ignore=GLOBAL_KEYS)
    queues = {}
    for section in sections.values():
        _check_name(section, sections, source)
        queue = QueueSettings(section.name, **(common | read_keys(section, QUEUE_KEYS, source)))
        _check_backoff(queue, section, top, source)
        if not sending:
            _check_handlers(queue, section, top, source)
        _check_request_tls(queue, section, top, source)
        queues[section.name] = queue
    for section in sections.values():
        _check_shared(queues[section.name], queues, section, top, source)
    found = {} if sending else schedules(timed, queues, source)
    return replace(settings, queues=queues, schedules=found, names=frozenset(queues))


def _line(key: str, *sections: ini.Section) -> int:
    """Give the line of the key in the first section that has it, else the line of that section."""
    for section in sections:
        if key in section.values:
            return section.values[key].line
    return sections[0].line


def _check_name(section: ini.Section, sections: Mapping[str, ini.Section], source: str) -> None:
    name, where = section.name, f"{source}:{section.line}: [{section.name[:_LONGEST_SHOWN]}]"
    if not name or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise ConfigError(f"{where}: a queue's name has 1 to {LONGEST_NAME} bytes, all printable")
    if names.is_rabbitmqs(name):
        raise ConfigError(f"{where}: names that begin with amq. belong to RabbitMQ")
    if names.is_historys(name):
        raise ConfigError(f"{where}: is a name that belongs to the history: choose another")
    if (owner := names.owner(name)) is not None:
        known = " (a queue here)" if owner in sections else ""
        raise ConfigError(f"{where}: is a name that belongs to queue {owner!r}{known}: choose another")


def _check_shared(
    queue: QueueSettings,
    queues: Mapping[str, QueueSettings],
    section: ini.Section,
    top: ini.Section,
    source: str,
) -> None:
    ladder = queue.ladder
    where = f"{source}:{_line('ladder', section, top)}: ladder"
    if ladder in queues and queues[ladder].ladder != ladder:
        raise ConfigError(
            f"{where}: {ladder!r} is a queue that waits on {queues[ladder].ladder!r}: name that, or another"
        )
    taken = names.owner(ladder) is not None or names.is_rabbitmqs(ladder) or names.is_historys(ladder)
    if ladder not in queues and taken:
        raise ConfigError(
            f"{where}: is a name that belongs to a queue, the history or RabbitMQ: choose another"
        )


def _check_backoff(queue: QueueSettings, section: ini.Section, top: ini.Section, source: str) -> None:
    if queue.min_backoff_seconds <= queue.max_backoff_seconds:
        return
    line = _line("max_backoff_seconds", section, top)
    if "min_backoff_seconds" in section.values or "max_backoff_seconds" not in section.values:
        line = _line("min_backoff_seconds", section, top)
    raise ConfigError(
        f"{source}:{line}: min_backoff_seconds: must not be over max_backoff_seconds in [{queue.name}], "
        f"got {queue.min_backoff_seconds:g} and {queue.max_backoff_seconds:g}"
    )


def _check_handlers(queue: QueueSettings, section: ini.Section, top: ini.Section, source: str) -> None:
    for handler, key in _NEEDS.items():
        if handler in queue.handlers and not getattr(queue, key):
            where = f"{source}:{_line('handlers', section, top)}"
            raise ConfigError(f"{where}: handlers: {handler} needs {key} in [{queue.name}]")


def _check_ladder(settings: Settings, top: ini.Section, source: str) -> None:
    shortest_ms = int(settings.resolution * 1000) * (BASE - 1)
    most = len(str(LONGEST_TTL_MS // shortest_ms))
    if settings.levels <= most:
        return
    key = "levels" if "levels" in top.values else "resolution"
    raise ConfigError(
        f"{source}:{_line(key, top)}: levels: must be at most {most} with a resolution of "
        f"{settings.resolution} s (RabbitMQ takes no wait of over ten years), got {settings.levels}"
    )


def _check_tls(settings: Settings, top: ini.Section, source: str) -> None:
    if settings.key_file is not None and settings.cert_file is None:
        raise ConfigError(f"{source}:{_line('key_file', top)}: key_file: needs cert_file beside it")


def _check_request_tls(queue: QueueSettings, section: ini.Section, top: ini.Section, source: str) -> None:
    if queue.request_key_file is not None and queue.request_cert_file is None:
        line = _line("request_key_file", section, top)
        raise ConfigError(f"{source}:{line}: request_key_file: needs request_cert_file beside it")
