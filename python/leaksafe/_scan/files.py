"""Which files are scanned."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path

EXCLUDED = (
    "__pycache__", "build", "dist", "node_modules", "site-packages", "venv", ".*", "*.egg-info",
)  # fmt: skip
"""What is left out below a directory, whatever the settings say."""
_SUFFIX = ".py"


def python_files(paths: Iterable[Path], exclude: Iterable[str]) -> Iterator[Path]:
    """Yield the files named, and those below the directories named, each once and in order.

    A pattern of `exclude` is a name of a file or directory, or the end of its path.
    """
    patterns = (*EXCLUDED, *exclude)
    seen: set[Path] = set()
    for path in paths:
        for file in _below(path, patterns) if path.is_dir() else (path,):
            if file not in seen:
                seen.add(file)
                yield file


def _below(top: Path, patterns: tuple[str, ...]) -> Iterator[Path]:
    for where, directories, files in os.walk(top):
        here = Path(where)
        directories[:] = sorted(name for name in directories if not _matches(here / name, patterns))
        for name in sorted(files):
            if name.endswith(_SUFFIX) and not _matches(here / name, patterns):
                yield here / name


def _matches(path: Path, patterns: tuple[str, ...]) -> bool:
    return any(path.absolute().match(pattern) for pattern in patterns)
