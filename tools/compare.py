"""Times the hottest paths of this tree against those of another revision, in turns.

    make bench-compare REV=main~1 [ARGS="--rounds 21"]

The other revision is built once, in target/compare. Each round starts a process for either, every
other round in the other order; a figure is the median of the ratios of the rounds, with quartiles.
Below 1.00 this tree is faster. With valgrind, the instructions of both stand beside.
"""

import argparse
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path
from statistics import median, quantiles

from instructions import PATHS, ROOT, count, source

WORK = ROOT / "target" / "compare"
MORE: dict[str, tuple[str, str]] = {
    "LRUCache get": (
        "from leaksafe import LRUCache as C; c = C(2000); c.update(pairs)",
        "c.get(k)",
    ),
    "LRUCache miss": ("from leaksafe import LRUCache as C; c = C(2000)", "c.get(k)"),
    "LRUCache replace": (
        "from leaksafe import LRUCache as C; c = C(2000); c.update(pairs)",
        "c[k] = k",
    ),
    "lru_cache hit, two arguments": (
        "from leaksafe import lru_cache; f = lru_cache(2000)(lambda a, b: a)",
        "f(k, k)",
    ),
    "cached hit": ("from leaksafe import cached; f = cached(maxsize=2000)(lambda k: k)", "f(k)"),
}
TIMED = """
from time import thread_time_ns as clock
def timed(passes):
    start = clock(); work(passes)
    return clock() - start
passes = 1
while (taken := timed(passes)) < 5_000_000: passes *= 2
print(min(timed(passes) for _ in range(5)) / passes / len(keys))
"""


def built(revision: str) -> Path:
    """Return the directory from which a revision can be imported; builds it where it isn't yet."""
    named = subprocess.run(
        ["git", "rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if named.returncode:
        sys.exit(f"compare: {revision} is no revision of this repository")
    commit = named.stdout.strip()
    place = WORK / commit
    if place.exists():
        return place
    tree, wheels, unpacked = WORK / "tree", WORK / "wheels", WORK / "unpacked"
    for left in (tree, wheels, unpacked):
        shutil.rmtree(left, ignore_errors=True)
    tree.mkdir(parents=True)
    archive = subprocess.run(
        ["git", "archive", commit], cwd=ROOT, stdout=subprocess.PIPE, check=True
    )
    subprocess.run(["tar", "-x"], cwd=tree, input=archive.stdout, check=True)
    print(f"compare: {revision} is built", flush=True)
    maturin = [sys.executable, "-m", "maturin", "build", "--release", "-i", sys.executable]
    subprocess.run(
        [*maturin, "--out", str(wheels)],
        cwd=tree,
        env=os.environ | {"CARGO_TARGET_DIR": str(WORK / "cargo")},
        check=True,
    )
    with zipfile.ZipFile(next(wheels.glob("*.whl"))) as wheel:
        wheel.extractall(unpacked)
    unpacked.rename(place)
    return place


def nanoseconds(place: Path, path: tuple[str, str]) -> float:
    """Return the time of one operation, its loop included, in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-c", source(*path) + TIMED],
        env=os.environ | {"PYTHONPATH": str(place), "PYTHONDONTWRITEBYTECODE": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        sys.exit(f"compare: {place}: {done.stderr}")
    return float(done.stdout)


def main() -> None:
    """Print a line a path."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("revision", help="what to compare with, as git names it: main, HEAD~1, …")
    parser.add_argument("--rounds", type=int, default=11)
    options = parser.parse_args()
    sides = [ROOT / "python", built(options.revision)]
    counts = shutil.which("valgrind") is not None
    print(f"{'':<30}{'this, ns':>10}{'ratio':>8}  quartiles     instructions")
    for name, path in (PATHS | MORE).items():
        times: dict[Path, list[float]] = {side: [] for side in sides}
        for round_ in range(max(2, options.rounds)):
            for side in sides[:: -1 if round_ % 2 else 1]:
                times[side].append(nanoseconds(side, path))
        ours, theirs = times.values()
        ratios = [a / b for a, b in zip(ours, theirs, strict=True)]
        low, mid, high = quantiles(ratios, n=4, method="inclusive")
        line = f"{name:<30}{median(ours):>10.1f}{mid:>8.2f}  {low:.2f} to {high:.2f}"
        if counts:
            now, before = (count(*path, side) for side in sides)
            line += f"  {before:8.1f} → {now:.1f} ({now / before - 1:+.1%})"
        print(line, flush=True)


if __name__ == "__main__":
    main()
