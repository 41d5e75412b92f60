"""The ini file: where it is, and its lines as sections, keys and values with their line numbers.

Why not ``configparser``: see the decisions in ARCHITECTURE.md.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from taskqueue.errors import ConfigError

GLOBAL = "taskqueue"
ENVIRONMENT = "TASKQUEUE_CONFIG_FILE"
PLACES = (Path("/etc/taskqueue/taskqueue.ini"), Path("taskqueue.ini"))
_SECTION = re.compile(r"\[(.*)\]")
# Narrow, as errors name the key: the second line of a base64 secret must not pass for a key.
_KEY = re.compile(r"[A-Za-z_-]{1,40}")
_VARIABLE = re.compile(r"\$\$|\$\{([A-Za-z_][A-Za-z0-9_]*)\}|\$")
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\ud800-\udfff]")


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it is used, the same as it is written (variables not replaced), and its line."""

    text: str = field(repr=False)
    written: str = field(repr=False)
    line: int


@dataclass(frozen=True, slots=True)
class Section:
    """The keys of one section; the global one has the name ``taskqueue``."""

    name: str
    line: int
    values: dict[str, Value]


def find(path: Path | None, environ: Mapping[str, str]) -> tuple[Path, str]:
    """Give the file and its text: `path`, else TASKQUEUE_CONFIG_FILE, else the first of PLACES that exists.

    Raises ConfigError where there is no file (the error lists where it looked) or it is not UTF-8.
    """
    if path is not None:
        return path, _text(path, "")
    if named := environ.get(ENVIRONMENT):
        return Path(named), _text(Path(named), f" (${ENVIRONMENT} names it)")
    for place in PLACES:
        try:
            place.stat()
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError:
            # The file may exist. To go on to the next place would hide that this one can't be read.
            pass
        return place, _text(place, "")
    looked = ", ".join(str(place.absolute()) for place in PLACES)
    raise ConfigError(
        f"no taskqueue.ini: looked at ${ENVIRONMENT} (not set), {looked}; name one with --config"
    )


def read(
    text: str, *, source: str, environ: Mapping[str, str], skip: frozenset[str] = frozenset()
) -> dict[str, Section]:
    """Read sections by name, the global one first; raises ConfigError with file and line.

    The values of keys in `skip` are not looked at, nor given: they may be secrets that are not here.
    Comments are whole lines that begin with ``#`` or ``;``: a value may hold both.
    """
    current = Section(GLOBAL, 0, {})
    sections = {GLOBAL: current}
    # Not splitlines, which ends lines where no editor does, so that the line numbers would be wrong.
    for number, raw in enumerate(text.removeprefix("\ufeff").split("\n"), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        where = f"{source}:{number}"
        if _CONTROL.search(line):
            raise ConfigError(f"{where}: holds a control character: delete it")
        if section := _SECTION.fullmatch(line):
            current = _begin(section[1].strip(), number, sections, where)
            continue
        key, value = _pair(line, where)
        if key in current.values:
            raise ConfigError(f"{where}: {key}: stands on line {current.values[key].line} already")
        held = "" if key in skip else _substituted(value, f"{where}: {key}", environ)
        current.values[key] = Value(held, value, number)
    for each in sections.values():
        for key in skip & each.values.keys():
            del each.values[key]
    return sections


def _text(path: Path, origin: str) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: is not UTF-8 (byte {error.start}){origin}") from error
    except OSError as error:
        raise ConfigError(f"{path}: can't be read: {error.strerror or error}{origin}") from error


def _begin(name: str, number: int, sections: dict[str, Section], where: str) -> Section:
    if name == GLOBAL and sections[GLOBAL].line == 0:
        # Keys before the first section and those in [taskqueue] are the same section.
        sections[GLOBAL] = Section(GLOBAL, number, sections[GLOBAL].values)
    elif name in sections:
        raise ConfigError(f"{where}: [{name}] begins on line {sections[name].line} already")
    else:
        sections[name] = Section(name, number, {})
    return sections[name]


def _pair(line: str, where: str) -> tuple[str, str]:
    key, equals, value = (part.strip() for part in line.partition("="))
    if equals and _KEY.fullmatch(key):
        return key, value
    # The line itself is left out: it may be half of a secret, or a URL with its password.
    raise ConfigError(
        f"{where}: must be 'key = value', '[queue]' or a comment, each on one line of its own "
        "(a comment begins with # or ;)"
    )


def _substituted(value: str, where: str, environ: Mapping[str, str]) -> str:
    """Replace environment variables once: a $ in what they hold stays a $."""

    def replacement(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name = found[1]
        if not name:
            raise ConfigError(f"{where}: a variable is written ${{NAME}}, a dollar sign $$")
        if name not in environ:
            raise ConfigError(f"{where}: environment variable {name} is not set")
        # A secret that came from a file often ends with a line end.
        held = environ[name].strip()
        if _CONTROL.search(held):
            raise ConfigError(
                f"{where}: environment variable {name} holds a control character or is not UTF-8"
            )
        return held

    return _VARIABLE.sub(replacement, value).strip()
