"""Runs every case on every library, each in a process of its own, and writes the table."""

import argparse
import platform
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from safety import arguments, callbacks, calls, memory
from safety.case import FailsError
from safety.contestants import CONTESTANTS, Contestant, NotOfferedError

Case = Callable[[Contestant], None]

CASES: dict[str, Case] = {
    case.__name__: case for module in (memory, callbacks, calls, arguments) for case in module.CASES
}
LIMIT = 20
FINE, NOT_OFFERED = "fine", "–"
PAGE = Path(__file__).resolve().parent.parent / "docs" / "safety.md"
HEAD = """\
# What goes wrong elsewhere

Each row is something that services run into sooner or later; each cell is what a library did when
it was tried, in a process of its own, on CPython {python}, {system}. "hangs" is no progress for
{limit} s, "–" that the library has no such thing. `make safety` runs it all again and writes this
page, which takes some minutes; `make test` runs our own column.

"""


def verdict(case: Case, peer: Contestant) -> str:
    """Say in a few words what the case found, in this process."""
    try:
        case(peer)
    except NotOfferedError:
        return NOT_OFFERED
    except FailsError as error:
        return str(error)
    except BaseException as error:
        return type(error).__name__
    return FINE


def tried(case: str, peer: Contestant) -> str:
    """Say what the case found, in a process of its own."""
    command = [sys.executable, "-m", "safety", "--case", case, "--of", peer.name]
    try:
        ended = subprocess.run(
            command, capture_output=True, text=True, timeout=LIMIT, check=False, cwd=PAGE.parents[1]
        )
    except subprocess.TimeoutExpired:
        return "hangs"
    if ended.returncode < 0:
        return signal.Signals(-ended.returncode).name
    said = ended.stdout.strip().splitlines()
    return said[-1] if said else f"exit {ended.returncode}"


def table(rows: Iterable[tuple[Case, Sequence[str]]], peers: Sequence[Contestant]) -> str:
    """Return the page."""
    page = HEAD.format(python=platform.python_version(), system=platform.system(), limit=LIMIT)
    heads = [f"{peer.name} {peer.version}".strip() for peer in peers]
    page += "| case | " + " | ".join(heads) + " |\n" + "|---" * (len(peers) + 1) + "|\n"
    for case, cells in rows:
        page += f"| {case.__doc__} | " + " | ".join(cells) + " |\n"
    return page


def main() -> int:
    """Run what is asked for, or everything."""
    parser = argparse.ArgumentParser(prog="make safety", description=__doc__)
    parser.add_argument("--case", choices=CASES, help="this case only")
    parser.add_argument(
        "--of", choices=[peer.name for peer in CONTESTANTS], help="this library only"
    )
    options = parser.parse_args()
    peers = [peer for peer in CONTESTANTS if options.of in (None, peer.name)]
    cases = [name for name in CASES if options.case in (None, name)]
    if options.case and options.of:
        print(verdict(CASES[options.case], peers[0]), flush=True)
        return 0
    for peer in peers:
        try:
            _ = peer.version
        except PackageNotFoundError:
            parser.error(f"{peer.name} is not installed: make .venv/.group-bench")
    rows: list[tuple[Case, list[str]]] = []
    for name in cases:
        cells = [tried(name, peer) for peer in peers]
        rows.append((CASES[name], cells))
        bad = {
            peer.name: cell
            for peer, cell in zip(peers, cells, strict=True)
            if cell not in (FINE, NOT_OFFERED)
        }
        said = ", ".join(f"{name}: {cell}" for name, cell in bad.items())
        print(f"{CASES[name].__doc__}: {said or FINE}", flush=True)
    if not options.case and not options.of:
        PAGE.write_text(table(rows, peers))
    ours = [cells[0] for _, cells in rows if peers[0].name == "leaksafe"]
    return int(any(cell not in (FINE, NOT_OFFERED) for cell in ours))


if __name__ == "__main__":
    sys.exit(main())
