"""The lines of an ini file: sections, keys and values, each with the line it stands on.

``configparser`` keeps no line numbers and takes no keys before the first section, and existing
taskqueue.ini files have them there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from taskqueue.errors import ConfigError

GLOBAL = "taskqueue"
_SECTION = re.compile(r"\[(.*)\]$")
_VARIABLE = re.compile(r"\$\$|\$\{([^}]*)\}|\$")


@dataclass(frozen=True, slots=True)
class Value:
    """A value as it is to be used, and where it stands."""

    text: str = field(repr=False)
    line: int


@dataclass(frozen=True, slots=True)
class Section:
    """The keys of one section; the global one has the name ``taskqueue``."""

    name: str
    line: int
    values: dict[str, Value]


def read(text: str, *, source: str, environ: Mapping[str, str]) -> dict[str, Section]:
    """Read sections by name, the global one first; raises ConfigError with file and line.

    Comments are whole lines that begin with ``#`` or ``;``: a value may hold both.
    """
    current = Section(GLOBAL, 0, {})
    sections = {GLOBAL: current}
    for number, raw in enumerate(text.splitlines(), 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        where = f"{source}:{number}"
        if section := _SECTION.match(line):
            current = _begin(section[1].strip(), number, sections, where)
            continue
        key, equals, value = (part.strip() for part in line.partition("="))
        if not equals or not key:
            raise ConfigError(f"{where}: must be 'key = value', '[queue]' or a comment")
        if key in current.values:
            raise ConfigError(f"{where}: {key}: stands on line {current.values[key].line} already")
        current.values[key] = Value(_substituted(value, f"{where}: {key}", environ), number)
    return sections


def _begin(name: str, number: int, sections: dict[str, Section], where: str) -> Section:
    if name == GLOBAL and sections[GLOBAL].line == 0:
        # Keys before the first section and those in [taskqueue] are the same section.
        sections[GLOBAL] = Section(GLOBAL, number, sections[GLOBAL].values)
    elif name in sections:
        raise ConfigError(f"{where}: [{name}] begins on line {sections[name].line} already")
    else:
        sections[name] = Section(name, number, {})
    return sections[name]


def _substituted(value: str, where: str, environ: Mapping[str, str]) -> str:
    """Put environment variables in, once: what they hold is not looked at again."""

    def replacement(found: re.Match[str]) -> str:
        if found[0] == "$$":
            return "$"
        name = found[1]
        if not name:
            raise ConfigError(f"{where}: a variable is written ${{NAME}}, a dollar sign $$")
        if name not in environ:
            raise ConfigError(f"{where}: environment variable {name} is not set")
        return environ[name]

    return _VARIABLE.sub(replacement, value)
