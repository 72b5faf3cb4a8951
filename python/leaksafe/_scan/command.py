"""The command `leaksafe scan`."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self, TextIO

from leaksafe._scan import settings
from leaksafe._scan.files import EXCLUDED, python_files
from leaksafe._scan.finding import RULES, Finding
from leaksafe._scan.reports import FORMATS
from leaksafe._scan.scan import scan

_EPILOG = """\
rules:
{rules}

A finding is silenced on its line by `# noqa: LS001`, or by `# noqa` with all others.

settings, in pyproject.toml; what the command line says goes before them:
  [tool.leaksafe.scan]
  select = ["LS001", "LS004"]     # only these; default: all
  ignore = ["LS008"]              # all but these
  exclude = ["tests", "vendor"]   # names, ends of paths; * stands for any

exit status: 0 nothing found; 1 something found, or a file can't be read; 2 wrong arguments or
settings

examples:
  leaksafe scan src                        what leaks in src?
  leaksafe scan --select LS002,LS003 .     only methods with lru_cache
  leaksafe scan --format github src        annotations in a GitHub workflow
"""


def main(arguments: Sequence[str] | None = None, prog: str = "leaksafe scan") -> int:
    """Scan; return the exit status."""
    parser = _parser(prog)
    given = parser.parse_args(arguments)
    for path in given.paths:
        if not path.exists():
            parser.error(f"there is no {path}")
    try:
        file = given.config or settings.find(given.paths)
        wanted = settings.read(file) if file else settings.Settings()
        wanted = wanted.with_(select=given.select, ignore=given.ignore, exclude=given.exclude)
    except settings.SettingsError as error:
        parser.error(str(error))
    findings: list[Finding] = []
    try:
        with _Progress(sys.stderr) as progress:
            files = python_files(given.paths, wanted.exclude)
            findings = scan(files, wanted.wants, progress.step)
        output = FORMATS[given.format](findings, progress.files)
        if output:
            _write(output)
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our lines has gone
        # or the interpreter would try again when it ends
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1 if findings else 0


def _write(text: str) -> None:
    encoding = sys.stdout.encoding or "utf-8"
    # a name of a file may be in no encoding at all
    print(text.encode(encoding, "backslashreplace").decode(encoding), flush=True)


class _Progress:
    """A line on a terminal that says how far it is, once it takes more than a moment."""

    def __init__(self, stream: TextIO | None) -> None:
        self.files = 0
        self._stream = stream if stream is not None and stream.isatty() else None
        self._due = time.monotonic() + 1
        self._drawn = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._drawn and self._stream:
            print("\r\x1b[K", end="", file=self._stream, flush=True)

    def step(self, file: str) -> None:
        """Note that a file comes next."""
        self.files += 1
        if self._stream and time.monotonic() >= self._due:
            self._due = time.monotonic() + 0.1
            self._drawn = True
            line = f"scanned {self.files:,} files, now {file}"
            width = os.get_terminal_size(self._stream.fileno()).columns or 80
            print(f"\r\x1b[K{line[: width - 1]}", end="", file=self._stream, flush=True)


def _parser(prog: str) -> argparse.ArgumentParser:
    rules = "\n".join(f"  {rule.code}  {rule.summary}" for rule in RULES.values())
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Find code that leaks. It is read, and none of it is run.",
        epilog=_EPILOG.format(rules=rules),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "paths", nargs="*", type=Path, default=[Path()], metavar="PATH",
        help="files, or directories with all below them (default: the current one)",
    )  # fmt: skip
    parser.add_argument(
        "--select",
        type=_listed,
        metavar="CODES",
        help="only these rules: LS001,LS004 (default: all)",
    )
    parser.add_argument("--ignore", type=_listed, metavar="CODES", help="all rules but these")
    parser.add_argument(
        "--exclude", type=_listed, metavar="PATTERNS",
        help=f"what to leave out below PATH, besides {', '.join(EXCLUDED)}",
    )  # fmt: skip
    parser.add_argument(
        "--format", choices=list(FORMATS), default="text", help="how to print (default: text)"
    )
    parser.add_argument(
        "--config", type=Path, metavar="FILE",
        help="a pyproject.toml (default: the nearest above PATH that has settings for this)",
    )  # fmt: skip
    return parser


def _listed(text: str) -> list[str]:
    return [part.strip() for part in text.split(",") if part.strip()]
