"""A receiver that costs little: nginx answers and writes down when each request came."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from sandbox.broker import accepts, free_ports

CANDIDATES = ("/usr/sbin/nginx", "/usr/local/sbin/nginx", "/opt/homebrew/bin/nginx")
_START_SECONDS = 10
_CONFIGURATION = """\
daemon off;
master_process off;
worker_rlimit_nofile 65536;
pid {folder}/pid;
error_log {folder}/error.log warn;
events {{ worker_connections 8192; }}
http {{
    log_format arrival '$msec $arg_due';
    access_log {folder}/arrivals arrival;
    client_body_temp_path {folder}/body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    # Every contender keeps its connections: none is to be made anew in the middle.
    keepalive_requests 100000000;
    keepalive_timeout 600s;
    tcp_nodelay on;
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ return {status} "ok"; }}
    }}
}}
"""


class ReceiverError(Exception):
    """There is no nginx, or it does not start; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Arrival:
    """A request: when it came and when its task was due (query argument ``due``), in seconds."""

    at: float
    due: float | None


class Receiver:
    """One process of our own, in its own folder, on loopback; it answers `status`, or 200 after `seconds`."""

    def __init__(self, *, status: int = 200, seconds: float = 0) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="taskqueue-receiver-"))
        (self.port,) = free_ports(1)
        self.url = f"http://127.0.0.1:{self.port}"
        self._log = self._folder / "arrivals"
        self._count = 0
        self._read = 0
        command = self._slow(seconds) if seconds else self._nginx(status)
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
        try:
            self._wait_until_ready()
        except BaseException:
            self.stop()
            raise

    def _slow(self, seconds: float) -> list[str]:
        """Give the program for answers that take a while, which nginx has no way to give."""
        self._log.touch()
        module = "benchmarks.slow_receiver"
        return [sys.executable, "-m", module, str(self.port), str(seconds), str(self._log)]

    def _nginx(self, status: int) -> list[str]:
        program = shutil.which("nginx") or next((path for path in CANDIDATES if Path(path).exists()), None)
        if program is None:
            raise ReceiverError(
                "no nginx found: install the package nginx-light (apt-get install nginx-light)"
            )
        configuration = self._folder / "nginx.conf"
        configuration.write_text(_CONFIGURATION.format(folder=self._folder, port=self.port, status=status))
        errors = str(self._folder / "error.log")
        return [program, "-p", str(self._folder), "-c", str(configuration), "-e", errors]

    @property
    def pid(self) -> int:
        """Give the process id of nginx."""
        return self._process.pid

    def count(self) -> int:
        """Count the requests since `clear`."""
        with self._log.open("rb") as log:
            log.seek(self._read)
            while block := log.read(2**20):
                self._read += len(block)
                self._count += block.count(b"\n")
        return self._count

    def arrivals(self) -> list[Arrival]:
        """List the requests since `clear`, in the order in which they ended."""
        found = []
        for line in self._log.read_text().splitlines():
            at, due = line.split(" ")
            found.append(Arrival(float(at), None if due == "-" else float(due)))
        return found

    def clear(self) -> None:
        """Forget what came so far; nothing may be on its way."""
        # nginx appends, so that it goes on at the new end.
        with self._log.open("r+b") as log:
            log.truncate(0)
        self._count = self._read = 0

    def stop(self) -> None:
        """End nginx and remove its folder."""
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        shutil.rmtree(self._folder, ignore_errors=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _wait_until_ready(self) -> None:
        end = time.monotonic() + _START_SECONDS
        while not accepts(self.port):
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(0.05)
                log = self._folder / "error.log"
                raise ReceiverError(f"nginx did not start: {log.read_text() if log.exists() else 'no log'}")
            if time.monotonic() > end:
                raise ReceiverError(f"nginx was not ready in {_START_SECONDS} s")
