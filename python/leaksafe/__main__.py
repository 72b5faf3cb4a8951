"""The command line: `leaksafe`, or `python -m leaksafe`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from typing import NamedTuple

from leaksafe import __version__


class Command(NamedTuple):
    """A subcommand. What it needs is imported when it runs."""

    summary: str
    main: Callable[[Sequence[str]], int]


def _demo(arguments: Sequence[str]) -> int:
    from leaksafe.demo.__main__ import main  # noqa: PLC0415

    return main(arguments, "leaksafe demo")


def _scan(arguments: Sequence[str]) -> int:
    from leaksafe._scan.command import main  # noqa: PLC0415

    return main(arguments, "leaksafe scan")


def _run(arguments: Sequence[str]) -> int:
    from leaksafe.leaks._command import run  # noqa: PLC0415

    return run(arguments)


def _census(arguments: Sequence[str]) -> int:
    from leaksafe.leaks._command import show_census  # noqa: PLC0415

    return show_census(arguments)


COMMANDS = {
    "demo": Command("watch everyday leaks beside their cures, measured live", _demo),
    "scan": Command("find code that leaks, by reading it: leaksafe scan src", _scan),
    "run": Command("run a program, and report what outlives it: leaksafe run script.py", _run),
    "census": Command("run a program, and show the caches that it ends with", _census),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a subcommand; return the exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if given and given[0] in COMMANDS:
        return COMMANDS[given[0]].main(given[1:])
    parser = _parser()
    parser.parse_args(given)  # says what is wrong with it, or what was asked for
    parser.print_help()
    return 0


def _parser() -> argparse.ArgumentParser:
    commands = "\n".join(f"  {name:<8}{one.summary}" for name, one in COMMANDS.items())
    parser = argparse.ArgumentParser(
        prog="leaksafe",
        usage="leaksafe COMMAND ...",
        description="Data structures that cannot leak, and the means to see what does.",
        epilog=f"commands:\n{commands}\n\nleaksafe COMMAND --help says more about each.",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"leaksafe {__version__}")
    parser.add_argument("command", nargs="?", choices=COMMANDS, help=argparse.SUPPRESS)
    return parser


if __name__ == "__main__":
    sys.exit(main())
