"""The command line: what to measure, how long, and where to put the figures."""

import argparse
import json
import os
import platform
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from benches import (
    cached,
    coroutines,
    expiry,
    fresh,
    functions,
    making,
    mapping,
    threads,
    weak,
    weighing,
)
from benches import page as pages
from benches.measure import Settings, pin
from benches.peers import Peer, load
from benches.table import Section, render, summary

Suite = Callable[[str, dict[str, Peer], Settings], Section]

# A later structure adds its module here, with the sections it can measure.
SUITES: dict[str, Suite] = {
    **dict.fromkeys(mapping.OPERATIONS, mapping.section),
    **dict.fromkeys(functions.CALLS, functions.section),
    **dict.fromkeys(fresh.MEASURES, fresh.section),
    **dict.fromkeys(weighing.MEASURES, weighing.section),
    **dict.fromkeys(threads.SCALING, threads.section),
    **dict.fromkeys((*weak.OPERATIONS, *weak.MEASURES), weak.section),
    **dict.fromkeys(expiry.EXPIRY, expiry.section),
    # In this order: with cached coroutines in a process, each miss costs more.
    **dict.fromkeys(cached.CACHED, cached.section),
    **dict.fromkeys(making.MAKING, making.section),
    **dict.fromkeys(coroutines.CASES, coroutines.section),
}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benches", description=__doc__)
    parser.add_argument(
        "--only",
        metavar="NAME",
        action="append",
        choices=SUITES,
        help=f"one of {', '.join(SUITES)}; may be repeated",
    )
    parser.add_argument(
        "--quick",
        action="store_true",
        help="fewer and shorter rounds: for a look, not for a verdict",
    )
    parser.add_argument("--json", metavar="PATH", type=Path, help="write the figures there as well")
    parser.add_argument(
        "--page", metavar="PATH", type=Path, help="write a page there, and its chart beside it"
    )
    return parser.parse_args()


def conditions(peers: dict[str, Peer], settings: Settings, cpu: int | None) -> dict[str, str]:
    gil = "on" if getattr(sys, "_is_gil_enabled", lambda: True)() else "off"
    return {
        "python": f"{platform.python_implementation()} {platform.python_version()}, GIL {gil}",
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs, "
        + ("not pinned" if cpu is None else f"pinned to CPU {cpu}"),
        "versions": ", ".join(
            f"{peer.name} {peer.version}" for peer in peers.values() if peer.version
        ),
        "rounds": str(settings),
    }


def measured(names: list[str], peers: dict[str, Peer], settings: Settings) -> Iterator[Section]:
    for name in names:
        yield SUITES[name](name, peers, settings)


def main() -> None:
    options = arguments()
    settings = Settings.quick() if options.quick else Settings()
    cpu = pin()
    peers, missing = load()

    about = conditions(peers, settings, cpu)
    for key, value in about.items():
        print(f"{key:9} {value}")
    for line in missing:
        print(f"{'missing':9} {line}")

    sections = []
    for section in measured(options.only or list(SUITES), peers, settings):
        sections.append(section)
        print("\n" + render(section), flush=True)
    print("\n" + summary(sections))

    if options.json is not None:
        figures = {
            **about,
            "missing": missing,
            "sections": [section.as_json() for section in sections],
        }
        options.json.write_text(
            json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
    if options.page is not None:
        drawing = options.page.with_suffix(".svg")
        drawing.write_text(pages.chart(sections), encoding="utf-8")
        options.page.write_text(pages.page(about, sections, drawing.name), encoding="utf-8")


if __name__ == "__main__":
    main()
