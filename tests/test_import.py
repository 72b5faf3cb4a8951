"""What an import brings along: leaksafe is in programs that start often, and in every worker."""

from __future__ import annotations

import pickle
from pathlib import Path
from textwrap import dedent

import pytest

import leaksafe
from isolated import Result, run_source

WHERE = str(Path(leaksafe.__file__).parent.parent)

# Each takes as long to import as leaksafe, or many times that.
SLOW = {
    "asyncio",
    "concurrent.futures",
    "dataclasses",
    "datetime",
    "decimal",
    "inspect",
    "logging",
    "pathlib",
    "pprint",
    "rich",
    "traceback",
    "unittest",
}


def alone(source: str) -> Result:
    """What comes of some code in an interpreter that has imported nothing else."""
    start = f"import sys; sys.path.insert(0, {WHERE!r})\n"
    result = run_source(start + dedent(source), flags=("-I", "-S"))
    assert result.code == 0, result.report(source)
    return result


def brings(source: str) -> set[str]:
    """The modules that some code imports."""
    result = alone(f"before = set(sys.modules)\n{source}\nprint(*set(sys.modules) - before)")
    return set(result.stdout.split())


def test_the_package_alone_is_less_than_typing() -> None:
    brought = brings("import leaksafe")
    assert "leaksafe" in brought
    assert not brought & (SLOW | {"typing", "re", "threading", "leaksafe._core"})
    assert len(brought) < len(brings("import typing"))


def test_no_name_brings_what_it_does_not_need() -> None:
    brought = brings("from leaksafe import *")
    assert "leaksafe._core" in brought
    assert not brought & SLOW


@pytest.mark.parametrize(
    "use",
    [
        "leaksafe.LRUCache(1)['a'] = 1",
        "leaksafe.TTLCache(1, 60)['a'] = 1",
        "leaksafe.lru_cache(lambda: 1)()",
        "leaksafe.ttl_cache(lambda: 1)()",
        "leaksafe.WeakValueDictionary()[1] = leaksafe",
        "leaksafe.singleton(type('One', (), {}))()",
        "leaksafe.Registry(1).get_or_create('a', object)",
        "leaksafe.lazy(lambda: (yield))()",
    ],
)
def test_nor_does_its_first_use(use: str) -> None:
    assert not brings(f"import leaksafe; {use}") & SLOW


def test_every_name_is_there() -> None:
    assert {name for name in leaksafe.__all__ if hasattr(leaksafe, name)} == set(leaksafe.__all__)
    assert set(leaksafe.__all__) <= set(dir(leaksafe))
    assert pickle.loads(pickle.dumps(leaksafe.LRUCache)) is leaksafe.LRUCache
    with pytest.raises(AttributeError, match="'leaksafe' has no attribute 'LruCache'"):
        leaksafe.LruCache  # type: ignore[attr-defined]
    with pytest.raises(ImportError, match="LruCache"):
        from leaksafe import LruCache  # type: ignore[attr-defined]  # noqa: F401


def test_logging_that_is_imported_later_is_heard() -> None:
    result = alone(
        """
        from leaksafe import LRUCache, lru_cache

        cache = LRUCache(1)
        function = lru_cache(maxsize=1)(lambda number: number)

        def evict(number):
            cache[number] = number
            function(number)

        evict(1)
        evict(2)
        assert "logging" not in sys.modules
        import logging
        logging.basicConfig(level=logging.DEBUG, stream=sys.stdout, format="%(name)s %(message)s")
        evict(3)
        logging.getLogger("leaksafe").setLevel(logging.DEBUG)
        evict(4)
        logging.getLogger("leaksafe").setLevel(logging.INFO)
        evict(5)
        """
    )
    lines = [line for line in result.stdout.splitlines() if "evicted" in line]
    assert [line.split(":")[0] for line in lines] == [
        "leaksafe LRUCache evicted 1 entry",
        "leaksafe lru_cache evicted 1 by size",
    ]


def test_a_level_that_was_set_before_the_first_use_counts() -> None:
    result = alone(
        """
        import logging
        logging.basicConfig(stream=sys.stdout)
        logging.getLogger("leaksafe").setLevel(logging.DEBUG)
        from leaksafe import LRUCache
        LRUCache(1).update(a=1, b=2)
        """
    )
    assert result.stdout.count("evicted") == 1
