"""Counts the instructions of the hottest paths under valgrind, and compares them with before.

    python tools/instructions.py [--write]

A count says the same whatever else the machine does. It is that of one interpreter and one
compiler, so benches/instructions.json has them by both; where these differ, there is nothing to
compare.
"""

import argparse
import json
import os
import platform
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
BASELINES = ROOT / "benches" / "instructions.json"
MOST = 1.03
"""More than 3 % above what was noted fails."""
TIMES = 20_000

# What is made, and what is done with each of a thousand keys.
PATHS: dict[str, tuple[str, str]] = {
    "LRUCache hit": ("from leaksafe import LRUCache as C; c = C(2000); c.update(pairs)", "c[k]"),
    "LRUCache insert and evict": ("from leaksafe import LRUCache as C; c = C(500)", "c[k] = k"),
    "TTLCache hit": (
        "from leaksafe import TTLCache as C; c = C(2000, 9e9); c.update(pairs)",
        "c[k]",
    ),
    "lru_cache hit": ("from leaksafe import lru_cache; f = lru_cache(2000)(lambda k: k)", "f(k)"),
    "WeakValueDictionary hit": (
        """from leaksafe import WeakValueDictionary as C
class V: 0
v = [V() for k in keys]
c = C(zip(keys, v))""",
        "c[k]",
    ),
}


def source(setup: str, operation: str) -> str:
    """Return a program in which `work(passes)` does something with each of a thousand keys."""
    return (
        "import gc; gc.disable()\n"
        "keys = [str(i) for i in range(1000)]; pairs = dict.fromkeys(keys)\n"
        f"{setup}\n"
        f"def work(passes):\n for _ in range(passes):\n  for k in keys: {operation}\n"
        "work(2)\n"
    )


def _executed(program: str, place: Path) -> int:
    valgrind = [
        "valgrind",
        "--tool=cachegrind",
        "--cache-sim=no",
        "--cachegrind-out-file=/dev/null",
    ]
    apart = {
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(place),
    }
    done = subprocess.run(
        [*valgrind, sys.executable, "-c", program],
        env=os.environ | apart,
        capture_output=True,
        text=True,
        check=False,
    )
    found = re.search(r"I\s+refs:\s+([\d,]+)", done.stderr)
    if done.returncode or found is None:
        sys.exit(f"instructions: {done.stderr}")
    return int(found[1].replace(",", ""))


def count(setup: str, operation: str, place: Path = ROOT / "python") -> float:
    """Return the instructions of one operation, its loop included, of the library at a place."""
    program, passes = source(setup, operation), TIMES // 1000
    once, twice = (_executed(f"{program}work({n * passes})", place) for n in (1, 2))
    return round((twice - once) / TIMES, 1)


def builders() -> str:
    """Return what the counts depend on beside our code."""
    rustc = subprocess.run(["rustc", "--version"], capture_output=True, text=True, check=True)
    python = f"{platform.python_implementation()} {platform.python_version()}"
    compilers = f"{platform.python_compiler()}, {' '.join(rustc.stdout.split()[:2])}"
    return f"{python} ({platform.machine()}, {compilers})"


def main() -> int:
    """Return 1 where a path has become longer."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--write", action="store_true", help="note the counts as they are now")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        print("skipped: no valgrind here")
        return 0
    known: dict[str, dict[str, float]] = json.loads(BASELINES.read_text(encoding="utf-8"))
    key = builders()
    if not options.write and key not in known:
        print(f"skipped: no counts are noted for {key}")
        return 0
    now = {name: count(*path) for name, path in PATHS.items()}
    before = known.get(key, {})
    longer = [name for name in now if now[name] > MOST * before.get(name, now[name])]
    for name, number in now.items():
        change = f"{number / before[name] - 1:+.1%}" if name in before else "new"
        print(f"{name:<28}{number:>8.1f} {change:>7}{'  longer' if name in longer else ''}")
    if options.write:
        BASELINES.write_text(json.dumps(known | {key: now}, indent=2) + "\n", encoding="utf-8")
        return 0
    return 1 if longer else 0


if __name__ == "__main__":
    sys.exit(main())
