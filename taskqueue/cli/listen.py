"""`taskqueue listen`: a receiver on loopback that shows what comes, and answers as told."""

from __future__ import annotations

import base64
import json
import signal
from contextlib import suppress
from datetime import datetime
from typing import Annotated, Any

import typer

from taskqueue.cli import common, streams
from taskqueue.durations import duration
from taskqueue.errors import ConfigError
from taskqueue.logs import harmless
from taskqueue.receiver import Verifier
from taskqueue.redact import safe_headers
from taskqueue.settings import load

commands = common.commands()
_LONGEST_SHOWN = 2000
_FAILING = 500


@commands.command()
def listen(
    queue: Annotated[
        str | None,
        typer.Argument(
            metavar="[QUEUE]",
            help="Verify signatures by the signing_secret of this queue.",
            show_default=False,
        ),
    ] = None,
    *,
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port; 0 takes a free one.")] = 8080,
    status: Annotated[
        int | None, typer.Option(min=200, max=599, help="Answer with this status (200; with --flaky 500).")
    ] = None,
    slow: Annotated[float, typer.Option(min=0, metavar="SECONDS", help="Wait so long with each answer.")] = 0,
    flaky: Annotated[
        int, typer.Option(min=0, metavar="N", help="Let the first N attempts of each task fail, then 200.")
    ] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print a line of JSON for each request.")] = False,
    config: common.Config = None,
) -> None:
    """Receive tasks on this machine's loopback, show what comes, and answer as told until Ctrl-C.

    Set base_url of the queue to the address that it prints. What is not signed by the secret of QUEUE gets
    401, as from taskqueue.receiver. Credentials that come in headers are not shown.
    """
    # Where it is asked for, and not for `--help`.
    from taskqueue.receiver.listening import HOST, Answers, Heard, Listening  # noqa: PLC0415

    verifier = None if queue is None else _verifier(config, queue)
    wanted = Answers(status or 200, slow) if not flaky else Answers(200, slow, flaky, status or _FAILING)

    def heard(request: Heard) -> None:
        common.line(
            _json(request, verified=verifier is not None)
            if as_json
            else _told(request, slow, verified=verifier is not None)
        )
        if not streams.read():
            raise KeyboardInterrupt

    try:
        server = Listening(port, wanted, verifier, heard)
    except OSError as error:
        msg = f"can't listen on {HOST}:{port}: {error.strerror}: choose another --port"
        raise ConfigError(msg) from error
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with server, suppress(KeyboardInterrupt):
        common.say(f"listening on {server.url}; Ctrl-C ends it", "dim")
        server.serve_forever()
        if server.broken is not None:
            raise server.broken


def _verifier(config: common.Config, queue: str) -> Verifier:
    settings = common.only(load(config), [queue])
    secrets = settings.queues[queue].signing_secret
    if not secrets:
        msg = f"queue {queue!r} has no signing_secret: leave QUEUE out to verify nothing"
        raise ConfigError(msg)
    return Verifier(secrets)


def _told(request: Any, slow: float, *, verified: bool) -> str:
    when = datetime.fromtimestamp(request.at).astimezone().strftime("%H:%M:%S.%f")[:-3]
    words = [when, request.method, request.path, f"answer {request.status}"]
    if slow:
        words.append(f"in {duration(slow)}")
    words += [f"attempt {request.attempt or '-'}", f"id {request.header('Taskqueue-Id') or '-'}"]
    if verified:
        words.append(f"NOT GENUINE: {request.fault}" if request.fault else "signature verified")
    elif request.header("webhook-signature"):
        words.append("signature not verified: name the queue")
    lines = [" ".join(words)]
    if error := request.header("Taskqueue-Previous-Error"):
        lines.append(f"  previous error: {error}")
    if request.body:
        text = request.body.decode(errors="backslashreplace")
        cut = len(text) > _LONGEST_SHOWN
        lines.append(f"  {text[:_LONGEST_SHOWN]}{' … (--json has all of it)' if cut else ''}")
    return "\n".join(streams.fitting(harmless(line)) for line in lines)


def _json(request: Any, *, verified: bool) -> str:
    document: dict[str, Any] = {
        "at": request.at,
        "method": request.method,
        "path": request.path,
        "id": request.header("Taskqueue-Id"),
        "attempt": request.attempt,
        "verified": (request.fault is None) if verified else None,
        "fault": request.fault,
        "status": request.status,
        "headers": safe_headers(request.headers),
    }
    try:
        document["body"] = request.body.decode()
    except UnicodeDecodeError:
        document |= {"body": None, "body_base64": base64.b64encode(request.body).decode()}
    return json.dumps(document)
