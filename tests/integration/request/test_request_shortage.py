"""What the sender has too little of: no task pays for it with a run."""

from __future__ import annotations

import json
import logging
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from sandbox.attempt import a_task, executing
from sandbox.peer import Peer, answering
from sandbox.receiver import Answer, Receiver
from taskqueue.settings import QueueSettings
from taskqueue.task.decide import Again, on_result
from taskqueue.task.result import Result

ROOT = Path(__file__).parents[3]
POLICY = QueueSettings("default", retry_limit=1)
BEGIN = """
import json, os, resource, socket, sys
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from sandbox.attempt import executing

url = sys.argv[1]
loopback = lambda host, port: [(socket.AF_INET, ("127.0.0.1", port))]

def limit(files):
    resource.setrlimit(resource.RLIMIT_NOFILE, (files, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))

def told(results):
    print(json.dumps([[each.status, each.error, each.busy] for each in results]), flush=True)
"""
MANY = """
limit(32)
with executing(concurrency=40, timeout=30.0) as run, ThreadPoolExecutor(40) as threads:
    running = [threads.submit(run, url) for _ in range(60)]
    wait(running, return_when=FIRST_COMPLETED)
    print("short", flush=True)
    results = [each.result() for each in running]
    told(results)
    told([run(url) for each in results if each.busy])
"""
NAMES = """
limit(40)
with executing(timeout=30.0, connect_timeout=1.0) as run:
    taken = []
    try:
        while True:
            taken.append(os.open("/dev/null", os.O_RDONLY))
    except OSError:
        pass
    urls = [url.replace("127.0.0.1", "localhost"), url, url.replace("http", "https"), "http://x.invalid/"]
    results = [run(each) for each in urls]
    for each in taken:
        os.close(each)
    told(results)
    told([run(each) for each in urls])
"""
HOSTS = """
limit(40)
with executing(timeout=30.0, resolve=loopback) as run:
    port = url.rpartition(":")[2]
    results = []
    for number in range(90):
        results += [run(f"http://host{number}.example:{port}/")]
        if results[-1].busy:
            results += [run(f"http://host{number}.example:{port}/")]
told(results)
"""
PORTS = """
import fcntl, struct
from sandbox.peer import Peer

with socket.socket() as any_socket:
    fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh14x", b"lo", 0x1 | 0x40))  # SIOCSIFFLAGS: up
with open("/proc/sys/net/ipv4/ip_local_port_range", "w") as file:
    file.write("40000 40003")

with Peer(lambda visit: visit.until_closed()) as peer:
    with executing(timeout=1.0) as run, ThreadPoolExecutor(8) as threads:
        told(threads.map(run, [peer.url] * 8))
"""


def start(script: str, *arguments: str, within: tuple[str, ...] = ()) -> subprocess.Popen[str]:
    """Run a sender in a process of its own, which may be short of something."""
    command = [*within, sys.executable, "-c", BEGIN + script, *arguments]
    return subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def lines(sender: subprocess.Popen[str]) -> list[list[Any]]:
    """Read what it tells, to its end."""
    out, _ = sender.communicate(timeout=60)
    assert sender.returncode == 0
    return [json.loads(line) for line in out.splitlines()]


def test_too_few_descriptors_for_all_are_enough_for_each_in_turn() -> None:
    """Those that find none are put off, whoever has one runs, and in the end all have run once."""
    going = threading.Event()
    with Receiver() as receiver:
        receiver.answer("/", Answer(hold=going))
        sender = start(MANY, receiver.url)
        assert sender.stdout is not None
        assert sender.stdout.readline() == "short\n"
        going.set()
        first, second = lines(sender)
        requests = len(receiver.requests)
    put_off = [each for each in first if each[0] is None]
    assert put_off
    assert len(put_off) < 60
    assert all("too many open files in this process" in each[1] and 1 <= each[2] <= 3 for each in put_off)
    assert [each[:2] for each in second] == [[200, None]] * len(put_off)
    assert requests == 60


def test_what_libraries_say_without_descriptors_is_not_believed() -> None:
    """A resolver says that there is no such name, and TLS that it trusts nobody: that would cost a run."""
    with Peer(answering()) as peer:
        short, after = lines(start(NAMES, f"http://127.0.0.1:{peer.port}"))
    assert all("too many open files" in each[1] and each[2] for each in short)
    assert [each[0] for each in after] == [200, 200, None, None]
    assert after[2][1].startswith("connect timed out after 1 s: ")
    assert after[3][1:] == ["name not resolved: x.invalid", None]


def test_idle_connections_give_their_descriptors_back() -> None:
    """Connections that are kept for other hosts don't hold up a task for ever."""
    with Peer(answering()) as peer:
        (results,) = lines(start(HOSTS, f"http://127.0.0.1:{peer.port}"))
    assert any(each[2] for each in results)
    assert sum(each[0] == 200 for each in results) == 90


def test_a_lack_of_local_ports_costs_no_run() -> None:
    """Where every port of our own is taken, nothing is wrong with the receiver."""
    within = ("unshare", "--map-root-user", "--net")
    if subprocess.run([*within, "true"], check=False, capture_output=True).returncode:
        pytest.skip("this system allows no network of our own, in which ports can be few")
    (results,) = lines(start(PORTS, "", within=within))
    put_off = [each for each in results if each[2]]
    assert put_off
    assert all(each[1].startswith("no free local port") for each in put_off)
    assert {each[1] for each in results if not each[2]} == {"timed out after 1 s"}


def test_a_task_that_is_put_off_keeps_its_runs_and_its_error() -> None:
    """Even its only run is still ahead of it."""
    task = a_task("http://a/", runs=0, error="status 503")
    result = Result(None, "too many open files", None, 0.1, busy=2.0)
    assert on_result(task, result, POLICY, now=0, spread=0) == Again(2000, 0, "status 503")


def test_the_log_says_what_is_short_and_not_for_every_task(caplog: pytest.LogCaptureFixture) -> None:
    """Once in a while is enough."""

    def resolve(_host: str, _port: int) -> list[Any]:
        raise OSError(12, "out of memory")

    with caplog.at_level(logging.WARNING), executing(resolve=resolve) as run:
        results = [run("http://a/") for _ in range(5)]
    assert all(each.busy for each in results)
    assert [each.getMessage() for each in caplog.records] == [
        "default id-1: not sent, which costs no run: this machine is out of memory"
    ]
