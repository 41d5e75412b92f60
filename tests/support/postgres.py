"""A PostgreSQL server of the tests' own: on a socket in a folder of its own, gone with it."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

USER = "test"
_PATIENCE = 180
_QUICK = "-c fsync=off -c full_page_writes=off -c listen_addresses=''"


def programs() -> Path | None:
    """Find the folder of the server's programs: Debian has them beside the path, by version."""
    found = shutil.which("pg_ctl")
    installed = sorted(
        Path("/usr/lib/postgresql").glob("*/bin/pg_ctl"), key=lambda path: float(path.parts[4])
    )
    if installed:
        return installed[-1].parent
    return None if found is None else Path(found).parent


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """Run a server, and give the folder of its socket, which is what a client takes for the host."""
    # It does not run as root, and must be able to get to its files: not so below a folder of pytest.
    user = _user()
    home = Path(tempfile.mkdtemp(prefix="taskqueue-pg-"))
    try:
        if user is not None:
            shutil.chown(home, user)

        def run(program: str, *arguments: str) -> None:
            subprocess.run(
                [folder / program, *arguments], cwd=home, user=user, check=True, timeout=_PATIENCE,
                env={"PATH": os.environ["PATH"], "HOME": str(home), "LC_ALL": "C"},
                stdout=subprocess.DEVNULL,
            )  # fmt: skip

        data = str(home / "data")
        run(
            "initdb",
            "--pgdata",
            data,
            "--auth",
            "trust",
            "--username",
            USER,
            "--encoding",
            "UTF8",
            "--no-sync",
        )
        options = f"-k {home} {_QUICK}"
        run("pg_ctl", "start", "-w", "-D", data, "-l", str(home / "log"), "-o", options, "-t", str(_PATIENCE))
        try:
            yield str(home)
        finally:
            run("pg_ctl", "stop", "-w", "-D", data, "-m", "immediate")
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _user() -> str | None:
    """Name somebody else, where we are root."""
    if os.geteuid():
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
