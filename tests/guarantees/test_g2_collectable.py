"""G2: a cycle through any part of a cache is found by the collector, and freed."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

from cycles import CYCLES, Cache, Node

from isolated import each, full_collection, isolated
from leaksafe import LRUCache, Registry, singleton


@each("cycle", CYCLES)
@isolated()
def test_cycle(cycle: str) -> None:
    gc.disable()
    node = Node()
    node.held = (CYCLES[cycle](node),)
    holder = node.held[0]
    alive = weakref.ref(node)
    holders = [weakref.ref(one) for one in node.held if type(one).__weakrefoffset__]
    for _ in range(3):
        gc.collect()
    assert alive() is node and node.held == (holder,), "a living cycle was cleared"
    del node, holder
    assert cycle == "after_a_refusal" or alive() is not None, "there was no cycle here"
    full_collection()
    assert alive() is None, "the collector doesn't see this cycle"
    assert [one for one in holders if one() is not None] == []
    assert gc.garbage == []


@isolated()
def test_a_cycle_in_get_or_create_that_is_under_way() -> None:
    """What a flight holds is freed with it."""
    cache: Cache = LRUCache(4)
    node = Node(cache)
    alive = weakref.ref(node)

    def factory() -> Node:
        gc.collect()
        return node

    cache.get_or_create(node, factory)
    del node, factory, cache
    full_collection()
    assert alive() is None


@isolated()
def test_on_remove_is_not_called_by_the_collector() -> None:
    calls: list[object] = []
    cache: Cache = LRUCache(4, on_remove=lambda *args: calls.append(args))
    cache[1] = cache
    del cache
    full_collection()
    cache = LRUCache(4, on_remove=lambda *args: calls.append(args))
    cache[1] = 1
    del cache
    assert calls == []


@isolated()
def test_many_cycles_at_once() -> None:
    class Counted(Node):
        living = 0

        def __init__(self, *held: Any) -> None:
            super().__init__(*held)
            Counted.living += 1

        def __del__(self) -> None:
            Counted.living -= 1

    gc.disable()
    for _ in range(10_000):
        cache: Cache = LRUCache(2)
        cache[1] = Counted(cache)
        cache[2] = iter(cache.items())
    del cache
    assert Counted.living == 10_000
    full_collection()
    assert Counted.living == 0


@isolated()
def test_reference_counts_survive_collections() -> None:
    """Visiting must not count: a collection changes no one's references."""
    token = Node()
    cache: Cache = LRUCache(8, on_remove=token.method)
    cache[token] = token
    cache["list"] = [token]
    before = sys.getrefcount(token), sys.getrefcount(cache)
    for _ in range(50):
        gc.collect()
    assert (sys.getrefcount(token), sys.getrefcount(cache)) == before


def test_a_class_with_its_instance_is_collected() -> None:
    def make() -> Iterator[weakref.ref[Any]]:
        @singleton
        class Inner:
            pass

        class Below(Inner):
            pass

        yield weakref.ref(Inner)
        yield weakref.ref(Inner())
        yield weakref.ref(Below())

    for gone in list(make()):
        full_collection()
        assert gone() is None


def test_a_metaclass_with_its_classes_is_collected() -> None:
    def make() -> weakref.ref[Any]:
        class Meta(type): ...

        @singleton
        class Inner(metaclass=Meta): ...

        Inner()
        return weakref.ref(Meta)

    gone = make()
    full_collection()
    assert gone() is None


def registries(node: Any) -> Iterator[object]:
    """Registries that a node is held by, in each of the ways."""
    registry = Registry[Any, Any](None)
    registry.get_or_create("instance", lambda: node)
    yield registry
    registry = Registry[Any, Any](None)
    registry.get_or_create(node, list)
    yield registry
    registry = Registry[Any, Any](None)
    use = registry.use("used", lambda: node)
    use.__enter__()
    registry.clear()
    yield registry, use
    registry = Registry[Any, Any](None)
    override = registry.override(node, node)
    override.__enter__()
    yield registry, override
    registry = Registry[Any, Any](None, weak=True)
    registry.get_or_create(node, lambda: node)
    yield registry


def test_cycles_through_registries_are_freed() -> None:
    class Node:
        held: object

    gone: list[weakref.ref[Node]] = []
    for number in range(5):
        node = Node()
        node.held = list(registries(node))[number]
        gone.append(weakref.ref(node))
    del node
    full_collection()
    assert [reference() for reference in gone] == [None] * 5


def test_a_registry_that_a_factory_under_way_refers_to_is_not_collected() -> None:
    registry = Registry[str, list[int]](None)

    def make() -> list[int]:
        gc.collect()
        return [1]

    assert registry.get_or_create("a", make) == [1]
    gc.collect()
    assert registry["a"] == [1]
