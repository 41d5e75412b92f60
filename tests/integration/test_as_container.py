"""`taskqueue run` as in a container: process 1, a root that can't be written, no capabilities."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import urllib3

from sandbox.broker import free_ports
from tests.support.stage import PATIENCE, eventually

_INSIDE = """
mount --make-rprivate / && mount -t tmpfs tmpfs /mnt && mount -o remount,bind,ro / || exit 99
exec setpriv --bounding-set=-all --inh-caps=-all --no-new-privs "$@"
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_it_writes_to_its_temporary_folder_only_and_stops_on_sigterm(tmp_path: Path, processes: int) -> None:
    """It is healthy without a broker, and ends with 0 within its grace."""
    unshare = shutil.which("unshare")
    if os.geteuid() or unshare is None or shutil.which("setpriv") is None:
        pytest.skip("needs root, unshare and setpriv")
    alone = [unshare, "--mount", "--pid", "--fork", "--kill-child", "sh", "-c", _INSIDE, "sh"]
    if subprocess.run([*alone, "true"], capture_output=True, check=False).returncode:
        pytest.skip("this system allows no mounts and capabilities of our own")
    (port,) = free_ports(1)
    ini = tmp_path / "taskqueue.ini"
    ini.write_text(
        f"server = amqp://127.0.0.1:1/\nmetrics = 127.0.0.1:{port}\nprocesses = {processes}\n[a]\n"
    )
    command = [sys.executable, "-m", "taskqueue", "run", "--config", str(ini)]
    process = subprocess.Popen(
        [*alone, *command],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": "/mnt", "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    pool = urllib3.PoolManager(retries=False)

    def page(path: str) -> bytes:
        assert process.poll() is None, process.communicate()[1]
        try:
            found = pool.request("GET", f"http://127.0.0.1:{port}{path}")
        except urllib3.exceptions.HTTPError:
            return b""
        return found.data if found.status == 200 else b""

    try:
        eventually(lambda: b"taskqueue_broker_connected 0.0" in page("/metrics"), "counts of each process")
        assert b'"ok": true' in page("/healthz")
        (first,) = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        assert "NSpid:\t" + first + "\t1\n" in Path(f"/proc/{first}/status").read_text()
        os.kill(int(first), signal.SIGTERM)
        said = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, said
        assert "Traceback" not in said
    finally:
        if process.poll() is None:
            process.kill()
            process.communicate()
        pool.clear()
