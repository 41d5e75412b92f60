"""`taskqueue send --many`: a task for each line of JSON, each confirmed by itself."""

from __future__ import annotations

import fcntl
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO, Any

import typer

from taskqueue.cli import common, tables
from taskqueue.errors import ConfigError, InvalidTask, TaskqueueError
from taskqueue.send.new_task import NewTask
from taskqueue.send.producer import Producer
from taskqueue.send.stream import Stream
from taskqueue.settings import Settings
from taskqueue.task import document

_LONGEST = 2 * 16 * 2**20
"""Bytes of a line: what is longer holds no message that a broker takes."""
_SHOWN_EACH = 100


class _Done:
    """The ids that are confirmed, and the file that keeps them over runs of the command."""

    def __init__(self, file: IO[str] | None) -> None:
        self._file = file
        self.count = 0
        self._known: set[str] = set()
        if file is not None:
            file.seek(0)
            text = file.read()
            whole = text[: text.rfind("\n") + 1]
            self._known.update(whole.split("\n"))
            # A run was killed while it wrote: half an id must not become another's.
            if whole != text:
                file.truncate(len(whole.encode(errors="surrogateescape")))

    def has(self, task_id: object) -> bool:
        """Tell whether the task was sent, or stood in an earlier line; raises InvalidTask for no id."""
        if self._file is None:
            return False
        if not isinstance(task_id, str) or not task_id or "\n" in task_id or "\r" in task_id:
            raise InvalidTask("id", "must be there, in one line, so that --done can tell the task by it")
        return task_id in self._known

    def takes(self, task_id: str | None) -> None:
        """Learn of a task that is being sent."""
        if self._file is not None and task_id is not None:
            self._known.add(task_id)

    def confirmed(self, task_id: str) -> None:
        """Keep an id; raises TaskqueueError where it can't be."""
        self.count += 1
        if self._file is None:
            return
        try:
            self._file.write(f"{task_id}\n")
        except OSError as error:
            msg = f"--done: can't write {task_id}, which is sent: {error.strerror}"
            raise TaskqueueError(msg) from error


class _Lines:
    """Makes a task of each line, and counts what becomes of them."""

    def __init__(self, queue: str, defaults: Mapping[str, Any], done: _Done) -> None:
        self._defaults = {"queue": queue, **defaults}
        self._done = done
        self.read = self.skipped = self.wrong = 0

    def send(self, raw: bytes, stream: Stream) -> None:
        """Send the task of a line; raises what the broker says."""
        self.read += 1
        if not raw.strip():
            return
        try:
            task = NewTask.of(self._defaults | _fields(raw))
            if self._done.has(task.id):
                self.skipped += 1
                return
            stream.send(task)
            self._done.takes(task.id)
        except (InvalidTask, ConfigError, TypeError) as error:
            self.wrong += 1
            common.say(f"line {self.read}: {error}", "yellow")

    def counts(self) -> dict[str, int]:
        """Give the numbers of lines."""
        return {"lines": self.read, "sent": self._done.count, "skipped": self.skipped, "wrong": self.wrong}


def send(
    source: str,
    queue: str,
    defaults: Mapping[str, Any],
    done: Path | None,
    settings: Settings,
    *,
    timeout: float,
    as_json: bool,
) -> None:
    """Send the tasks of a file; raises what the broker says, ConfigError for a file, Exit for wrong lines."""
    common.limited(settings, [queue])
    # As Ctrl-C: what is on its way is still waited for.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    producer = Producer("", settings, tracing=False)
    stopped = False
    with ExitStack() as opened:
        kept = _Done(opened.enter_context(_kept(done)))
        file = opened.enter_context(_opened(source))
        lines = _Lines(queue, defaults, kept)
        opened.callback(producer.close)
        stream = Stream(producer, timeout, kept.confirmed)
        try:
            with tables.progress("sending") as progress:
                for raw in _read(file):
                    lines.send(raw, stream)
                    if progress is not None and lines.read % _SHOWN_EACH == 0:
                        progress(kept.count, lines.read)
            stream.finish()
        except KeyboardInterrupt:
            stopped = True
        finally:
            stream.settle()
            _tell(lines.counts(), as_json=as_json)
    if stopped:
        common.say("stopped before the end", "yellow")
    if stopped or lines.wrong:
        raise typer.Exit(common.FAILED)


def _tell(counts: Mapping[str, int], *, as_json: bool) -> None:
    if as_json:
        common.emit(counts)
    else:
        more = [f"{counts[name]} {name}" for name in ("skipped", "wrong") if counts[name]]
        common.line(", ".join([f"{counts['sent']} sent", *more]))


def _fields(raw: bytes) -> dict[str, Any]:
    """Read a line; the payload goes out as it is written."""
    if len(raw) > _LONGEST:
        raise InvalidTask("line", f"must have at most {_LONGEST} bytes")
    read = document.read(raw)
    fields = read.values
    if not isinstance(fields.get("payload", ""), str):
        fields["payload"] = read.written("payload").decode()
    return fields


def _read(file: IO[bytes]) -> Iterator[bytes]:
    """Yield the lines; of one that is too long only the beginning, which is too long as well."""
    while raw := file.readline(_LONGEST + 1):
        yield raw
        rest = raw
        while len(rest) > _LONGEST and not rest.endswith(b"\n"):
            rest = file.readline(_LONGEST + 1)


@contextmanager
def _opened(source: str) -> Iterator[IO[bytes]]:
    if source == "-":
        yield sys.stdin.buffer
        return
    try:
        file = Path(source).open("rb")  # noqa: SIM115 an error of what reads it is none of its opening
    except OSError as error:
        raise ConfigError(f"--many: can't read {source}: {error.strerror}") from error
    with file:
        yield file


@contextmanager
def _kept(path: Path | None) -> Iterator[IO[str] | None]:
    """Open the file of what is done; only one command at a time may have it."""
    if path is None:
        yield None
        return
    try:
        # Each id is written at its confirm, so that a kill leaves no more than a window in doubt.
        file = path.open("a+", 1, encoding="utf-8", errors="surrogateescape", newline="\n")
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        raise ConfigError(f"--done: another command sends with {path}: wait for its end") from error
    except OSError as error:
        raise ConfigError(f"--done: can't use {path}: {error.strerror}") from error
    with file:
        yield file
