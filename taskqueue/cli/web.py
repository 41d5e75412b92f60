"""`taskqueue web`: the page for people, and POST /queues/Q/tasks."""

from __future__ import annotations

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated

import typer

from taskqueue import logs
from taskqueue.cli import common
from taskqueue.errors import ConfigError
from taskqueue.settings import load

commands = common.commands()
TOKEN = "TASKQUEUE_WEB_TOKEN"  # noqa: S105 the name of a variable
_NEEDED = ("starlette", "uvicorn", "jinja2")


@commands.command()
def web(
    *,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where it is; on loopback without a host.")
    ] = "127.0.0.1:8181",
    token_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help=f"Holds the token; else {TOKEN}, else one is made for this run."),
    ] = None,
    prefix: Annotated[
        str, typer.Option(metavar="PATH", help="Where a proxy shows it, such as /taskqueue.")
    ] = "",
    queues: common.Queues = None,
    config: common.Config = None,
) -> None:
    """Serve a page that shows queues and tasks, and acts on them; and POST /queues/QUEUE/tasks.

    Whoever has the token may do what this user may do in the broker. Without a token of your own it listens
    on loopback only, shows counts to everybody there, and prints a link for the rest.
    """
    if missing := [name for name in _NEEDED if find_spec(name) is None]:
        raise ConfigError(f"web: needs {', '.join(missing)}: pip install 'taskqueue[web]'")
    from taskqueue.web import access, place, serve  # noqa: PLC0415 an extra

    settings = common.only(load(config), queues)
    logs.start(settings.log_format, "info")
    prefixed = place.Place(place.prefix(prefix))
    host, port = serve.where(listen)
    token, made = access.granted(_given(token_file), host)
    with serve.listen(host, port) as listening:
        shown = f"[{host}]" if ":" in host else host
        where = f"http://{shown}:{listening.getsockname()[1]}"
        common.say(f"listening on {where}{prefixed.to()}")
        if made:
            common.say(f"to see tasks and to act: {where}{prefixed.to('login', token=token)}")
        serve.serve(settings, access.Access(token, open_counts=made), prefixed, listening)


def _given(path: Path | None) -> str | None:
    """Read the token that was given, None where none was; raises ConfigError."""
    if path is None:
        return os.environ.get(TOKEN) or None
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"--token-file: can't read {path}: {getattr(error, 'strerror', error)}") from error
