"""The command line: one command a file; typer and rich live only here."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from importlib.metadata import version
from typing import Annotated

import typer

from taskqueue.cli import common, streams

app = typer.Typer(
    name="taskqueue",
    cls=common.Commands,
    help="Call a URL later, reliably: delayed webhooks in which RabbitMQ does all the waiting.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    # Usage errors are plain lines: a box would wrap them, and logs and grep would lose words.
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
        common.line(f"taskqueue {version('taskqueue')}")
        raise typer.Exit


@app.callback()
def _options(
    *,
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None: ...


# Each module registers its command with `app`, which must exist by then.
from taskqueue.cli import check, dead, declare, inspect, run, send, waiting  # noqa: E402, F401
