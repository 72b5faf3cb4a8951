"""The commands `leaksafe run` and `leaksafe census`."""

from __future__ import annotations

import argparse
import gc
import json
import sys
import tracemalloc
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from leaksafe import Living, census
from leaksafe.leaks._check import check
from leaksafe.leaks._program import Program, ProgramError, note
from leaksafe.leaks._repeat import classes
from leaksafe.leaks._report import Report

_RUN = """\
what counts:
  What the main part of the program makes, and what is still held when it has ended. The main part
  is what comes after the last import, function and class at the top level of the script, most
  often `if __name__ == "__main__": main()`. What imports and definitions make doesn't count, nor
  do modules that are imported later.

  A global of the script counts, as that is what a service would hold for as long as it runs. What a
  function of the script has for itself does not: it is gone when the function ends.

  Threads are waited for, as by python; Ctrl-C reports what is there by then. What daemon threads
  and `atexit` callbacks hold counts, with their names.

exit status: the program's own; 2 wrong arguments

examples:
  leaksafe run script.py --its-option      report to stderr when it has ended
  leaksafe run -m package                  as python -m package
  leaksafe run --lines script.py           also where each thing was made (slower)
  leaksafe run --json --report leaks.json script.py
  leaksafe run --html --report leaks.html script.py

What grows with each call, rather than once, is found by leaksafe.leaks.repeat.
"""
_CENSUS = """\
A cache is an LRUCache, TTLCache or WeakCache, or a function that leaksafe decorates. Each is shown
with its entries, bound, share of hits, how many entries have left, and where it was made: one of
many entries, no bound and few hits is a leak. Objects are what the garbage collector tracks.

exit status: the program's own; 2 wrong arguments

examples:
  leaksafe census script.py --its-option
  leaksafe census --classes 0 -m package   only the caches
  leaksafe census --json script.py
"""


def run(arguments: Sequence[str] | None = None, prog: str = "leaksafe run") -> int:
    """Run a program, and report what outlives its main part; return its exit status."""
    parser = _parser(prog, "Run a program, and report what outlives it, held by whom.", _RUN)
    parser.add_argument(
        "--lines", action="store_true", help="also the lines that made it, by tracemalloc (slower)"
    )
    parser.add_argument(
        "--html", action="store_true", help="as one page for a browser, with the graph of holders"
    )
    given = parser.parse_args(arguments)
    if given.html and given.json:
        parser.error("argument --html: not allowed with argument --json")
    program = _program(parser, given)
    found = check()
    began = False

    def begin() -> None:
        nonlocal began
        if given.lines:
            tracemalloc.start()
        found.__enter__()
        began = True

    status = program.run(begin)
    note("looking for what outlives the program")
    found.__exit__()
    if not began:
        print("leaksafe: it ended before its main part: nothing to report", file=sys.stderr)
    report = found.report() if began else Report([], [], [])
    text = report.html() if given.html else report.to_json() if given.json else str(report)
    _write(given.report, text)
    return status


def show_census(arguments: Sequence[str] | None = None, prog: str = "leaksafe census") -> int:
    """Run a program, and show its caches and objects at its end; return its exit status."""
    parser = _parser(
        prog, "Run a program, and show which caches and how many objects it ends with.", _CENSUS
    )
    parser.add_argument(
        "--classes", type=_count, default=10, metavar="N",
        help="the N classes with the most objects (default: %(default)s)",
    )  # fmt: skip
    given = parser.parse_args(arguments)
    program = _program(parser, given)
    census(where=True)
    status = program.run(lambda: None)
    note("counting objects")
    gc.collect()
    counts = sorted(classes().items(), key=lambda pair: (-pair[1], pair[0]))[: given.classes]
    if given.json:
        caches = [one._asdict() for one in census()]
        text = json.dumps({"caches": caches, "classes": dict(counts)}, ensure_ascii=False)
    else:
        lines = [_show(one) for one in census()] or ["no caches"]
        lines += [f"{count:,} {name}" for name, count in counts]
        text = "\n".join(lines)
    _write(given.report, text)
    return status


def _show(one: Living) -> str:
    bound = "no bound" if one.bound is None else f"bound {one.bound:,}"
    parts = [f"{one.name}: {one.entries:,} entries", bound]
    if one.weight != one.entries:
        parts.append(f"weight {one.weight:,}")
    if one.hit_ratio is not None:
        parts.append(f"{one.hit_ratio:.0%} hits")
    if one.removals:
        parts.append(f"{one.removals:,} removed")
    return ", ".join(parts) + (f" ({one.where})" if one.where else "")


def _program(parser: argparse.ArgumentParser, given: argparse.Namespace) -> Program:
    if given.module == [] or (given.module is None and given.script is None):
        parser.error("a script is missing, or -m and a module")
    if given.report is not None and (
        given.report.is_dir() or not given.report.absolute().parent.is_dir()
    ):
        parser.error(f"argument --report: can't write a file at {given.report}")
    # What runs may change the directory.
    given.report = given.report and given.report.absolute()
    try:
        if given.module:
            return Program(None, given.module[0], given.module[1:])
        return Program(given.script, None, given.arguments)
    except ProgramError as error:
        parser.error(str(error))
    except (SyntaxError, ValueError) as error:
        parser.error(f"can't be compiled: {error}")


def _write(file: Path | None, text: str) -> None:
    if file is not None:
        file.write_text(text + "\n", encoding="utf-8")
    else:
        with suppress(BrokenPipeError):  # whoever read our lines has gone
            print(text, file=sys.stderr, flush=True)


def _parser(prog: str, description: str, epilog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        usage=f"{prog} [options] (SCRIPT | -m MODULE) [argument ...]",
        description=description,
        epilog=epilog,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "script", nargs="?", metavar="SCRIPT",
        help="a file, or a directory or archive that has a __main__.py; what follows is for it",
    )  # fmt: skip
    parser.add_argument("arguments", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    parser.add_argument(
        "-m", dest="module", nargs=argparse.REMAINDER, metavar="MODULE",
        help="a module or package instead; what follows is for it",
    )  # fmt: skip
    parser.add_argument(
        "--report", type=Path, metavar="FILE", help="write there (default: to stderr)"
    )
    parser.add_argument("--json", action="store_true", help="as JSON, for programs")
    return parser


def _count(text: str) -> int:
    number = int(text)
    if number < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, not {number}")
    return number
