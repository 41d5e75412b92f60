"""`make demo`: real tasks, a real broker, a real receiver, and what becomes of each.

Ends by itself, with 0 where everything happened as it must and 1 where it did not; takes everything
it made with it.
"""

from __future__ import annotations

import json
import secrets
import signal
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pika
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from sandbox import story
from sandbox.broker import BrokerError, Remote, Server, obtain
from sandbox.commands import CommandFailed, Commands
from sandbox.receiver import Receiver
from sandbox.story import Scene, Seen
from taskqueue import Client
from taskqueue.settings import load
from taskqueue.topology import names
from taskqueue.topology.plan import plan

PATIENCE = 45.0
"""Seconds after which the demo no longer waits for what has not happened; it takes about seven."""
INI = """\
server = {server}
levels = 3

[{queue}]
base_url = {receiver}
concurrency = 4
min_backoff_seconds = 1
max_doublings = 2
max_backoff_seconds = 4
jitter = 0
"""


class Stage:
    """Where the story plays: a queue of its own, a receiver, and what has been seen so far."""

    def __init__(
        self, queue: str, commands: Commands, receiver: Receiver, channel: Any, console: Console
    ) -> None:
        """Take a declared queue with a consumer."""
        self.queue = queue
        self.commands = commands
        self.receiver = receiver
        self.channel = channel
        self.console = console
        self._dead: dict[str, str] = {}
        self._told = 0

    def play(self) -> list[str]:
        """Send every task of the story and watch until all is over; gives what did not happen as it must."""
        told = story.scenes(time.time())
        self._send(told)
        came = self._watch(told)
        faults = [fault for s in told for fault in story.faults(s, came[s.id], self._dead)]
        return faults + self._leftovers()

    def _send(self, told: Sequence[Scene]) -> None:
        with Client.from_config(self.commands.ini) as client:
            for scene in told:
                if scene.answers:
                    self.receiver.answer(scene.path, scene.answers)
                if scene.raw is None:
                    client.send(scene.path, self.queue, id=scene.id, **scene.fields)
                else:
                    properties = pika.BasicProperties(message_id=scene.id, delivery_mode=2)
                    self.channel.basic_publish("", self.queue, scene.raw, properties)

    def _watch(self, told: Sequence[Scene]) -> dict[str, list[Seen]]:
        """Tell of each request as it comes, with the table below where there is a terminal."""
        end = time.monotonic() + PATIENCE
        terminal = self.console.is_terminal
        with Live(console=self.console, refresh_per_second=8, transient=not terminal) as live:
            while True:
                came = self._look(told)
                live.update(_table(told, came, self._dead))
                if all(story.finished(s, came[s.id], self._dead) for s in told) or time.monotonic() > end:
                    break
        if not terminal:
            self.console.print(_table(told, came, self._dead))
        return came

    def _look(self, told: Sequence[Scene]) -> dict[str, list[Seen]]:
        """Wait a moment for the next request, tell of it, and see what is dead."""
        try:
            requests = self.receiver.wait_for(self._told + 1, timeout=0.2)
        except TimeoutError:
            requests = self.receiver.requests
        for request in requests[self._told :]:
            scene = next(scene for scene in told if request.path in scene.paths)
            self._tell(story.seen(scene, [request])[0])
        self._told = len(requests)
        dead = self.channel.queue_declare(names.dead(self.queue), passive=True).method.message_count
        if dead != len(self._dead):
            listed = json.loads(self.commands.read("dead", "list", self.queue, "--json"))
            self._dead = {entry["id"]: entry["reason"] for entry in listed}
        return {scene.id: story.seen(scene, requests) for scene in told}

    def _tell(self, one: Seen) -> None:
        late = f"{one.late * 1000:5.0f} ms after it was due"
        line = f"POST {one.path:<11} attempt {one.attempt}  {late}  → {one.status}"
        self.console.print(Text(line, "green" if one.status == 200 else "yellow"))

    def _leftovers(self) -> list[str]:
        """Nothing may be left to run once the story is over."""
        queue = json.loads(self.commands.read("inspect", "--json"))["queues"][0]
        return [f"{queue[key]} tasks are still {key}" for key in ("ready", "waiting") if queue[key]]


def run(console: Console) -> int:
    """Play the whole demo and give its exit code."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskqueue-demo-")))
        console.print("Getting a RabbitMQ and starting a receiver …")
        server = stack.enter_context(obtain())
        receiver = stack.enter_context(Receiver())
        queue = f"demo-{secrets.token_hex(3)}" if isinstance(server, Remote) else "demo"
        commands = Commands(folder / "taskqueue.ini")
        commands.ini.write_text(INI.format(server=server.url, queue=queue, receiver=receiver.url))
        channel = stack.enter_context(_looking(server, commands.ini))
        try:
            faults = _perform(Stage(queue, commands, receiver, channel, console))
        except CommandFailed as error:
            faults = [str(error)]
        if faults:
            console.print(Text("\n".join(["", *faults]), "red"))
            _print_log(commands.log, console)
            return 1
    console.print("\n[green]Everything happened as it must[/green], and all that the demo made is gone.")
    return 0


def _perform(stage: Stage) -> list[str]:
    def prompt(line: str) -> None:
        stage.console.print(Text(f"\n$ taskqueue {line}", "bold"))

    prompt("declare")
    stage.console.print(stage.commands.read("declare").strip())
    prompt("run")
    with stage.commands.consumer(stage.channel, stage.queue):
        faults = stage.play()
        prompt("inspect")
        stage.commands.show("inspect")
        prompt(f"dead list {stage.queue}")
        stage.commands.show("dead", "list", stage.queue)
    return faults


def _print_log(log: Path, console: Console) -> None:
    if log.exists():
        console.print(Text(f"\nThe log of taskqueue run:\n{log.read_text(errors='replace')[-4000:]}", "dim"))


def _table(told: Sequence[Scene], came: Mapping[str, Sequence[Seen]], dead: Mapping[str, str]) -> Table:
    table = Table(title="What was sent, and what became of it", title_justify="left")
    for heading in ("url", "sent with", "must happen", "happened", ""):
        table.add_column(heading)
    for scene in told:
        happened = [f"{one.status} {one.late * 1000:+.0f} ms" for one in came[scene.id]]
        if scene.id in dead:
            happened.append(f"dead: {dead[scene.id]}")
        over = story.finished(scene, came[scene.id], dead)
        good = over and not story.faults(scene, came[scene.id], dead)
        mark = Text("✓", "green") if good else Text("✗", "red") if over else Text("…", "dim")
        table.add_row(scene.path, scene.sent, scene.must, ", ".join(happened) or "waiting", mark)
    return table


@contextmanager
def _looking(server: Server, ini: Path) -> Iterator[Any]:
    """Give a channel to look with; on a broker that stays, what the demo declared is deleted at the end."""
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    try:
        yield connection.channel()
    finally:
        if isinstance(server, Remote) and connection.is_open:
            channel = connection.channel()
            made = plan(load(ini).layout)
            for queue in made.queues:
                channel.queue_delete(queue.name)
            for exchange in made.exchanges:
                channel.exchange_delete(exchange.name)
        connection.close()


def main() -> int:
    """Play the demo on standard output; SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(Console(highlight=False))
    except BrokerError as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
