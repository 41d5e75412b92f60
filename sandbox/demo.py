"""`make demo`: real tasks, a real broker, a real receiver, and what becomes of each.

Ends by itself, with 0 where everything happened as it must and 1 where it did not; takes everything
it made with it.
"""

from __future__ import annotations

import json
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
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
from sandbox.receiver import Receiver
from sandbox.story import Scene, Seen
from taskqueue import Client
from taskqueue.settings import load
from taskqueue.topology import names
from taskqueue.topology.plan import plan

PATIENCE = 45.0
"""Seconds after which the demo no longer waits for what has not happened; it takes about seven."""
TASKQUEUE = (sys.executable, "-m", "taskqueue")
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


class Failed(Exception):
    """A command of the demo failed; the text is what it said."""


class Demo:
    """One run: a queue of its own on a broker, a receiver, and the story between them."""

    def __init__(self, server: Server, receiver: Receiver, folder: Path, console: Console) -> None:
        self.queue = f"demo-{secrets.token_hex(3)}" if isinstance(server, Remote) else "demo"
        self.receiver = receiver
        self.console = console
        self.ini = folder / "taskqueue.ini"
        self.ini.write_text(INI.format(server=server.url, queue=self.queue, receiver=receiver.url))
        self.log = folder / "run.log"
        self._dead: dict[str, str] = {}
        self._told = 0

    def command(self, *arguments: str) -> str:
        """Run a command of taskqueue and give what it printed; raises Failed."""
        done = subprocess.run(
            [*TASKQUEUE, *arguments, "--config", str(self.ini)],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE, check=False,
        )  # fmt: skip
        if done.returncode:
            raise Failed(
                f"taskqueue {arguments[0]} ended with {done.returncode}:\n{done.stderr or done.stdout}"
            )
        return done.stdout

    def show(self, *arguments: str) -> None:
        """Run a command of taskqueue as a person would, with its output on the screen."""
        self.console.print(f"\n[bold]$ taskqueue {' '.join(arguments)}[/bold]")
        sys.stdout.flush()
        subprocess.run(
            [*TASKQUEUE, *arguments, "--config", str(self.ini)],
            stdin=subprocess.DEVNULL, timeout=PATIENCE, check=False,
        )  # fmt: skip

    @contextmanager
    def consumer(self) -> Iterator[None]:
        """Run the consumer for a ``with`` block; raises Failed where it does not end with 0 on SIGTERM."""
        with self.log.open("wb") as log:
            process = subprocess.Popen(
                [*TASKQUEUE, "run", "--config", str(self.ini)],
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT, start_new_session=True,
            )  # fmt: skip
        try:
            yield
            process.send_signal(signal.SIGTERM)
            code = process.wait(PATIENCE)
            if code:
                raise Failed(f"taskqueue run ended with {code}")
        finally:
            if process.poll() is None:
                process.kill()
                process.wait()

    def play(self, channel: Any) -> list[str]:
        """Send every task of the story and watch until all is over; gives what did not happen as it must."""
        told = story.scenes(time.time())
        self._send(told, channel)
        end = time.monotonic() + PATIENCE
        with Live(console=self.console, refresh_per_second=8, transient=not self.console.is_terminal) as live:
            while True:
                came = self._look(told, channel)
                live.update(_table(told, came, self._dead))
                done = all(story.finished(s, came[s.id], self._dead) for s in told)
                if done or time.monotonic() > end:
                    break
        if not self.console.is_terminal:
            self.console.print(_table(told, came, self._dead))
        return [fault for s in told for fault in story.faults(s, came[s.id], self._dead)] + self._leftovers()

    def _send(self, told: Sequence[Scene], channel: Any) -> None:
        with Client.from_config(self.ini) as client:
            for scene in told:
                if scene.answers:
                    self.receiver.answer(scene.path, scene.answers)
                if scene.raw is None:
                    client.send(scene.path, self.queue, id=scene.id, **scene.fields)
                else:
                    properties = pika.BasicProperties(message_id=scene.id, delivery_mode=2)
                    channel.basic_publish("", self.queue, scene.raw, properties)

    def _look(self, told: Sequence[Scene], channel: Any) -> dict[str, list[Seen]]:
        """Wait a moment for the next request, tell of it, and see what is dead."""
        try:
            requests = self.receiver.wait_for(self._told + 1, timeout=0.2)
        except TimeoutError:
            requests = self.receiver.requests
        came = {scene.id: story.seen(scene, requests) for scene in told}
        for request in requests[self._told :]:
            scene = next(scene for scene in told if request.path in scene.paths)
            self._tell(story.seen(scene, [request])[0])
        self._told = len(requests)
        if channel.queue_declare(names.dead(self.queue), passive=True).method.message_count != len(
            self._dead
        ):
            listed = json.loads(self.command("dead", "list", self.queue, "--json"))
            self._dead = {entry["id"]: entry["reason"] for entry in listed}
        return came

    def _tell(self, one: Seen) -> None:
        late = f"{one.late * 1000:5.0f} ms after it was due"
        line = f"POST {one.path:<11} attempt {one.attempt}  {late}  → {one.status}"
        self.console.print(Text(line, "green" if one.status == 200 else "yellow"))

    def _leftovers(self) -> list[str]:
        """Nothing may be left to run once the story is over."""
        queue = json.loads(self.command("inspect", "--json"))["queues"][0]
        return [f"{queue[key]} tasks are still {key}" for key in ("ready", "waiting") if queue[key]]


def _table(told: Sequence[Scene], came: dict[str, list[Seen]], dead: dict[str, str]) -> Table:
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
def _watching(server: Server, demo: Demo) -> Iterator[Any]:
    """Give a channel to look with; on a broker that stays, what the demo declared is deleted at the end."""
    connection = pika.BlockingConnection(pika.URLParameters(server.url))
    try:
        yield connection.channel()
    finally:
        if isinstance(server, Remote) and connection.is_open:
            channel = connection.channel()
            made = plan(load(demo.ini))
            for queue in made.queues:
                channel.queue_delete(queue.name)
            for exchange in made.exchanges:
                channel.exchange_delete(exchange.name)
        connection.close()


def _wait_for_consumer(channel: Any, queue: str) -> None:
    end = time.monotonic() + PATIENCE
    while not channel.queue_declare(queue, passive=True).method.consumer_count:
        if time.monotonic() > end:
            raise Failed(f"taskqueue run did not consume {queue} within {PATIENCE:.0f} s")
        channel.connection.process_data_events(0.1)


def run(console: Console) -> int:
    """Play the whole demo and give its exit code."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="taskqueue-demo-")))
        console.print("Starting a RabbitMQ of the demo's own …")
        server = stack.enter_context(obtain())
        receiver = stack.enter_context(Receiver())
        demo = Demo(server, receiver, folder, console)
        channel = stack.enter_context(_watching(server, demo))
        console.print("[bold]$ taskqueue declare[/bold]")
        console.print(demo.command("declare").strip(), highlight=False)
        try:
            console.print("[bold]$ taskqueue run[/bold]\n")
            with demo.consumer():
                _wait_for_consumer(channel, demo.queue)
                faults = demo.play(channel)
                demo.show("inspect")
                demo.show("dead", "list", demo.queue)
        except Failed as error:
            faults = [str(error)]
        if faults:
            console.print(Text("\n".join(["", *faults]), "red"))
            console.print(
                Text(f"\nThe log of taskqueue run:\n{demo.log.read_text(errors='replace')[-4000:]}", "dim")
            )
            return 1
        console.print(
            "\n[green]Everything happened as it must.[/green] Everything that the demo made is gone."
        )
        return 0


def main() -> int:
    """Play the demo on standard output; SIGTERM ends it as Ctrl-C does."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        return run(Console(highlight=False))
    except (BrokerError, Failed) as error:
        print(f"demo: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main())
