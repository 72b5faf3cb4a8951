"""The command line of the demo."""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from leaksafe.demo import finding, page
from leaksafe.demo.act import Act, DemoError, Options, Run
from leaksafe.demo.acts import ACTS
from leaksafe.demo.measure import measuring
from leaksafe.demo.plain import Plain
from leaksafe.demo.show import Show


def main(arguments: Sequence[str] | None = None, prog: str = "python -m leaksafe.demo") -> int:
    """Run the demo; return the exit status. Help calls it `prog`."""
    parser = _parser(prog)
    given = parser.parse_args(arguments)
    target: Path = given.html
    if target.is_dir() or not target.absolute().parent.is_dir():
        parser.error(f"argument --html: can't write a file at {target}")
    options = Options(lookups=given.lookups, maxsize=given.maxsize)
    try:
        with (
            _show(plain=given.plain) as show,
            tempfile.TemporaryDirectory(prefix="leaksafe-demo-") as scratch,
        ):
            runs = [_run(act, options, Path(scratch), show) for act in ACTS]
            parts = [_look(run, show) for run in runs]
            target.write_text(page.render(parts), encoding="utf-8")
            show.say(f"page: {target}")
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # whoever read our lines has gone
        return 1
    except (DemoError, OSError) as error:
        print(f"leaksafe.demo: {error}", file=sys.stderr)
        return 1
    return 0


def _run(act: Act, options: Options, scratch: Path, show: Show) -> Run:
    place = scratch / type(act).__name__
    place.mkdir()
    run = Run(act, act.prepare(options, place, show.preparing))
    show.start(run)
    with measuring(act, run.job) as reports:
        for side, sample in reports:
            run.samples[side].append(sample)
            show.update(run, side)
    show.finish(run)
    return run


def _look(run: Run, show: Show) -> page.Part:
    found = None
    if run.act.leaves:
        show.say(f"leaks.check looks at the leaky version of: {run.act.title}")
        found = finding.find(run.act, run.job)
        for line in finding.lines(found):
            show.say(f"  {line}")
    return page.Part(run.chart(), run.act.meaning(run), found)


def _show(*, plain: bool) -> Show:
    if plain or os.environ.get("CI") or sys.stdout is None or not sys.stdout.isatty():
        return Plain()
    try:
        # An extra, and nothing that the measured processes, which import this module, should load.
        from rich.console import Console  # noqa: PLC0415

        from leaksafe.demo.screen import Screen  # noqa: PLC0415
    except ImportError:
        return Plain()
    console = Console()
    if console.is_dumb_terminal or not console.encoding.lower().startswith("utf"):
        return Plain()
    return Screen(console)


def _parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog,
        description="Show everyday leaks beside their replacements, measured live on real input.",
    )
    parser.add_argument(
        "--lookups",
        type=_at_least(1),
        metavar="N",
        help="stop after N look-ups (default: all there are)",
    )
    parser.add_argument(
        "--maxsize",
        type=_at_least(0),
        default=50_000,
        metavar="N",
        help="bound of the LRUCache (default: %(default)s)",
    )
    parser.add_argument(
        "--html",
        type=Path,
        default=Path("leaksafe-demo.html"),
        metavar="PATH",
        help="the page to write (default: %(default)s)",
    )
    parser.add_argument(
        "--plain", action="store_true", help="print plain lines, also in a terminal"
    )
    return parser


def _at_least(least: int) -> Callable[[str], int]:
    def whole_number(text: str) -> int:  # the name is part of argparse's message
        number = int(text)
        if not least <= number <= sys.maxsize:
            raise argparse.ArgumentTypeError(f"must be from {least} to {sys.maxsize}, not {number}")
        return number

    return whole_number


if __name__ == "__main__":
    sys.exit(main())
