"""CPython's own tests of its mappings, run against LRUCache.

Only where the interpreter comes with its `test` package. Each difference from dict is a method
overridden here, with the reason.
"""

from __future__ import annotations

from typing import Any

import pytest

from leaksafe import LRUCache

mapping_tests: Any = pytest.importorskip(
    "test.mapping_tests", reason="this interpreter comes without CPython's own tests"
)


class Unbounded(LRUCache[Any, Any]):
    """Made as a dict is made, since the tests know nothing of bounds."""

    def __init__(self, *content: Any, **more: Any) -> None:
        super().__init__(None)
        self.update(*content, **more)


class TestAsCPythonTestsDict(mapping_tests.TestHashMappingProtocol):  # type: ignore[misc]
    type2test = Unbounded

    def test_fromkeys(self) -> None:
        """There is no `fromkeys`: it has no place for the bound that every cache is given."""
        self.assertFalse(hasattr(LRUCache, "fromkeys"))

    def test_repr(self) -> None:
        """A cache shows its class and its bound as well."""
        cache = Unbounded()
        self.assertEqual(repr(cache), "Unbounded({}, maxsize=None, currsize=0)")
        cache[1] = cache
        inside = "{1: Unbounded(...)}"
        self.assertEqual(repr(cache), f"Unbounded({inside}, maxsize=None, currsize=1)")
