"""What can only be seen in a fresh process: resident memory, and what a collection costs.

`python -m benches.fresh MEASURE NAME ENTRIES` is that process; it prints one number.
"""

import gc
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import thread_time_ns

from benches.measure import Settings, Spread
from benches.peers import LOADERS, MIXED, OURS, REMEMBERING, TIMED, Peer
from benches.table import Row, Section, Target


def resident_bytes(peer: Peer, entries: int) -> float:
    """What an entry adds to resident memory, its key and value not counted."""
    keys = list(range(entries))
    values = list(range(entries, 2 * entries))
    gc.collect()
    before = resident()
    cache = peer.make(entries)
    peer.fill(cache, zip(keys, values, strict=True))
    return (resident() - before) / entries


def collection_ms(peer: Peer, entries: int) -> float:
    """What the entries add to a full collection.

    No list of the keys is alive meanwhile: the collection would go through that as well.
    """
    cache = peer.make(entries)
    empty = collection()
    peer.fill(cache, ((n, n) for n in range(entries)))
    return (collection() - empty) / 1e6


def resident() -> int:
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise OSError("no VmRSS in /proc/self/status")


def collection() -> float:
    gc.collect()
    gc.collect()
    times = []
    for _ in range(9):
        start = thread_time_ns()
        gc.collect()
        times.append(thread_time_ns() - start)
    return median(times)


@dataclass(frozen=True, slots=True)
class Measure:
    title: str
    how: str
    unit: str
    target: Target
    run: Callable[[Peer, int], float]
    loaders: dict[str, Callable[[], Peer]]
    over_dict: bool = False


MEASURES: dict[str, Measure] = {
    "memory": Measure(
        "resident memory, bytes an entry",
        "VmRSS before and after the fill; keys and values are there before",
        "1 byte",
        Target(48.0),
        resident_bytes,
        LOADERS,
    ),
    "call-memory": Measure(
        "resident memory of a decorated function, bytes a call with one argument",
        "VmRSS before and after the calls; arguments and results are there before",
        "1 byte",
        Target(60.0),
        resident_bytes,
        REMEMBERING,
    ),
    "ttl-memory": Measure(
        "resident memory of a TTLCache, bytes an entry, all of one lifetime",
        "VmRSS before and after the fill; keys and values are there before",
        "1 byte",
        Target(64.0),
        resident_bytes,
        TIMED,
    ),
    "mixed-memory": Measure(
        "resident memory of a TTLCache, bytes an entry, each with a lifetime of its own",
        "VmRSS before and after the fill; keys and values are there before",
        "1 byte",
        Target(80.0),
        resident_bytes,
        MIXED,
    ),
    "gc": Measure(
        "added to a full collection, ms over what a dict adds",
        "gc.collect() with the full cache less with the empty one, each a median of 9; "
        "then less the same of a dict",
        "1 ms",
        Target(1.0),
        collection_ms,
        LOADERS,
        over_dict=True,
    ),
}


def section(name: str, peers: dict[str, Peer], settings: Settings) -> Section:
    measure = MEASURES[name]
    figures: dict[str, list[float]] = {}
    notes: list[str] = []
    for peer in peers:
        if peer not in measure.loaders:
            continue
        try:
            figures[peer] = [
                _in_fresh_process(name, peer, settings.entries) for _ in range(settings.processes)
            ]
        except RuntimeError as error:  # the others are worth measuring all the same
            notes.append(f"{peer}: {error}")
    if measure.over_dict:
        base = median(figures.pop("dict"))
        notes.append(f"the dict adds {base:.2f} ms")
        figures = {peer: [value - base for value in values] for peer, values in figures.items()}
    spreads = {peer: Spread.of(values) for peer, values in figures.items()}
    workload = f"{settings.entries} int to int, {settings.processes} fresh process(es) each"
    row = Row(workload, "", measure.unit, spreads.pop(OURS, None), spreads, measure.target)
    return Section(name, measure.title, measure.how, [row], notes)


def _in_fresh_process(measure: str, peer: str, entries: int) -> float:
    command = [sys.executable, "-m", "benches.fresh", measure, peer, str(entries)]
    root = Path(__file__).resolve().parent.parent
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        raise RuntimeError(f"exit status {result.returncode}: {last}")
    return float(result.stdout)


if __name__ == "__main__":
    measure = MEASURES[sys.argv[1]]
    print(measure.run(measure.loaders[sys.argv[2]](), int(sys.argv[3])))
