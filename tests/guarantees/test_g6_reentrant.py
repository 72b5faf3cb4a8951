"""G6: Python code that a cache runs may use the same cache, and gets the answers of a dict.

What it may do from where is tried out in full under tests/hostile; here is what must come of it.
"""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

from isolated import each, isolated
from leaksafe import LRUCache, Registry

Cache = LRUCache[Any, Any]


class Key:
    """Runs ``action`` once, when it is hashed or compared."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.on_hash: Callable[[], object] | None = None
        self.on_eq: Callable[[], object] | None = None

    def __hash__(self) -> int:
        if self.on_hash is not None:
            action, self.on_hash = self.on_hash, None
            action()
        return 7

    def __eq__(self, other: object) -> bool:
        if self.on_eq is not None:
            action, self.on_eq = self.on_eq, None
            action()
        return isinstance(other, Key) and self.number == other.number


def stored(cache: Any) -> Any:
    cache[Key(1)] = "one"
    cache[Key(2)] = "two"
    return cache


OPERATIONS: dict[str, Callable[[Any, Key], object]] = {
    "get": lambda cache, key: cache.get(key, "default"),
    "[]": lambda cache, key: cache[key],
    "in": lambda cache, key: key in cache,
    "set": lambda cache, key: cache.__setitem__(key, "set"),
    "del": lambda cache, key: cache.__delitem__(key),
    "pop": lambda cache, key: cache.pop(key, "default"),
    "setdefault": lambda cache, key: cache.setdefault(key, "default"),
}
ACTIONS: dict[str, Callable[[Any], Callable[[], object]]] = {
    "clears": lambda cache: cache.clear,
    "deletes it": lambda cache: lambda: cache.pop(Key(1), None),
    "deletes another": lambda cache: lambda: cache.pop(Key(2), None),
    "sets it": lambda cache: lambda: cache.__setitem__(Key(1), "inner"),
    "sets another": lambda cache: lambda: cache.__setitem__(Key(5), "inner"),
    "sets many": lambda cache: lambda: cache.update({number: number for number in range(500)}),
    "deletes and sets it": lambda cache: (
        lambda: (cache.pop(Key(1), None), cache.__setitem__(Key(1), "inner"))
    ),
}


@each("operation", OPERATIONS)
@each("at", ["on_hash", "on_eq"])
@isolated()
def test_as_a_dict_would(at: str, operation: str) -> None:
    for name, action in ACTIONS.items():
        results: list[object] = []
        states: list[list[tuple[int, object]]] = []
        for cache in (stored({}), stored(LRUCache(None))):
            key = Key(1)
            # of the two that are compared, the key that is kept comes first
            acting = key if at == "on_hash" else next(iter(cache))
            setattr(acting, at, action(cache))
            try:
                results.append(OPERATIONS[operation](cache, key))
            except KeyError as error:
                results.append(type(error))
            assert getattr(acting, at) is None, "it never ran"
            states.append(
                sorted(
                    (key.number if isinstance(key, Key) else 1000 + key, value)
                    for key, value in cache.items()
                )
            )
        assert results[0] == results[1], f"{name}: {results}"
        assert states[0] == states[1], name


@isolated()
def test_factory_that_asks_for_its_own_key() -> None:
    """cachebox, theine, and cachetools with a Condition wait for themselves."""
    cache: Cache = LRUCache(4)
    inner: list[object] = []

    def factory() -> str:
        inner.append(cache.get_or_create("key", lambda: "inner"))
        return "outer"

    got = cache.get_or_create("key", factory)
    assert inner == ["inner"]
    # both were made; whichever is kept, what is kept is what comes from now on
    assert got in ("inner", "outer")
    assert cache["key"] in ("inner", "outer")
    assert len(cache) == 1


@isolated()
def test_factory_that_removes_closes_and_resizes() -> None:
    cache: Cache = LRUCache(4)
    cache["a"] = 1
    assert cache.get_or_create("key", lambda: (cache.clear(), "made")[1]) == "made"
    assert list(cache) == ["key"]
    assert cache.get_or_create("other", lambda: (cache.resize(0), "made")[1]) == "made"
    assert len(cache) == 0


@each("threads", [2, 3, 5])
@isolated()
def test_factories_that_wait_for_each_other(threads: int) -> None:
    """Each asks for the key that the next one is making: a circle, which one of them breaks."""
    for _ in range(20):
        cache: Cache = LRUCache(threads * 2)
        barrier = threading.Barrier(threads)
        results: dict[int, object] = {}

        def work(number: int, cache: Any = cache, barrier: Any = barrier) -> None:
            def factory() -> object:
                barrier.wait()
                other = cache.get_or_create((number + 1) % threads, lambda: "by itself")
                return number, other

            results[number] = cache.get_or_create(number, factory)

        group = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
        for thread in group:
            thread.start()
        for thread in group:
            thread.join()
        assert sorted(results) == list(range(threads))
        for number in range(threads):
            assert cache[number] is not None
        assert len(cache) == threads


@isolated()
def test_circle_through_two_caches() -> None:
    one: Cache = LRUCache(4)
    two: Cache = LRUCache(4)
    barrier = threading.Barrier(2)
    results: list[object] = []

    def work(mine: Cache, other: Cache) -> None:
        def factory() -> object:
            barrier.wait()
            return other.get_or_create("key", lambda: "by itself")

        results.append(mine.get_or_create("key", factory))

    group = [threading.Thread(target=work, args=pair) for pair in ((one, two), (two, one))]
    for thread in group:
        thread.start()
    for thread in group:
        thread.join()
    assert len(results) == 2 and len(one) == len(two) == 1


@isolated()
def test_on_remove_sees_the_change_made() -> None:
    seen: list[tuple[str, bool, int]] = []

    def on_remove(key: Any, value: Any, cause: str) -> None:
        seen.append((cause, key in cache, len(cache)))

    cache: Cache = LRUCache(2, on_remove=on_remove)
    cache[1] = 1
    cache[2] = 2
    cache[3] = 3
    cache[3] = 4
    cache.pop(3)
    cache.clear()
    assert seen == [
        ("size", False, 2),
        ("replaced", True, 2),
        ("explicit", False, 1),
        ("cleared", False, 0),
    ]


@isolated()
def test_on_remove_that_puts_it_back() -> None:
    """Put back as often as it is removed, an entry doesn't hang its cache."""
    count = 0

    def on_remove(key: Any, value: Any, cause: str) -> None:
        nonlocal count
        count += 1
        if count < 200:
            cache[key] = value

    cache: Cache = LRUCache(2, on_remove=on_remove)
    for number in range(10):
        cache[number] = number
    assert len(cache) == 2 and count >= 200
    count = 0
    cache.clear()
    assert len(cache) <= 2
    count = 1000
    cache.close()
    assert len(cache) == 0


@isolated()
def test_finalizer_that_looks_for_its_own_entry() -> None:
    found: list[object] = []

    class Value:
        def __init__(self, key: object) -> None:
            self.key = key

        def __del__(self) -> None:
            cache = gone()
            if cache is not None:
                found.append(cache.get(self.key, "gone"))

    cache: Cache = LRUCache(2)
    gone = weakref.ref(cache)
    for number in range(4):
        cache[number] = Value(number)
    assert found == ["gone", "gone"]
    found.clear()
    cache[2] = "new"
    assert found == ["new"]
    found.clear()
    del cache[3]
    assert found == ["gone"]


@isolated()
def test_an_error_is_lost_nowhere() -> None:
    """An error from within an inner operation comes out of the outer one."""

    class Failure(Exception):
        pass

    class Failing:
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            raise Failure("eq")

    cache: Cache = LRUCache(4)
    cache[Failing()] = 1

    def fails() -> Any:
        return cache[Failing()]

    class Outer(LRUCache[Any, Any]):
        def __missing__(self, key: Any) -> Any:
            return fails()

    key = Key(1)
    for operation in (
        lambda: cache.get_or_create("x", fails),
        lambda: LRUCache[Any, Any](3, lambda value: fails()).__setitem__(1, 1),
        lambda: Outer(3)[1],
        lambda: (setattr(key, "on_hash", fails), cache.get(key)),
        lambda: cache.update((fails(), 1) for _ in range(3)),
    ):
        try:
            operation()
        except Failure as error:
            assert str(error) == "eq"
        else:
            raise AssertionError("an error was lost")
    assert len(cache) == 1


REGISTRY_ACTIONS: dict[str, Callable[[Registry[Any, Any]], object]] = {
    "make": lambda registry: [registry.get_or_create(n, object) for n in range(100, 110)],
    "pop": lambda registry: [registry.pop(key, None) for key in registry],
    "clear": lambda registry: registry.clear(),
    "close": lambda registry: registry.close(),
    "walk": lambda registry: (list(registry), len(registry), repr(registry), 5 in registry),
    "use": lambda registry: registry.use(200, object).__enter__(),
    "override": lambda registry: registry.override(201, object()).__enter__(),
    "collect": lambda registry: gc.collect(),
}


@each("at", ["hash", "eq", "str", "factory", "close", "del"])
@each("action", REGISTRY_ACTIONS)
@isolated()
def test_a_registry_is_used_by_all_that_it_runs(at: str, action: str) -> None:
    act = REGISTRY_ACTIONS[action]
    registry = Registry[Any, Any](4)
    inside = False

    def strike(place: str) -> None:
        nonlocal inside
        if place == at and not inside:
            inside = True
            act(registry)
            inside = False

    class Hostile:
        def __hash__(self) -> int:
            strike("hash")
            return 1

        def __eq__(self, other: object) -> bool:
            strike("eq")
            return self is other

        def __str__(self) -> str:
            strike("str")
            return "hostile"

        def close(self) -> None:
            strike("close")

        def __del__(self) -> None:
            strike("del")

    def make() -> object:
        strike("factory")
        return Hostile()

    for _ in range(30):
        try:
            kept = registry.get_or_create(Hostile(), make)
            with registry.use(Hostile(), make) as used:
                assert used is not kept
            registry.pop(Hostile(), None)
            assert Hostile() not in registry
        except RuntimeError as error:
            assert "is closed" in str(error) or "changed at each" in str(error)
            registry = Registry(4)
        assert len(registry) <= 4
    inside = True
    registry.close()
    assert len(registry) == 0
