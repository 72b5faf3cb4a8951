"""G3: caching a method doesn't keep its instance alive.

Where CPython can't give that, for lack of ephemerons, it is bounded and warned of. What the methods
of all sorts of classes do is tried out in full in tests/test_method_caches.py; here is the promise.
"""

from __future__ import annotations

import functools
import gc
import warnings
import weakref
from collections.abc import Callable
from typing import Any

from isolated import each, full_collection, isolated
from leaksafe import LeakWarning, cache, lru_cache


class Child:
    def __init__(self, parent: object) -> None:
        self.parent = parent


class Cached:
    """One of each that can be cached on a class."""

    @lru_cache
    def number(self, x: int = 1) -> int:
        return x

    @lru_cache
    def fresh(self, x: int = 1) -> list[int]:
        return [x]

    @lru_cache(maxsize=None)
    def itself(self, x: int = 1) -> Any:
        return self

    @cache
    def unbounded(self, x: int = 1) -> list[int]:
        return [x]

    @property
    @lru_cache
    def attribute(self) -> list[int]:
        return [1]

    @lru_cache
    def back(self, x: int = 1) -> Any:
        return Child(self)


class Sub(Cached):
    def fresh(self, x: int = 1) -> list[int]:  # type: ignore[override]
        return super().fresh(x)


class Slots:
    __slots__ = ("__weakref__",)

    @lru_cache(maxsize=2)
    def fresh(self, x: int = 1) -> list[int]:
        return [x]

    @lru_cache(maxsize=2)
    def itself(self, x: int = 1) -> Any:
        return self

    @lru_cache(maxsize=2)
    def back(self, x: int = 1) -> Any:
        return Child(self)


class NoWeakReferences:
    __slots__ = ()

    held = 0

    @lru_cache(maxsize=2)
    def fresh(self, x: int = 1) -> list[int]:
        return [x]

    def __init__(self) -> None:
        NoWeakReferences.held += 1

    def __del__(self) -> None:
        NoWeakReferences.held -= 1


USES: dict[str, Callable[[Any], object]] = {
    "number": lambda one: one.number(),
    "fresh": lambda one: one.fresh(),
    "keyword": lambda one: one.fresh(x=5),
    "bound": lambda one: list(map(one.fresh, [1, 2, 1])),
    "itself": lambda one: one.itself(),
    "unbounded": lambda one: one.unbounded(),
    "attribute": lambda one: one.attribute,
    "by name": lambda one: type(one).fresh(self=one),
    "partial": lambda one: functools.partial(one.fresh, 3)(),
}


@each("use", USES)
@each("kind", ["Cached", "Sub"])
@isolated()
def test_the_instance_goes_when_its_last_name_goes(kind: str, use: str) -> None:
    gc.disable()
    make: Any = {"Cached": Cached, "Sub": Sub}[kind]
    for _ in range(3):
        instance = make()
        USES[use](instance)
        USES[use](instance)
        reference = weakref.ref(instance)
        del instance
        assert reference() is None
    entries = [Cached.number, Cached.fresh, Cached.itself, Cached.unbounded]
    assert [entry.cache_info().currsize for entry in entries] == [0] * 4


@isolated()
def test_a_hundred_thousand_instances_leave_nothing() -> None:
    """The demo's leak, with no bound and no collector."""
    gc.disable()
    Cached().unbounded()
    before = len(gc.get_objects())
    for number in range(100_000):
        assert Cached().unbounded(number) == [number]
    assert Cached.unbounded.cache_info().currsize == 0
    assert len(gc.get_objects()) - before < 100


@isolated()
def test_a_result_that_refers_back_goes_with_its_instance() -> None:
    for make in (Cached, Sub):
        instance = make()
        assert instance.back() is instance.back() and instance.back().parent is instance
        reference = weakref.ref(instance)
        del instance
        full_collection()
        assert reference() is None
    assert Cached.back.cache_info() == (4, 2, 128, 0)


@isolated()
def test_with_slots_only_what_refers_back_is_held_and_no_more_than_the_bound() -> None:
    gc.disable()
    for use in ("fresh", "itself"):
        instance = Slots()
        getattr(instance, use)()
        reference = weakref.ref(instance)
        del instance
        assert reference() is None, use
    gc.enable()
    instances = [Slots() for _ in range(5)]
    references = [weakref.ref(instance) for instance in instances]
    for instance in instances:
        instance.back()
    del instance, instances
    full_collection()
    assert [reference() is None for reference in references] == [True] * 3 + [False] * 2
    Slots.back.cache_clear()
    full_collection()
    assert not any(reference() for reference in references)


@isolated()
def test_what_cannot_be_weakly_referenced_is_warned_of_and_bounded() -> None:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for _ in range(10):
            NoWeakReferences().fresh()
    (warning,) = caught
    assert warning.category is LeakWarning
    assert "NoWeakReferences" in str(warning.message)
    assert NoWeakReferences.held == 2
    NoWeakReferences.fresh.cache_clear()
    assert NoWeakReferences.held == 0
