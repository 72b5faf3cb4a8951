"""The input: identifiers of the standard library's own source, in the order of their mention.

A regular expression finds them, so words in comments and strings count as well; keywords don't.
"""

from __future__ import annotations

import keyword
import re
import sysconfig
import tokenize
from collections.abc import Iterator
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import NamedTuple

from leaksafe.demo.act import DemoError, Progress

# No digit begins one, and what follows a backslash is an escape ("\n"), not a name.
_IDENTIFIER = re.compile(r"(?<!\\)\b(?!\d)\w+")
_KEYWORDS = frozenset(keyword.kwlist)
_INSTALLED = {"site-packages", "dist-packages"}
_LINE = 1000


class Source(NamedTuple):
    """How much was found."""

    files: int
    pairs: int


def write_identifiers(
    target: Path, limit: int | None, progress: Progress, root: Path | None = None
) -> Source:
    """Write the identifiers to `target`, until they make `limit` pairs of consecutive ones."""
    root = root or Path(sysconfig.get_path("stdlib"))
    paths = sorted(path for path in root.rglob("*.py") if _INSTALLED.isdisjoint(path.parts))
    files = pairs = 0
    with target.open("w", encoding="utf-8") as out:
        for number, path in enumerate(paths, 1):
            words = _identifiers(path)
            if limit is not None:
                del words[limit - pairs + 1 :]
            if len(words) > 1:
                files += 1
                pairs += len(words) - 1
                out.writelines(_lines(words))
            progress(number, len(paths))
            if pairs == limit:
                break
    if not pairs:
        raise DemoError(f"no Python source found in {root}")
    return Source(files, pairs)


def read_pairs(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the pairs that `write_identifiers` wrote, holding one line at a time."""
    with path.open(encoding="utf-8") as lines:
        yield from chain.from_iterable(pairwise(line.split()) for line in lines)


def read_pages(path: Path) -> Iterator[list[str]]:
    """Yield the second words of the pairs, up to a thousand at a time."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            yield line.split()[1:]


def chunks(pairs: Iterator[tuple[str, str]], size: int) -> Iterator[list[tuple[str, str]]]:
    """Yield the pairs in lists of `size`; the last may be shorter."""
    while chunk := list(islice(pairs, size)):
        yield chunk


def _identifiers(path: Path) -> list[str]:
    try:
        with tokenize.open(path) as file:  # heeds the coding line
            text = file.read()
    except (
        SyntaxError,
        UnicodeError,
        OSError,
    ):  # the test suite keeps files that are wrong on purpose
        return []
    return [word for word in _IDENTIFIER.findall(text) if word not in _KEYWORDS]


def _lines(words: list[str]) -> Iterator[str]:
    # Short lines, so that reading them back doesn't show in the memory that is measured;
    # each begins with the last word of the one before, so that no pair is lost.
    for start in range(0, len(words) - 1, _LINE):
        yield " ".join(words[start : start + _LINE + 1]) + "\n"
