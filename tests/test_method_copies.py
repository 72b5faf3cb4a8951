"""Instances with cached methods that are copied, pickled and looked at after a call."""

from __future__ import annotations

import copy
import dataclasses
import gc
import pickle
import threading
import weakref
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any

import pytest

from isolated import full_collection
from leaksafe import cache, lru_cache
from method_classes import ITSELF, NAME, Child, method, plain, shares_a_class, without_collections

pytestmark = pytest.mark.usefixtures("frozen")


@dataclasses.dataclass(frozen=True)
class Frozen:
    n: int

    @lru_cache
    def m(self, x: int) -> Any:
        return Child(self)

    @lru_cache
    def fresh(self, x: int) -> Any:
        return Child(None)

    @lru_cache
    def number(self, x: int) -> int:
        return self.n + x


class Ordinary:
    def __init__(self, n: int) -> None:
        self.n = n
        self.box = [n]

    @lru_cache
    def m(self, x: int) -> Any:
        return Child(self)

    @lru_cache
    def fresh(self, x: int) -> Any:
        return Child(None)

    @lru_cache
    def number(self, x: int) -> int:
        return self.n + x

    @lru_cache
    def unpicklable(self) -> Any:
        return threading.Lock(), lambda: self


class Slotted:
    __slots__ = ("__weakref__", "n")

    def __init__(self, n: int) -> None:
        self.n = n

    @lru_cache
    def m(self, x: int) -> Any:
        return Child(x)

    @lru_cache
    def number(self, x: int) -> int:
        return self.n + x


class Reduced(Ordinary):
    def __getstate__(self) -> object:
        return {"n": self.n}

    def __setstate__(self, state: Any) -> None:
        self.n = state["n"]


CLASSES: list[Any] = [Frozen, Ordinary, Slotted, Reduced]


def pickled(instance: Any) -> Any:
    return pickle.loads(pickle.dumps(instance))


def old_pickled(instance: Any) -> Any:
    return pickle.loads(pickle.dumps(instance, 2))


COPIES: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, pickled, old_pickled]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("kind", CLASSES)
def test_copies_of_instances(kind: Any, copied: Callable[[Any], Any]) -> None:
    """A copy works, computes its own results, and holds nothing of the original."""
    original = kind(1)
    result = original.m(1)
    assert original.number(1) == 2
    other = copied(original)
    assert type(other) is kind and other.n == 1 and other is not original
    assert original.m(1) is result
    # an equal one is entitled to the original's results
    assert (other.m(1) is result) is (other == original)
    found = other.m(2)
    assert getattr(found, "parent", other) is not original
    assert other.m(2) is found and original.m(1) is result
    assert other.number(1) == 2
    reference, held = weakref.ref(original), weakref.ref(result)
    del original, result
    full_collection()
    assert reference() is None and held() is None
    assert other.m(2) is found and other.m(1) is other.m(1)
    reference = weakref.ref(other)
    del other, found
    full_collection()
    assert reference() is None
    assert kind.m.cache_info().currsize == kind.number.cache_info().currsize == 0


@pytest.mark.parametrize("copied", COPIES)
def test_an_equal_copy_that_only_hits(copied: Callable[[Any], Any]) -> None:
    """It gets the original's results for as long as that lives, and doesn't keep it."""
    # those of other cases, which are equal, go first
    full_collection()
    original = Frozen(7)
    result = original.m(1)
    other = copied(original)
    assert other.m(1) is result is original.m(1)
    assert vars(other).get(NAME) is not vars(original)[NAME]
    # one that is equal and no copy gets nothing into its attributes
    equal = Frozen(7)
    assert equal.m(1) is result and vars(equal) == {"n": 7}
    reference, held = weakref.ref(original), weakref.ref(result)
    del original, result
    full_collection()
    assert reference() is None and held() is None and Frozen.m.cache_info().currsize == 0
    assert other.m(1).parent is other


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("kind", CLASSES)
def test_copies_that_were_never_called(kind: Any, copied: Callable[[Any], Any]) -> None:
    """They don't keep the original. But a shallow one shares what the dict holds, results that
    refer to the original too, until it has one of its own, or is gone.
    """
    original = kind(1)
    held = weakref.ref(original.m(1))
    copies = [copied(original)]
    reference = weakref.ref(original)
    del original
    if copied is copy.copy and kind is not Reduced:
        copies.clear()
    full_collection()
    assert reference() is None and held() is None


@pytest.mark.parametrize("kind", [Ordinary, Frozen])
def test_a_shallow_copy_is_no_reason_to_keep_results(kind: Any) -> None:
    """Where they don't refer to the original, it and they are freed at once."""
    with without_collections():
        original = kind(1)
        held = [weakref.ref(original.fresh(1)), weakref.ref(original)]
        other = copy.copy(original)
        assert other.n == 1
        del original
        assert [one() for one in held] == [None, None]
        assert other.fresh(1) is other.fresh(1)


@pytest.mark.parametrize("copied", COPIES)
def test_unpicklable_results_are_no_obstacle(copied: Callable[[Any], Any]) -> None:
    original = Ordinary(1)
    result = original.unpicklable()
    other = copied(original)
    assert original.unpicklable() is result and other.unpicklable() is not result


@shares_a_class
def test_replace_of_a_dataclass() -> None:
    one = Frozen(1)
    one.m(1)
    other = dataclasses.replace(one, n=2)
    assert other.m(1).parent is other and one.m(1).parent is one
    assert dataclasses.asdict(one) == {"n": 1} and dataclasses.astuple(one) == (1,)
    assert one == Frozen(1) and hash(one) == hash(Frozen(1)) and "n=1" in repr(one)
    assert repr(one).endswith("Frozen(n=1)")


def test_vars_of_an_instance() -> None:
    one = Ordinary(1)
    before = dict(vars(one))
    assert one.number(1) == 2
    assert vars(one) == before
    one.m(1)
    assert vars(one).keys() - before.keys() == {NAME}
    assert {name: vars(one)[name] for name in before} == before
    repr(vars(one)), str(vars(one)[NAME])
    # one place for all results of an instance
    one.m(2), one.unpicklable()
    assert vars(one).keys() - before.keys() == {NAME}
    # seen by whoever asks who holds the results
    assert NAME in dir(one)
    itself = method(ITSELF["itself"])
    instance = plain(itself)(1)
    assert instance.m(1) is instance and vars(instance) == {"n": 1}


def test_instances_that_compare_by_their_attributes() -> None:
    """What is cached of them is none: once it was, they are equal, and hashed, as before."""

    class ByAttributes:
        def __init__(self, n: int) -> None:
            self.n = n

        def __eq__(self, other: object) -> bool:
            return isinstance(other, ByAttributes) and vars(self) == vars(other)

        def __hash__(self) -> int:
            return hash(frozenset(vars(self).items()))

        @lru_cache
        def m(self, x: int) -> list[int]:
            return [self.n, x]

    one, other, third = ByAttributes(1), ByAttributes(1), ByAttributes(2)
    for instance in (one, other, third):
        for x in (1, 2, 1, 2):
            assert instance.m(x) == [instance.n, x]
    assert one == other != third
    assert hash(one) == hash(other)
    assert len({one, other, third}) == 2
    references = [weakref.ref(instance) for instance in (one, other, third)]
    del one, other, third, instance
    assert [reference() for reference in references] == [None] * 3
    assert ByAttributes.m.cache_info().currsize == 0


def reachable(start: object) -> list[Any]:
    """Whatever this holds, by way of what it holds, short of classes and functions."""
    seen: dict[int, Any] = {}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | FunctionType | ModuleType):
            seen[id(one)] = one
            waiting += gc.get_referents(one)
    return list(seen.values())


def test_the_results_are_as_empty_wherever_they_are_copied_to() -> None:
    one = Ordinary(1)
    result = one.m(1)
    results = vars(one)[NAME]
    assert any(held is result for held in reachable(results))
    for copied in COPIES:
        other = copied(results)
        assert type(other) is type(results) and other is not results
        assert not any(held is result or held is one for held in reachable(other))


def test_an_instance_without_its_results() -> None:
    """Whoever clears, replaces or meddles with the dict makes misses, and nothing worse."""
    for meddle in (
        lambda one: vars(one).pop(NAME),  # type: ignore[attr-defined]
        lambda one: vars(one).clear(),  # type: ignore[attr-defined]
        lambda one: setattr(one, "__dict__", {}),
        lambda one: vars(one).__setitem__(NAME, None),  # type: ignore[index]
        lambda one: vars(one).__setitem__(NAME, {}),  # type: ignore[index]
        lambda one: vars(one).__setitem__(NAME, "text"),  # type: ignore[index]
        lambda one: vars(one).__setitem__(NAME, vars(another)[NAME]),  # type: ignore[has-type, index]
    ):
        another, one = Ordinary(7), Ordinary(7)
        another.m(1), one.m(1)
        meddle(one)
        for _ in range(2):
            found = one.m(1)
            assert found.parent is one
            assert another.m(1).parent is another
        assert one.m(1) is found
        references = [weakref.ref(one), weakref.ref(another)]
        del one, another, found
        full_collection()
        assert [reference() for reference in references] == [None, None]
        assert Ordinary.m.cache_info().currsize == 0


def test_results_set_aside_outlive_nothing() -> None:
    """Whoever keeps the results of an instance that died keeps no more than that."""
    one = Ordinary(1)
    one.m(1)
    kept = vars(one)[NAME]
    vars(one).clear()
    reference = weakref.ref(one)
    del one
    Ordinary.m.cache_clear()
    full_collection()
    assert reference() is None
    repr(kept)


def test_cached_once_for_all_instances() -> None:
    """cache, on a method, has no bound but the lives of its instances."""

    class Class:
        @cache
        def m(self, x: int) -> list[int]:
            return [x]

    with without_collections():
        instances = [Class() for _ in range(100)]
        for instance in instances:
            for x in range(10):
                instance.m(x)
        assert Class.m.cache_info() == (0, 1_000, None, 1_000)
        del instances[10:], instance
        assert Class.m.cache_info().currsize == 100
        instances.clear()
        assert Class.m.cache_info().currsize == 0
