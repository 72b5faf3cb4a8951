"""census and clear_all: what lives, by name, and emptying it."""

from __future__ import annotations

import gc
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from leaksafe import (
    Living,
    LRUCache,
    TTLCache,
    WeakCache,
    cache,
    cached,
    census,
    clear_all,
    lru_cache,
    ttl_cache,
)

pytestmark = pytest.mark.thread_unsafe(reason="all tests' caches are emptied")


def named(name: str) -> list[Living]:
    return [one for one in census() if one.name.rpartition(".")[2] == name]


def test_functions_and_caches_are_listed_with_what_they_hold() -> None:
    @cached(name="the one")
    def one(x: int) -> int:
        return x

    @lru_cache(maxsize=2)
    def census_lru(x: int) -> int:
        return x

    @ttl_cache
    def census_ttl(x: int) -> int:
        return x

    @cache
    def census_all(x: int) -> int:
        return x

    @cached(max_bytes="1 MiB")
    def census_bytes(x: int) -> bytes:
        return bytes(1000)

    for number in (1, 2, 3, 3):
        one(number), census_lru(number), census_ttl(number), census_all(number), census_bytes(1)
    (seen,) = named("the one")
    assert (seen.kind, seen.entries, seen.bound, seen.hit_ratio) == ("function", 3, 128, 0.25)
    assert seen.where is not None
    assert seen.where.startswith(__file__)
    (seen,) = named("census_lru")
    assert (seen.entries, seen.weight, seen.removals) == (2, 2, 1)
    assert len(named("census_ttl")) == len(named("census_all")) == 1
    (seen,) = named("census_bytes")
    assert seen.entries == 1
    assert seen.weight > 1000
    before = len(census())
    caches: list[Any] = [LRUCache(3), TTLCache(3, 60), WeakCache(3)]
    assert [row.kind for row in census()[before:]] == ["LRUCache", "TTLCache", "WeakCache"]
    caches[0]["a"] = 1
    assert census()[before].entries == 1


def test_nothing_is_kept_alive() -> None:
    gc.collect()
    before = len(census())
    caches: list[Any] = [LRUCache(1) for _ in range(1000)]
    assert len(census()) == before + 1000
    del caches
    gc.collect()
    assert len(census()) <= before

    def make() -> None:
        @cached
        def short_lived(x: int) -> int:
            return x

        short_lived(1)

    make()
    gc.collect()
    assert not named("short_lived")


def test_where_each_was_made_if_asked_for() -> None:
    try:
        census(where=True)
        known: Any = LRUCache(1)
        line = sys._getframe().f_lineno - 1
        assert census()[-1].where == f"{__file__}:{line}"
    finally:
        census(where=False)
    unknown: Any = LRUCache(1)
    assert census()[-1].where is None
    assert (known.maxsize, unknown.maxsize) == (1, 1)


def test_clear_all_empties_everything() -> None:
    @cached
    def f(x: int) -> int:
        return x

    @cached({})
    def g(x: int) -> int:
        return x

    caches: list[Any] = [LRUCache(3), TTLCache(3, 60), WeakCache(3)]
    for one in caches:
        one["a"] = 1
    f(1), g(1)
    clear_all()
    assert [len(one) for one in caches] == [0, 0, 0]
    assert f.cache_info().currsize == g.cache_info().currsize == 0


def test_the_fixture(tmp_path: Path) -> None:
    module = tmp_path / "late.py"
    module.write_text("from leaksafe import cached\n@cached\ndef f(x): return [x]\nf(1)\n")
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "pytestmark = pytest.mark.usefixtures('clear_caches')\n"
        "def test_one():\n"
        "    import late\n"
        "    assert late.f.cache_contains(1)\n"
        "def test_two():\n"
        "    import late\n"
        "    assert not late.f.cache_contains(1)\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
