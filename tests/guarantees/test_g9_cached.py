"""G9: cached, cached_property and the census leave reference counts and memory where they were."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Any

from harness import Boom
from isolated import each, full_collection, isolated, resident
from leaksafe import LRUCache, cached, cached_property, census

ROUNDS = 10_000

WAYS: dict[str, dict[str, Any]] = {
    "plain": {"maxsize": 16},
    "ttl": {"maxsize": 16, "ttl": 600},
    "mapping": {"cache": LRUCache(16)},
    "options": {"maxsize": 16, "ttl": 600, "stale_if_error": 5, "copy": list, "cache_if": bool},
}


def operations(way: str) -> dict[str, Callable[[int], object]]:
    @cached(**WAYS[way])
    def f(x: int, y: object = None, *, z: int = 1) -> list[int]:
        if x < 0:
            raise Boom(x)
        return [x]

    class Owner:
        @cached(**{**WAYS[way], **({"cache": LRUCache(16)} if way == "mapping" else {})})
        def method(self, x: int) -> Any:
            return [self, x]

        @cached_property
        def prop(self) -> Any:
            return [self]

    def fails(number: int) -> None:
        try:
            f(-1 - number)
        except Boom:
            pass

    def unhashable(_: int) -> None:
        try:
            f(1, [])
        except TypeError:
            pass

    return {
        "hits": lambda _: f(1),
        "keywords": lambda _: f(x=1, y=None),
        "misses": lambda number: f(number),
        "failures": fails,
        "unhashable": unhashable,
        "discard": lambda number: (f(number), f.cache_discard(number)),
        "put and peek": lambda number: (f.cache_put([number], 5), f.cache_peek(5)),
        "clear": lambda number: (f(number), f.cache_clear()),
        "instances": lambda number: (owner := Owner(), owner.method(number), owner.prop),
        "caches": lambda _: LRUCache(1),
    }


@each("way", WAYS)
@isolated(limit=120, malloc="default")
def test_every_operation_leaves_memory_where_it_was(way: str) -> None:
    for name, operation in operations(way).items():
        rounds = ROUNDS // 10 if name in ("instances", "unhashable") else ROUNDS
        for number in range(rounds // 10):
            operation(number)
        full_collection()
        objects, memory = len(gc.get_objects()), resident()
        for number in range(rounds):
            operation(number)
        full_collection()
        assert len(gc.get_objects()) < objects + 500, f"{name}: objects are left"
        assert resident() < memory + 4 * 2**20, f"{name}: memory is left"
    assert len(census()) < 100


@each("way", WAYS)
@isolated()
def test_arguments_and_results_are_released(way: str) -> None:
    @cached(**WAYS[way])
    def f(argument: Any) -> Any:
        return [argument]

    argument = object()
    before = sys.getrefcount(argument)
    f(argument)
    f(argument=argument)
    f.cache_put([argument], argument)
    assert f.cache_contains(argument)
    f.cache_clear()
    full_collection()
    assert sys.getrefcount(argument) == before


@each("way", WAYS)
@isolated()
def test_a_cycle_through_the_function_is_found(way: str) -> None:
    import weakref

    class Witness:
        pass

    def make() -> weakref.ref[Witness]:
        witness = Witness()
        options = {**WAYS[way], **({"cache": {}} if way == "mapping" else {})}
        seen: list[Any] = [witness]

        @cached(**options)
        def f(x: int) -> Any:
            return [f, seen, x]

        f(1)
        seen.append(f)
        f.witness = witness  # type: ignore[attr-defined]
        return weakref.ref(witness)

    gone = make()
    full_collection()
    assert gone() is None
