"""The wheel and the sdist: built without a network, installed without one, and whole."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
PARTS = (
    "pyproject.toml", "README.md", "LICENSE", "MANIFEST.in", "CHANGELOG.md", "SECURITY.md", "ARCHITECTURE.md",
    "taskqueue.ini", "taskqueue", "deploy", "docs",
)  # fmt: skip
# No proxy and no index: what would look for one fails at once.
OFFLINE = {
    **os.environ,
    "PIP_NO_INDEX": "1",
    "PIP_DISABLE_PIP_VERSION_CHECK": "1",
    "PIP_CONFIG_FILE": os.devnull,
}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build both from a copy, as a build leaves files in the tree."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("dist")
    for name in PARTS:
        path = ROOT / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "dist"), str(folder)],
        cwd=source,
        env=OFFLINE,
        check=True,
        capture_output=True,
    )
    return folder


def test_the_wheel_holds_the_package_and_nothing_else(built: Path) -> None:
    """Every module, the mark of its types, and what the page is made of; no tests, no sandbox."""
    (path,) = built.glob("*.whl")
    with zipfile.ZipFile(path) as wheel:
        names = {name for name in wheel.namelist() if ".dist-info/" not in name}
        licences = [name for name in wheel.namelist() if name.endswith("LICENSE")]
    wanted = {path.relative_to(ROOT).as_posix() for path in (ROOT / "taskqueue").rglob("*.py")}
    page = {
        path.relative_to(ROOT).as_posix()
        for folder in ("templates", "static")
        for path in (ROOT / "taskqueue" / "web" / folder).iterdir()
    }
    assert len(page) > 10
    assert names == wanted | page | {"taskqueue/py.typed"}
    assert licences


def test_the_sdist_holds_what_an_operator_needs(built: Path) -> None:
    """Unit, manifests and docs, beside the package; no tests, which need the repository."""
    (path,) = built.glob("*.tar.gz")
    with tarfile.open(path) as sdist:
        names = {name.partition("/")[2] for name in sdist.getnames()}
    for name in (
        "LICENSE", "taskqueue.ini", "taskqueue/py.typed", "docs/permissions.md", "deploy/advanced.config",
        "deploy/docker/Dockerfile", "deploy/docker/Dockerfile.dockerignore",
        "deploy/kubernetes/kustomization.yaml",
    ):  # fmt: skip
        assert name in names
    assert not {name for name in names if name.startswith(("tests", "sandbox"))}


def test_the_wheel_runs_where_it_is_installed(built: Path, tmp_path: Path) -> None:
    """With the packages of this environment, as the wheel brings none."""
    (path,) = built.glob("*.whl")
    site = tmp_path / "site"
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(path)],
        env=OFFLINE, check=True, capture_output=True,
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", "import taskqueue; print(taskqueue.__file__)"],
        env={**os.environ, "PYTHONPATH": str(site)}, cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert Path(done.stdout.strip()).is_relative_to(site)
    told = subprocess.run(
        [str(site / "bin" / "taskqueue"), "--version"],
        env={**os.environ, "PYTHONPATH": str(site)}, cwd=tmp_path, check=True, capture_output=True, text=True,
    )  # fmt: skip
    assert told.stdout == f"taskqueue {path.name.split('-')[1]}\n"


def test_every_package_that_users_install_has_a_lower_bound() -> None:
    """Which `make test-oldest` tries: the script that tells them takes every extra of users."""
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "bounds")], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    told = {line.partition("==")[0] for line in done.stdout.splitlines()}
    assert {"pika", "typer", "prometheus-client", "starlette", "django", "sqlalchemy"} <= told
    assert not {"pytest", "sphinx", "ruff", "celery"} & told
