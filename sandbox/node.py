"""Private throw-away RabbitMQ nodes.

A node needs nothing but environment: its own ports, name, cookie and folder. It listens on
loopback only, reads none of the machine's RabbitMQ configuration, and leaves nothing behind
(epmd, which Erlang starts by itself, is shared by all nodes of a machine and stays).
"""

from __future__ import annotations

import atexit
import os
import random
import re
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Self

NODE_VARIABLE = "TASKQUEUE_TEST_NODE"
"""Names the rabbitmq-server script to use instead of the one that is installed."""
ADVANCED_CONFIG = Path(__file__).parent.parent / "deploy" / "advanced.config"
"""What is recommended to operators is what the tests run with."""
START_SECONDS = 120
STOP_SECONDS = 60
# Below the ephemeral range: no outgoing connection takes the port while the node is down.
PORTS = range(20_000, 32_000)
SCRIPTS = (
    "/usr/lib/rabbitmq/bin/rabbitmq-server",
    "/opt/homebrew/sbin/rabbitmq-server",
    "/usr/local/sbin/rabbitmq-server",
)
# Debian's wrapper insists on the user rabbitmq and on the system's own node.
WRAPPER = "rabbitmq-script-wrapper"
# Distribution on loopback only; idle schedulers that sleep, since tests share the machine.
ERL_ARGS = "-kernel inet_dist_use_interface {127,0,0,1} +sbwt none +sbwtdcpu none +sbwtdio none"


class BrokerError(Exception):
    """No broker could be had, or a node did not do what it was told; the text says what to do."""


def find_script() -> Path | None:
    """Find the script that starts a node as any user, None where RabbitMQ is not installed."""
    if chosen := os.environ.get(NODE_VARIABLE):
        return Path(chosen)
    found = shutil.which("rabbitmq-server")
    for candidate in (*SCRIPTS, *([found] if found else [])):
        path = Path(candidate)
        if os.access(path, os.X_OK) and path.resolve().name != WRAPPER:
            return path
    return None


class Broker:
    """One private node, started by `Broker.start` and ended by `stop` (or by ``with``)."""

    kept_in: Path | None = None
    """The folder for the folders of nodes, None for that of all temporary files."""

    def __init__(
        self, *, config: Sequence[str] = (), management: bool = False, cookie: str | None = None
    ) -> None:
        """Prepare the folder of a node without starting it; `config` holds lines of rabbitmq.conf."""
        script = find_script()
        if script is None:
            raise BrokerError("no rabbitmq-server found: run `make broker` to install it")
        self._script = script
        self.folder = Path(tempfile.mkdtemp(prefix="taskqueue-broker-", dir=self.kept_in))
        self._process: subprocess.Popen[bytes] | None = None
        self.port, self._dist_port, self._management_port = free_ports(3)
        self.node = f"taskqueue-{secrets.token_hex(4)}@localhost"
        self.management = management
        self._prepare(config, cookie or secrets.token_hex(20))
        self._environment = self._make_environment()
        atexit.register(self.stop)

    @classmethod
    def start(
        cls, *, config: Sequence[str] = (), management: bool = False, cookie: str | None = None
    ) -> Self:
        """Start a node and wait until it answers AMQP.

        `config` are more lines of rabbitmq.conf, such as ``consumer_timeout = 5000``. Raises BrokerError
        with the end of the node's log where it does not come up.
        """
        broker = cls(config=config, management=management, cookie=cookie)
        try:
            broker.restart()
        except BaseException:
            broker.stop()
            raise
        return broker

    def __enter__(self) -> Self:
        """Give the node itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the node."""
        self.stop()

    @property
    def url(self) -> str:
        """Give the AMQP URL of the default vhost."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    @property
    def management_url(self) -> str | None:
        """Give the URL of the management API, None where the plugin is not enabled."""
        return f"http://guest:guest@127.0.0.1:{self._management_port}/" if self.management else None

    @property
    def pid(self) -> int:
        """Give the process id of the node's Erlang machine, which also is its process group."""
        if self._process is None:
            raise BrokerError(f"{self.node} is not running: call restart() first")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Tell whether the node's process lives."""
        return self._process is not None and self._process.poll() is None

    def restart(self) -> None:
        """Start the node again on the same port with the data it has, gracefully halted if it runs."""
        self.halt()
        log = (self.folder / "console.log").open("ab")
        with log:
            self._process = subprocess.Popen(
                [str(self._script)],
                env=self._environment,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait_until_ready(self._process)

    def halt(self) -> None:
        """Stop the node gracefully and keep its data for `restart`."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """End the whole process group with SIGKILL; the data stay.

        A quorum queue that was declared within the last second may never come back from this: RabbitMQ 3.10
        writes its directory of them every now and then only. Declare, `sync` and then kill.
        """
        self._end(signal.SIGKILL)

    def sync(self) -> None:
        """Have the node write its directory of quorum queues, so that `kill` makes it forget none."""
        self.eval("[dets:sync(Table) || Table <- dets:all()].")

    def stop(self) -> None:
        """End the node and remove everything it had; a second call does nothing."""
        atexit.unregister(self.stop)
        # Its data go with it, so nothing is gained by the seconds that a graceful end takes.
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def ctl(self, *arguments: str, timeout: float = 180) -> str:
        """Run rabbitmqctl against this node and return what it printed; raises BrokerError where it fails."""
        done = subprocess.run(
            [str(self._script.with_name("rabbitmqctl")), "--quiet", "--node", self.node, *arguments],
            env=self._environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise BrokerError(f"rabbitmqctl {' '.join(arguments)}: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def eval(self, expression: str, *, timeout: float = 180) -> str:
        """Evaluate Erlang in the node, and return the value; raises BrokerError where it fails.

        By Erlang's own erl_call where it is there: rabbitmqctl takes a second of CPU to start.
        """
        if (program := shutil.which("erl_call")) is None:
            return self.ctl("eval", expression, timeout=timeout)
        done = subprocess.run(
            [program, "-sname", self.node, "-e"],
            env=self._environment,
            input=f"{expression}\n",
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        value = re.fullmatch(r"\{ok, (.*)\}\s*", done.stdout, re.DOTALL)
        if value is None:
            raise BrokerError(f"{expression} {(done.stderr or done.stdout).strip()}")
        return value[1]

    def log(self) -> str:
        """Give what the node wrote to its console so far."""
        return (self.folder / "console.log").read_text(errors="replace")

    def _prepare(self, config: Sequence[str], cookie: str) -> None:
        for name in ("home", "mnesia", "log", "conf.d"):
            (self.folder / name).mkdir()
        secret = self.folder / "home" / ".erlang.cookie"
        secret.write_text(cookie)
        secret.chmod(0o400)
        lines = [f"listeners.tcp.1 = 127.0.0.1:{self.port}"]
        if self.management:
            lines += ["management.tcp.ip = 127.0.0.1", f"management.tcp.port = {self._management_port}"]
        (self.folder / "rabbitmq.conf").write_text("\n".join([*lines, *config, ""]))
        (self.folder / "enabled_plugins").write_text("[rabbitmq_management]." if self.management else "[].")
        shutil.copy(ADVANCED_CONFIG, self.folder)
        (self.folder / "rabbitmq-env.conf").touch()

    def _make_environment(self) -> dict[str, str]:
        theirs = ("RABBITMQ_", "ERL_", "NOTIFY_")
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(theirs)}
        folder = self.folder
        return inherited | {
            "HOME": str(folder / "home"),
            "RABBITMQ_NODENAME": self.node,
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(folder / "log"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
            "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq.conf"),
            "RABBITMQ_CONFIG_FILES": str(folder / "conf.d"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(folder / "advanced.config"),
            "RABBITMQ_CONF_ENV_FILE": str(folder / "rabbitmq-env.conf"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERL_ARGS,
            # The script then becomes the Erlang machine instead of being its parent.
            "RUNNING_UNDER_SYSTEMD": "true",
        }

    def _wait_until_ready(self, process: subprocess.Popen[bytes]) -> None:
        end = time.monotonic() + START_SECONDS
        ports = [self._management_port] if self.management else []
        while not (answers_amqp(self.port) and all(accepts(port) for port in ports)):
            # Waiting for the process is the pause between two tries: its death ends the wait at once.
            with suppress(subprocess.TimeoutExpired):
                process.wait(0.1)
                raise BrokerError(f"{self.node} did not start:\n{self._trouble()}")
            if time.monotonic() > end:
                self.kill()
                raise BrokerError(f"{self.node} was not ready in {START_SECONDS} s:\n{self._trouble()}")

    def _trouble(self) -> str:
        lines = self.log().splitlines()
        return "\n".join([line for line in lines if "[error]" in line][:20] or lines[-20:])

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            os.killpg(process.pid, how)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


@contextmanager
def cluster(size: int, *, config: Sequence[str] = (), management: bool = False) -> Iterator[list[Broker]]:
    """Start so many nodes for a ``with`` block and join all others to the first one."""
    cookie = secrets.token_hex(20)
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(Broker.start(config=config, management=management, cookie=cookie))
            for _ in range(size)
        ]
        for node in nodes[1:]:
            node.ctl("stop_app")
            node.ctl("join_cluster", nodes[0].node)
            node.ctl("start_app")
            node.ctl("await_startup")
        yield nodes


def free_ports(count: int) -> list[int]:
    """Pick `count` ports of loopback that nobody listens on, and no other process picks from now on."""
    found: list[int] = []
    while len(found) < count:
        port = random.choice(PORTS)
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        if port not in found and _claim(port):
            found.append(port)
    return found


def _claim(port: int) -> bool:
    """Have a number until this process ends, by UDP: a node listens seconds after its port was picked."""
    claim = socket.socket(type=socket.SOCK_DGRAM)
    try:
        claim.bind(("127.0.0.1", port))
    except OSError:
        claim.close()
        return False
    claim.detach()
    return True


def answers_amqp(port: int, timeout: float = 2.0) -> bool:
    """Tell whether a broker on loopback answers the AMQP 0-9-1 greeting with Connection.Start."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout) as connection:
            connection.sendall(b"AMQP\x00\x00\x09\x01")
            return connection.recv(1) == b"\x01"
    except OSError:
        return False


def accepts(port: int, timeout: float = 2.0) -> bool:
    """Tell whether something on loopback accepts connections."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout).close()
    except OSError:
        return False
    return True
