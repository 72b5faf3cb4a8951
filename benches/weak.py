"""The weak containers against weakref's.

`python -m benches.weak MEASURE MODULE ENTRIES` measures what needs a fresh process; it prints one
number.
"""

import gc
import subprocess
import sys
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import median
from time import thread_time_ns as clock
from types import ModuleType
from typing import Any

import leaksafe
from benches.fresh import collection, resident
from benches.measure import Contestant, Loop, Settings, Spread, race, ratios
from benches.peers import OURS, Peer
from benches.table import Row, Section, Target

MODULES: dict[str, ModuleType] = {"weakref": weakref, OURS: leaksafe}


class Thing:
    pass


def subscript(subject: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            subject[k]
    return clock() - start


def get(subject: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            subject.get(k)
    return clock() - start


def contains(subject: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            k in subject  # noqa: B015
    return clock() - start


def iterate(subject: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _k in subject:
            pass
    return clock() - start


def fill(subject: Any, keys: Any, passes: int) -> int:
    cls, things = subject
    start = clock()
    for _ in range(passes):
        filled = cls()
        for k in keys:
            filled[k] = things[k]
    return clock() - start


def set_dying(subject: Any, keys: Any, passes: int) -> int:
    filled, thing = subject(), Thing
    start = clock()
    for _ in range(passes):
        for k in keys:
            filled[k] = thing()
    return clock() - start


def die_together(subject: Any, keys: Any, passes: int) -> int:
    taken = 0
    for _ in range(passes):
        things = [Thing() for _ in keys]
        filled = subject(zip(keys, things, strict=True))
        start = clock()
        del things
        taken += clock() - start
        assert len(filled) == 0
    return taken


def read(subject: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _k in keys:
            subject.owner  # noqa: B018
    return clock() - start


@dataclass(frozen=True, slots=True)
class Operation:
    title: str
    how: str
    base: str
    target: Target
    loop: Loop
    make: Callable[[str, list[Any], list[Thing]], Any]
    by_thing: bool = False
    large: bool = False


def _values(name: str, keys: list[Any], things: list[Thing]) -> Any:
    return MODULES[name].WeakValueDictionary(zip(keys, things, strict=True))


def _of(kind: str) -> Callable[[str, list[Any], list[Thing]], Any]:
    return lambda name, keys, things: getattr(MODULES[name], kind)


def _owned(name: str, keys: list[Any], things: list[Thing]) -> Any:
    class ByProperty:
        def __init__(self, owner: Thing) -> None:
            self._owner = weakref.ref(owner)

        @property
        def owner(self) -> Thing | None:
            return self._owner()

    class ByAttribute:
        owner = leaksafe.weakattr[Thing]()

        def __init__(self, owner: Thing) -> None:
            self.owner = owner

    return (ByAttribute if name == OURS else ByProperty)(things[0])


def _cached(name: str, keys: list[Any], things: list[Thing]) -> Any:
    kind: Any = leaksafe.WeakCache if name == OURS else leaksafe.LRUCache
    cache = kind(2 * len(keys))
    cache.update(zip(keys, things, strict=True))
    return cache


OPERATIONS: dict[str, Operation] = {
    "weak-subscript": Operation(
        "WeakValueDictionary, d[k]",
        "for k in keys: d[k], in random order",
        "weakref",
        Target(0.5),
        subscript,
        _values,
    ),
    "weak-get": Operation(
        "WeakValueDictionary, d.get(k)",
        "for k in keys: d.get(k), in random order",
        "weakref",
        Target(0.5),
        get,
        _values,
    ),
    "weak-set": Operation(
        "WeakValueDictionary, d[k] = v, a new key",
        "d = WeakValueDictionary(); for k in keys: d[k] = things[k]",
        "weakref",
        Target(0.3),
        fill,
        lambda name, keys, things: (
            MODULES[name].WeakValueDictionary,
            dict(zip(keys, things, strict=True)),
        ),
    ),
    "weak-set-dying": Operation(
        "WeakValueDictionary, d[k] = a value that dies at once",
        "for k in keys: d[k] = Thing()",
        "weakref",
        Target(0.35),
        set_dying,
        _of("WeakValueDictionary"),
    ),
    "weak-deaths": Operation(
        "WeakValueDictionary, all values die together",
        "del things, a list that alone holds all values; the release of the list is in it",
        "weakref",
        Target(0.35),
        die_together,
        _of("WeakValueDictionary"),
        large=True,
    ),
    "weak-iterate": Operation(
        "WeakValueDictionary, iteration",
        "for k in d: pass, an entry",
        "weakref",
        Target(0.5),
        iterate,
        _values,
    ),
    "weak-key": Operation(
        "WeakKeyDictionary, d[k]",
        "for k in things: d[k], in random order",
        "weakref",
        Target(0.35),
        subscript,
        lambda name, keys, things: MODULES[name].WeakKeyDictionary(dict.fromkeys(things, 1)),
        by_thing=True,
    ),
    "weak-in": Operation(
        "WeakSet, k in s",
        "for k in things: k in s, in random order",
        "weakref",
        Target(0.4),
        contains,
        lambda name, keys, things: MODULES[name].WeakSet(things),
        by_thing=True,
    ),
    "weakattr": Operation(
        "weakattr, a read",
        "car.owner   (property: over weakref.ref)",
        "property",
        Target(1.5),
        read,
        _owned,
    ),
    "weak-cache": Operation(
        "WeakCache, c[k], a hit",
        "for k in keys: c[k], in random order",
        "LRU",
        Target(1.5),
        subscript,
        _cached,
    ),
}


def section(name: str, peers: dict[str, Peer], settings: Settings) -> Section:
    if name in MEASURES:
        return _fresh_section(name, settings)
    operation = OPERATIONS[name]
    rows = []
    for size in (*settings.sizes, settings.entries) if operation.large else settings.sizes:
        stored = list(range(1_000_000, 1_000_000 + size))
        things = [Thing() for _ in stored]
        keys: list[Any] = list(things) if operation.by_thing else list(stored)
        if operation.loop in (subscript, get, contains):
            Random(0).shuffle(keys)
        contestants = [
            Contestant(who, operation.loop, operation.make(who, stored, things), beside=False)
            for who in (operation.base, OURS)
        ]
        times = race(contestants, keys, settings)
        spreads = ratios(times, operation.base)
        unit = f"{operation.base} {Spread.of(list(times[operation.base].values())).mid:.1f} ns"
        ours = spreads.pop(OURS)
        rows.append(Row(f"{size} entries", operation.base, unit, ours, spreads, operation.target))
    return Section(name, operation.title, operation.how, rows, [])


def resident_bytes(module: ModuleType, entries: int) -> float:
    keys = list(range(entries))
    things = [Thing() for _ in keys]
    gc.collect()
    before = resident()
    filled = module.WeakValueDictionary()
    for key, thing in zip(keys, things, strict=True):
        filled[key] = thing
    return (resident() - before) / entries


def collection_ms(module: ModuleType, entries: int) -> float:
    things = [Thing() for _ in range(entries)]
    filled = module.WeakValueDictionary(enumerate(things))
    taken = collection() / 1e6
    assert len(filled) == entries
    return taken


MEASURES: dict[str, tuple[str, str, Target, Callable[[ModuleType, int], float]]] = {
    "weak-memory": (
        "WeakValueDictionary, resident memory, bytes an entry",
        "VmRSS before and after the fill; keys and values are there before",
        Target(0.70),
        resident_bytes,
    ),
    "weak-gc": (
        "WeakValueDictionary, a full collection, ms",
        "gc.collect() with the dictionary full, its values included",
        Target(1.0),
        collection_ms,
    ),
}


def _fresh_section(name: str, settings: Settings) -> Section:
    title, how, target, _ = MEASURES[name]
    figures: dict[str, list[float]] = {who: [] for who in MODULES}
    for _ in range(settings.processes):
        for who in MODULES:
            figures[who].append(_in_fresh_process(name, who, settings.entries))
    base = median(figures["weakref"])
    ours = Spread.of([value / base for value in figures[OURS]])
    peers = {"weakref": Spread.of([value / base for value in figures["weakref"]])}
    workload = f"{settings.entries} entries, {settings.processes} fresh process(es) each"
    row = Row(workload, "weakref", f"weakref {base:.1f}", ours, peers, target)
    return Section(name, title, how, [row], [])


def _in_fresh_process(measure: str, who: str, entries: int) -> float:
    command = [sys.executable, "-m", "benches.weak", measure, who, str(entries)]
    root = Path(__file__).resolve().parent.parent
    result = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    return float(result.stdout)


def main(arguments: Sequence[str]) -> None:
    measure, who, entries = arguments
    print(MEASURES[measure][3](MODULES[who], int(entries)))


if __name__ == "__main__":
    main(sys.argv[1:])
