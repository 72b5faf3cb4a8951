"""CPython's own tests of weakref's containers, run against ours.

Only where the interpreter comes with its `test` package. Three of them look into private attributes
of weakref's; each is overridden here by a test of what it protects.
"""

from __future__ import annotations

import gc
import types
import unittest
import weakref
from typing import Any, ClassVar

import pytest

from leaksafe import WeakKeyDictionary, WeakSet, WeakValueDictionary

test_weakref: Any = pytest.importorskip(
    "test.test_weakref", reason="this interpreter comes without CPython's own tests"
)
test_weakset: Any = pytest.importorskip("test.test_weakset")
mapping_tests: Any = pytest.importorskip("test.mapping_tests")

# `import weakref`, where the three names are ours
ours: Any = types.ModuleType("weakref")
vars(ours).update(
    vars(weakref),
    WeakKeyDictionary=WeakKeyDictionary,
    WeakSet=WeakSet,
    WeakValueDictionary=WeakValueDictionary,
)


@pytest.fixture(autouse=True)
def _import_ours(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(test_weakref, "weakref", ours)
    monkeypatch.setattr(test_weakset, "WeakSet", WeakSet)
    # Made from weakref's when that module was imported.
    monkeypatch.setattr(test_weakset, "WeakSetSubclass", Subclass)
    monkeypatch.setattr(test_weakset, "WeakSetWithSlots", WithSlots)


class Node:
    pass


class TestMappingAsCPythonTestsIt(test_weakref.MappingTestCase):  # type: ignore[misc]
    # The tests with threads are to find races, which these numbers do as well.
    NUM_THREADED_ITERATIONS = 20_000

    def test_remove_closure(self) -> None:
        """What it protects: that no reference of a container keeps the container alive."""
        container, value = WeakValueDictionary[int, Node](), Node()
        container[1] = value
        (reference,) = weakref.getweakrefs(value)
        gone = weakref.ref(container)
        del container
        self.assertIsNone(gone())
        self.assertIs(reference(), value)
        del value
        self.assertIsNone(reference())

    def test_weak_valued_consistency(self) -> None:
        """What it protects: that an old value's death doesn't take out the new one."""
        container, old, new = WeakValueDictionary[int, Node](), Node(), Node()
        container[1] = old
        (reference,) = weakref.getweakrefs(old)  # so that its callback is called
        container[1] = new
        del old
        gc.collect()
        self.assertIsNone(reference())
        self.assertIs(container[1], new)
        self.assertEqual(len(container), 1)


class TestValuesAsCPythonTestsMappings(
    mapping_tests.BasicTestMappingProtocol  # type: ignore[misc]
):
    type2test = WeakValueDictionary
    _objects: ClassVar = {f"key{number}": test_weakref.Object(number) for number in (1, 2, 3)}

    def _reference(self) -> Any:
        return self._objects.copy()


class TestKeysAsCPythonTestsMappings(
    mapping_tests.BasicTestMappingProtocol  # type: ignore[misc]
):
    type2test = WeakKeyDictionary
    _objects: ClassVar = {test_weakref.Object(f"key{number}"): number for number in (1, 2, 3)}

    def _reference(self) -> Any:
        return self._objects.copy()


class TestSetAsCPythonTestsIt(test_weakset.TestWeakSet):  # type: ignore[misc]
    def test_repr(self) -> None:
        """What it protects: that a set shows its members. weakref's shows its references."""
        self.assertEqual(repr(self.fs), f"WeakSet([{self.obj!r}])")


class Subclass(WeakSet[Any]):
    pass


class WithSlots(WeakSet[Any]):
    __slots__ = ("x", "y")


def test_they_are_all_run() -> None:
    """Whatever a version of the original holds is run, and with ours."""
    for original, own, least in (
        (test_weakref.MappingTestCase, TestMappingAsCPythonTestsIt, 30),
        (test_weakset.TestWeakSet, TestSetAsCPythonTestsIt, 40),
    ):
        names = [name for name in dir(original) if name.startswith("test_")]
        assert len(names) >= least
        assert [name for name in names if not hasattr(own, name)] == []
    assert issubclass(TestMappingAsCPythonTestsIt, unittest.TestCase)
    assert test_weakref.weakref.WeakSet is WeakSet is not weakref.WeakSet  # type: ignore[comparison-overlap]
    assert test_weakset.WeakSetWithSlots is WithSlots
