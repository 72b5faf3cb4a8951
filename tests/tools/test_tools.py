"""What the memory tools see of each structure, and that docs/tools.md shows just that."""

from __future__ import annotations

import gc
import re
import statistics
import sys
from pathlib import Path
from typing import Any

import pytest

from isolated import FREE_THREADED, resident, run

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "tools.md"
NAMES = ["gc", "objgraph", "pympler", "muppy", "heapy", "memory_profiler", "tracemalloc"]
STRUCTURES = [
    "LRUCache",
    "TTLCache",
    "lru_cache",
    "lru_cache of a method",
    "ttl_cache",
    "cached",
    "cached with a cache",
    "WeakCache",
    "Registry",
    "LazyObjects",
    "WeakValueDictionary",
    "WeakKeyDictionary",
    "WeakIdDictionary",
    "WeakSet",
    "WeakList",
]

pytestmark = [
    pytest.mark.thread_unsafe(reason="runs processes of its own"),
    pytest.mark.skipif(
        FREE_THREADED or sys.version_info >= (3, 14), reason="guppy3 is not installed here"
    ),
]


def shown(tool: str) -> str:
    result = run([str(HERE / "show.py"), tool], limit=60, flags=["-W", "default"])
    assert result.code == 0, result.report(tool)
    return result.stdout


def masked(text: str) -> list[str]:
    """Without figures and the spaces around them, which vary."""
    return [re.sub(r"\s*\d+(\.\d+)?\s*", " # ", line).rstrip() for line in text.splitlines()]


@pytest.mark.parametrize("tool", NAMES)
def test_the_page_shows_what_the_tool_says(tool: str) -> None:
    page = PAGE.read_text(encoding="utf-8")
    found = re.search(rf"<!-- {tool} -->\n```text\n(.*?)```", page, re.DOTALL)
    assert found, f"{PAGE.name} has no output of {tool}"
    output = shown(tool)
    assert masked(found[1]) == masked(output)
    if tool in ("muppy", "heapy"):
        seen = re.findall(r"^.{22} *(\d+)", output, re.MULTILINE)
        assert seen == ["1000"] * 10, output
    if tool == "memory_profiler":
        *_, last = output.splitlines()
        assert float(last.split()[3]) < 1, output


# The tables go back to the system as they grow, and measuring needs what is in tests/.
ENVIRONMENT = {"MALLOC_MMAP_THRESHOLD_": "131072", "PYTHONPATH": str(HERE.parent)}


def ratio(name: str) -> float:
    """What asizeof says, against what the process grew by."""
    result = run([__file__, name], limit=60, env=ENVIRONMENT)
    assert result.code == 0, result.report(name)
    return float(result.stdout)


@pytest.mark.skipif(not resident(), reason="the system doesn't tell what is resident")
@pytest.mark.parametrize("name", STRUCTURES)
def test_asizeof_is_the_resident_truth(name: str) -> None:
    """Within a tenth; the middle of three runs where the first is off."""
    measured = [ratio(name)]
    if not 0.9 < measured[0] < 1.1:
        measured += [ratio(name), ratio(name)]
    assert 0.9 < statistics.median(measured) < 1.1, measured


def measure(name: str) -> None:
    sys.path.insert(0, str(HERE))
    from pympler import asizeof
    from structures import STRONG, WEAK, Thing

    # A power of two: no table has room that nobody has touched yet.
    things = [Thing(number) for number in range(65_536)]
    gc.collect()
    before = resident()
    held: Any = {**STRONG, **WEAK}[name](things)
    gc.collect()
    grown = resident() - before
    weigh: Any = asizeof.asizeof
    print((weigh(things, held) - weigh(things)) / grown)


if __name__ == "__main__":
    measure(sys.argv[1])
