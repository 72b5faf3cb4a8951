"""CPython's own tests of functools.lru_cache and functools.cache, run against ours.

Only where the interpreter comes with its `test` package.
"""

from __future__ import annotations

import functools
import types
import unittest
from typing import Any

import pytest

from leaksafe import LeakWarning, cache, lru_cache

test_functools: Any = pytest.importorskip(
    "test.test_functools", reason="this interpreter comes without CPython's own tests"
)

# `import functools`, where the two names are ours
ours = types.ModuleType("functools")
vars(ours).update(vars(functools), lru_cache=lru_cache, cache=cache)


@lru_cache()
def cached(x: int, y: int) -> int:
    return 3 * x + y


class TestAsCPythonTestsIt(test_functools.TestLRU, unittest.TestCase):  # type: ignore[misc]
    module = ours
    cached_func = (cached,)

    @lru_cache()
    def cached_meth(self, x: int, y: int) -> int:
        return 3 * x + y

    @staticmethod
    @lru_cache()
    def cached_staticmeth(x: int, y: int) -> int:
        return 3 * x + y

    def test_lru_method(self) -> None:
        """Its instances, a subclass of int, can't be weakly referenced: the first is warned of."""
        with self.assertWarns(LeakWarning):
            super().test_lru_method()


class TestCacheAsCPythonTestsIt(test_functools.TestCache, unittest.TestCase):  # type: ignore[misc]
    module = ours


def test_they_are_all_run() -> None:
    """Whatever a version of TestLRU holds is run, and with ours."""
    names = [name for name in dir(test_functools.TestLRUC) if name.startswith("test_")]
    assert len(names) >= 27
    assert [name for name in names if not hasattr(TestAsCPythonTestsIt, name)] == []
    assert TestAsCPythonTestsIt.module.lru_cache is lru_cache is not functools.lru_cache  # type: ignore[comparison-overlap]
