"""Runs commands in processes that are forked from one which has imported what is not ours.

To start Python and import pika, typer, rich and urllib3 anew takes half a second of CPU, and the tests run
thousands of commands. Each still is a process of its own, with its own arguments, environment, folder and
streams, and it ends as any program does.

Run as a program it is the one that forks. It ends with the process that has started it.
"""

from __future__ import annotations

import atexit
import importlib
import json
import os
import runpy
import select
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

PRELOADED = (
    "asyncio", "csv", "email.message", "http.client", "idna", "pika.adapters.asyncio_connection",
    "rich.progress", "rich.table", "typer", "typer.main", "urllib3", "uuid", "zoneinfo",
)  # fmt: skip
LIMIT = 180.0
"""Seconds that a command may take; far more than any does."""
_STARTING = 60.0
_ROOT = Path(__file__).parents[2]
_lock = threading.Lock()
_forkers: list[tuple[subprocess.Popen[bytes], Path]] = []


def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
    """Run `taskqueue` to its end without a terminal, as `subprocess.run` does; raises TimeoutExpired."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX) as asking:
        out, err = Path(folder, "out"), Path(folder, "err")
        asking.settimeout(LIMIT)
        asking.connect(str(_forker()))
        with asking.makefile("rw") as lines:
            lines.write(
                json.dumps([arguments, [str(out), str(err)], dict(os.environ), str(Path.cwd())]) + "\n"
            )
            lines.flush()
            pid = int(lines.readline())
            try:
                code = int(lines.readline())
            except TimeoutError as error:
                with suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
                raise subprocess.TimeoutExpired(
                    arguments, LIMIT, out.read_bytes(), err.read_bytes()
                ) from error
        return subprocess.CompletedProcess(arguments, code, out.read_bytes(), err.read_bytes())


def _forker() -> Path:
    """Give the socket of the program that forks; starts it where there is none yet."""
    with _lock:
        if not _forkers:
            path = Path(tempfile.mkdtemp(prefix="taskqueue-fork-"), "socket")
            program = [sys.executable, "-m", __name__, str(path)]
            started = subprocess.Popen(
                program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True, cwd=_ROOT
            )
            _forkers.append((started, path))
            atexit.register(_end)
            assert started.stdout is not None
            assert select.select([started.stdout], [], [], _STARTING)[0]
            assert started.stdout.readline() == b"ready\n"
        return _forkers[0][1]


def _end() -> None:
    while _forkers:
        started, path = _forkers.pop()
        # It ends with what it reads from.
        started.communicate()
        shutil.rmtree(path.parent, ignore_errors=True)


def _serve(path: str) -> Sequence[str]:
    """Fork for each command; returns in the process that is to be the command, with its arguments."""
    for name in PRELOADED:
        importlib.import_module(name)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(path)
        listening.listen(64)
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        while True:
            if sys.stdin in select.select([listening, sys.stdin], [], [])[0]:
                os._exit(0)
            asked, _ = listening.accept()
            if os.fork() == 0:
                break
            asked.close()
    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    lines = asked.makefile("rw")
    arguments, streams, environment, folder = json.loads(lines.readline())
    if pid := os.fork():
        with suppress(BrokenPipeError):
            print(pid, file=lines, flush=True)
            _, status = os.waitpid(pid, 0)
            print(os.waitstatus_to_exitcode(status), file=lines, flush=True)
        os._exit(0)
    lines.close()
    asked.close()
    ways = (os.O_RDONLY, os.O_WRONLY | os.O_CREAT, os.O_WRONLY | os.O_CREAT)
    for number, (name, way) in enumerate(zip((os.devnull, *streams), ways, strict=True)):
        opened = os.open(name, way)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path[:1] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
    return list(arguments)


if __name__ == "__main__":
    sys.argv[1:] = _serve(sys.argv[1])
    runpy.run_module("taskqueue", run_name="__main__", alter_sys=True)
