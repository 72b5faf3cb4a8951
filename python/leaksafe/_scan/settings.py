"""What is wanted: from `[tool.leaksafe.scan]` of a pyproject.toml, and from the command line."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path, PurePath
from typing import cast

from leaksafe._scan.finding import RULES, UNREADABLE


class SettingsError(Exception):
    """A setting that can't be meant."""


@dataclass(frozen=True)
class Settings:
    """The rules to apply, and what not to look at."""

    select: tuple[str, ...] = ("LS",)
    """Codes, or beginnings of codes."""
    ignore: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def wants(self, code: str) -> bool:
        """Whether findings of a rule are to be reported."""
        return code.startswith(self.select) and not (self.ignore and code.startswith(self.ignore))

    def with_(self, **given: Sequence[str] | None) -> Settings:
        """Return these settings, with those that were given in place of them."""
        return replace(
            self, **{name: _checked(name, value) for name, value in given.items() if value}
        )


def find(paths: Iterable[Path]) -> Path | None:
    """Return the nearest pyproject.toml above all of the paths that has settings for this."""
    try:
        common = Path(os.path.commonpath([path.absolute() for path in paths]))
    except ValueError:  # on several drives
        return None
    for place in (common, *common.parents):
        file = place / "pyproject.toml"
        if file.is_file() and _table(file) is not None:
            return file
    return None


def read(file: Path) -> Settings:
    """Return the settings of a pyproject.toml."""
    table = _table(file) or {}
    known = [field.name for field in fields(Settings)]
    given: dict[str, tuple[str, ...]] = {}
    for name, value in table.items():
        where = f"{file}: [tool.leaksafe.scan] {name}"
        if name not in known:
            raise SettingsError(f"{where} is unknown, there are {', '.join(known)}")
        listed = cast("list[object]", value) if isinstance(value, list) else [value]
        strings = [one for one in listed if isinstance(one, str)]
        if not isinstance(value, list) or len(strings) < len(listed):
            raise SettingsError(f"{where} must be a list of strings, not {value!r}")
        try:
            given[name] = _checked(name, strings)
        except SettingsError as error:
            raise SettingsError(f"{where}: {error}") from None
    return Settings(**given)


def _table(file: Path) -> dict[str, object] | None:
    try:
        with file.open("rb") as opened:
            found = tomllib.load(opened)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: {error}") from None
    table: dict[str, object] | None = found
    for key in ("tool", "leaksafe", "scan"):
        below = table.get(key) if table is not None else None
        if below is not None and not isinstance(below, dict):
            raise SettingsError(f"{file}: {key} of [tool.leaksafe.scan] must be a table")
        table = cast("dict[str, object] | None", below)
    return table


def _checked(name: str, given: Sequence[str]) -> tuple[str, ...]:
    if name == "exclude":
        for pattern in given:
            try:
                PurePath("any").match(pattern)
            except ValueError:
                raise SettingsError(
                    f"{pattern!r} excludes nothing: give a name or a path"
                ) from None
    else:
        for code in given:
            if not code or not any(known.startswith(code) for known in RULES):
                choices = ", ".join(known for known in RULES if known != UNREADABLE.code)
                raise SettingsError(f"no rule is called {code!r}, there are {choices}")
    return tuple(given)
