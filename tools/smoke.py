"""Uses everything that leaksafe offers once, as it is installed: nothing but Python is needed.

    python -I tools/smoke.py

It says what it used, and fails where a public name was left out.
"""

import asyncio
import gc
import importlib.metadata
import logging
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sized
from pathlib import Path
from typing import Any

import leaksafe
from leaksafe import leaks, sweeper
from leaksafe.compat import cachetools


class Thing:
    """Can be weakly referenced, and gets an attribute from each of the names for that."""

    partner = leaksafe.weakattr["Thing"]()

    @leaksafe.cached_property
    def square(self) -> int:
        return 3 * 3

    @leaksafe.lru_cache
    def times(self, number: int) -> int:
        return 3 * number

    def told(self, what: str) -> str:
        return what


def caches() -> None:
    with leaksafe.LRUCache[str, int](2) as cache:
        cache.update(a=1, b=2, c=3)
        assert list(cache) == ["b", "c"]
        assert cache.get_or_create("d", lambda: 4) == 4
        stats = cache.stats()
        assert isinstance(stats, leaksafe.CacheStats)
        assert isinstance(stats.removals, leaksafe.Removals)
        assert stats.removals.size == 2
    time = 0.0
    expiring = leaksafe.TTLCache[str, int](2, ttl=10, timer=lambda: time)
    expiring["a"] = 1
    time = 10.0
    assert "a" not in expiring
    weak = leaksafe.WeakCache[str, Thing](1)
    thing = weak["one"] = Thing()
    weak["other"] = Thing()
    assert weak["one"] is thing


def functions() -> None:
    calls: list[int] = []

    def double(number: int) -> int:
        calls.append(number)
        return 2 * number

    decorators: list[Any] = [
        leaksafe.lru_cache,
        leaksafe.cache,
        leaksafe.ttl_cache,
        leaksafe.cached,
        leaksafe.cached(maxsize=9, ttl=60, copy=True),
    ]
    for count, decorate in enumerate(decorators, 1):
        cached = decorate(double)
        assert cached(4) == cached(4) == 8
        assert len(calls) == count
    thing = Thing()
    assert thing.times(2) == thing.times(2) == 6
    assert thing.square == 9
    assert issubclass(leaksafe.LeakWarning, UserWarning)


def coroutines() -> None:
    calls: list[int] = []

    @leaksafe.lru_cache
    async def double(number: int) -> int:
        calls.append(number)
        await asyncio.sleep(0)
        return 2 * number

    async def together() -> list[int]:
        return await asyncio.gather(*[double(4)] * 3)

    assert asyncio.run(together()) == [8, 8, 8]
    assert calls == [4]


def weak_containers() -> None:
    one, two = Thing(), Thing()
    values = leaksafe.WeakValueDictionary({"one": one})
    keys = leaksafe.WeakKeyDictionary({one: "one"})
    by_identity = leaksafe.WeakIdDictionary({one: "one"})
    members, sequence = leaksafe.WeakSet([one]), leaksafe.WeakList([one])
    notes = leaksafe.per_instance(list[str])
    notes(one).append("seen")
    tell = leaksafe.weak_callback(one.told)
    one.partner = two
    assert values["one"] is one
    assert keys[one] == by_identity[one] == "one"
    assert one in members
    assert one in sequence
    assert notes(one) == ["seen"]
    assert tell("heard") == "heard"
    assert one.partner is two
    del one, two
    gc.collect()
    containers: list[Sized] = [values, keys, by_identity, members, sequence]
    assert not any(map(len, containers))
    assert tell("heard") is None


def one_of_each() -> None:
    @leaksafe.singleton
    class Settings:
        pass

    assert Settings() is Settings()
    with leaksafe.Registry[str, Thing](2) as registry:
        assert registry.get_or_create("a", Thing) is registry.get_or_create("a", Thing)


def lazily() -> None:
    objects = leaksafe.LazyObjects(str, 3)
    assert list(objects) == ["0", "1", "2"]

    @leaksafe.lazy
    def one() -> Iterator[int]:
        yield 1

    numbers = one()
    assert list(numbers) == list(numbers) == [1]
    assert issubclass(leaksafe.LiveBoundError, RuntimeError)


def seeing() -> None:
    cache = leaksafe.LRUCache[str, bytes](9)
    cache["a"] = bytes(10_000)
    living = leaksafe.census()[-1]
    assert isinstance(living, leaksafe.Living)
    assert living.entries == 1
    assert leaksafe.deep_sizeof(cache) > 10_000
    leaksafe.clear_all()
    assert not cache
    with leaks.check():
        cache["a"] = b""
        cache.clear()
    assert sweeper.state().caches == 0
    assert cachetools.LRUCache(3).maxsize == 3
    logging.getLogger("leaksafe").setLevel(logging.DEBUG)
    cache.resize(0)


def as_a_command() -> None:
    assert leaksafe.__version__ == importlib.metadata.version("leaksafe")
    with tempfile.TemporaryDirectory() as directory:
        source = Path(directory, "source.py")
        source.write_text(
            "from functools import cache\n\nclass A:\n    @cache\n    def f(self): ...\n"
        )
        for arguments, says in (
            (["--version"], leaksafe.__version__),
            (["scan", str(source)], "4:"),
        ):
            command = [sys.executable, "-I", "-m", "leaksafe", *arguments]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            assert says in done.stdout, done


def main() -> int:
    """Run each of them."""
    source = Path(__file__).read_text(encoding="utf-8")
    unused = [name for name in leaksafe.__all__ if f"leaksafe.{name}" not in source]
    if unused:
        print(f"not used here: {', '.join(unused)}")
        return 1
    package = Path(leaksafe.__file__).parent
    assert {"py.typed", "_core.pyi", "__init__.pyi"} <= {file.name for file in package.iterdir()}
    for use in (
        caches,
        functions,
        coroutines,
        weak_containers,
        one_of_each,
        lazily,
        seeing,
        as_a_command,
    ):
        use()
        print(f"smoke: {use.__name__} ok")
    print(f"smoke: leaksafe {leaksafe.__version__} on {sys.version.split()[0]} at {package}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
