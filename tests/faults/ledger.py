"""What was confirmed, what the receiver saw, and the verdict over both."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

from sandbox.receiver import Answer, Request

TASK, ROLL_BACK = "/task", "/roll_back"
_ALWAYS = 1_000_000


@dataclass(frozen=True, slots=True)
class Job:
    """One task of a trial, and how the receiver is to treat it."""

    id: str
    not_before: float
    """No request may come earlier: seconds since the epoch."""
    delay: float = 0.0
    by_eta: bool = False
    failures: int = 0
    """The first so many attempts get status 500."""
    slow: float = 0.0
    """Seconds until the receiver answers."""
    max_retries: int | None = None
    roll_back: bool = False

    @property
    def doomed(self) -> bool:
        """It fails for ever, so it has to end in the dead queue."""
        return self.failures == _ALWAYS

    def fields(self) -> dict[str, Any]:
        """Give the fields of its message."""
        fields: dict[str, Any] = {"url": f"{TASK}?{urlencode({'fail': self.failures, 'slow': self.slow})}"}
        if self.by_eta:
            fields["eta"] = self.not_before
        elif self.delay:
            fields["countdown"] = self.delay
        if self.max_retries is not None:
            fields["max_retries"] = self.max_retries
        if self.roll_back:
            # It fails once itself: a roll_back is retried as any task is.
            fields["roll_back"] = f"{ROLL_BACK}?{urlencode({'fail': 1})}"
        return fields


def doomed(**fields: Any) -> Job:
    """Make a job that no attempt can fulfil."""
    return Job(failures=_ALWAYS, **fields)


@dataclass(frozen=True, slots=True)
class Summary:
    """The result of a trial, as it is printed."""

    seed: int
    seconds: int
    sent: int
    confirmed: int
    delivered: int
    """Confirmed tasks that ran with success."""
    duplicated: int
    """Successful runs beyond the first of a task."""
    dead: int
    """Confirmed tasks that had to fail, and stand in the dead queue with their roll_back called."""
    lost: int
    wrongly_dead: int
    """Tasks in the dead queue that would have succeeded."""
    early: int
    left: int
    """Messages in the work queue and on the ladder at the end."""
    worst_lateness: float
    faults: Mapping[str, int] = field(default_factory=dict)

    @property
    def good(self) -> bool:
        """Every promise was kept."""
        return not (self.lost or self.wrongly_dead or self.early or self.left)

    def as_dict(self) -> dict[str, Any]:
        """Give it as JSON takes it."""
        return asdict(self)


class Ledger:
    """Filled by producers, by the receiver's threads and by whoever reads the dead queue."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, Job] = {}
        self._confirmed: set[str] = set()
        self._succeeded: Counter[str] = Counter()
        self._rolled_back: Counter[str] = Counter()
        self._dead: dict[str, str] = {}
        self._early: set[str] = set()
        self._lateness = 0.0

    def sending(self, job: Job) -> None:
        """Note a task before it is sent: it may run before its confirm comes."""
        with self._lock:
            self._sent[job.id] = job

    def confirmed(self, job: Job) -> None:
        """Note that the broker has taken a task: from now on it may not be lost."""
        with self._lock:
            self._confirmed.add(job.id)

    def answer(self, request: Request) -> Answer:
        """Be the receiver: note the request, and treat it as its URL says."""
        parts = urlsplit(request.path)
        query = parse_qs(parts.query)
        fails = int(request.headers["Taskqueue-Attempt"]) <= int(query["fail"][0])
        with self._lock:
            self._note(parts.path, request, fails=fails)
        slow = float(query.get("slow", ["0"])[0])
        return Answer(500 if fails else 200, delay=slow)

    def died(self, task_id: str, reason: str) -> None:
        """Note what stands in the dead queue."""
        with self._lock:
            self._dead[task_id] = reason

    def missing(self) -> list[str]:
        """List the confirmed tasks of which nothing is known yet."""
        with self._lock:
            return [job_id for job_id in self._confirmed if not self._settled(self._sent[job_id])]

    def progress(self) -> int:
        """Count what the receiver has seen: it grows as long as anything moves."""
        with self._lock:
            return self._succeeded.total() + self._rolled_back.total() + len(self._dead)

    def summary(self, *, seed: int, seconds: float, left: int, faults: Mapping[str, int]) -> Summary:
        """Give the verdict."""
        missing = self.missing()
        with self._lock:
            confirmed = [self._sent[job_id] for job_id in self._confirmed]
            return Summary(
                seed=seed,
                seconds=round(seconds),
                sent=len(self._sent),
                confirmed=len(confirmed),
                delivered=sum(job.id in self._succeeded for job in confirmed),
                duplicated=self._succeeded.total() - len(self._succeeded),
                dead=sum(job.doomed and job.id in self._dead for job in confirmed),
                lost=len(missing),
                wrongly_dead=sum(not (job := self._sent.get(one)) or not job.doomed for one in self._dead),
                early=len(self._early),
                left=left,
                worst_lateness=round(self._lateness, 1),
                faults=dict(faults),
            )

    def _settled(self, job: Job) -> bool:
        if not job.doomed:
            return job.id in self._succeeded
        return job.id in self._dead and (not job.roll_back or f"{job.id}.roll_back" in self._rolled_back)

    def _note(self, path: str, request: Request, *, fails: bool) -> None:
        name = request.headers["Taskqueue-Id"]
        due = float(request.headers["Taskqueue-Due"])
        self._lateness = max(self._lateness, request.at - due)
        job = self._sent.get(name)
        if request.at < due or (job is not None and request.at < job.not_before):
            self._early.add(name)
        if not fails:
            (self._rolled_back if path == ROLL_BACK else self._succeeded)[name] += 1
