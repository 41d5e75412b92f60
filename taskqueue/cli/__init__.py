"""The command line: one command a file; typer and rich live only here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib import import_module
from typing import Annotated, Any

import typer
from typer.main import get_command

from taskqueue.cli import common, streams

COMMANDS = {
    "check": (
        "Check the configuration, the broker, the permissions, and that everything is declared; "
        "changes nothing."
    ),
    "declare": (
        "Create every queue, exchange and binding that the configuration needs; again changes nothing."
    ),
    "inspect": (
        "Show what is ready, running, waiting and dead; exits with 1 where something is missing or unknown."
    ),
    "probe": (
        "Send a message of our own over each ladder and say how late it comes; exits with 1 where it is late."
    ),
    "run": (
        "Run due tasks until SIGTERM, SIGINT or SIGHUP. Another one, a second later or more, ends it at once."
    ),
    "send": "Send a task, and print its id when the broker has confirmed it.",
    "show": "Say where a task is, why it has not run and when it will; exits with 1 where it is not found.",
    "history": "Say what became of a task, or list what has happened; needs history in the ini.",
    "dead": "List, show, replay and purge dead tasks.",
    "ready": "List and cancel what is ready in a queue that is paused.",
    "waiting": "List, show, cancel, hasten and move waiting tasks.",
    "pause": "Have no task of a queue begin, on any consumer, until `resume` or the end of --for.",
    "resume": "Have the tasks of a paused queue run again; a queue that is not paused stays as it is.",
    "schedule": "List schedules, run one now, pause and resume one.",
    "web": "Serve a page that shows queues and tasks, and acts on them; and POST /queues/QUEUE/tasks.",
    "try": "Make one attempt now by the settings of a queue, without the broker, and explain each step.",
    "retries": "Show when a task that fails would run again: each attempt, and how long after the first.",
    "listen": "Receive tasks on this machine's loopback, show what comes, and answer as told until Ctrl-C.",
}
"""What the list of commands says of each, so that their modules need not be there for it."""
MODULES = {"try": "attempt"}
"""The modules of commands whose names are words of Python."""


def module(command: str | None) -> Any:
    """Import the module of a command."""
    return import_module(f"{__name__}.{MODULES.get(command or '', command)}")


class _Root(common.Commands):
    """A group that imports the module of a command when that is what is asked for."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """Read what stands before the command."""
        for flag in self.get_params(ctx):
            # Typer gives its own flags None, and imports pydantic to see whether that is a value of a flag.
            flag.default = flag.default or False
        return super().parse_args(ctx, args)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that the arguments name."""
        name, found, rest = super().resolve_command(ctx, args)
        return name, found and get_command(module(name).commands), rest


app = typer.Typer(
    name="taskqueue",
    cls=_Root,
    help="Call a URL later, reliably: delayed webhooks in which RabbitMQ does all the waiting.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and exit: 0 fine, 1 a check failed, 2 bad usage or configuration, 3 no broker."""
    # What pika logs also comes as an exception, which becomes one line that says what to do.
    logging.getLogger("pika").setLevel(logging.CRITICAL)
    streams.prepare()
    with common.errors():
        try:
            app(arguments, prog_name="taskqueue")
        finally:
            streams.finish()


def _print_version(*, wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version  # noqa: PLC0415 as slow to import as all the rest of `--help`

        common.line(f"taskqueue {version('taskqueue')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


def _named() -> None:
    """Stand for a command until its module is imported."""


for _name, _about in COMMANDS.items():
    app.command(_name, help=_about)(_named)
