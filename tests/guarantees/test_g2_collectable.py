"""G2: a cycle through any part of a cache is found by the collector, and freed."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import sys
import types
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from isolated import each, full_collection, isolated
from leaksafe import LRUCache, Registry, singleton

Cache = LRUCache[Any, Any]


class Node:
    """Something that can refer to anything, and tells when it is gone."""

    def __init__(self, *held: Any) -> None:
        self.held = held

    def __call__(self, *args: Any) -> int:
        return 1

    def method(self, *args: Any) -> int:
        return 1


class Sub(LRUCache[Any, Any]):
    attribute: Any


class Text(str):
    held: Any


class Number(int):
    held: Any


class Items(tuple[Any, ...]):
    held: Any


class Slotted(float):
    __slots__ = ("held",)
    held: Any


def value(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = node
    return cache


def key(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[node] = 1
    return cache


def key_in_tuple(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1, (2, node)] = 1
    return cache


def itself(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = cache
    cache[2] = node
    return cache


def getsizeof(node: Node) -> object:
    return LRUCache(4, lambda value: len(node.held))


def getsizeof_of_key(node: Node) -> object:
    return LRUCache(4, lambda key, value: len(node.held))


def getsizeof_method(node: Node) -> object:
    return LRUCache(4, node.method)


def getsizeof_object(node: Node) -> object:
    return LRUCache(4, node)


def in_bytes(node: Node) -> object:
    cache: Cache = LRUCache(max_bytes="1 kB")
    cache[1] = node, cache
    return cache


def on_remove(node: Node) -> object:
    return LRUCache(4, on_remove=lambda key, value, cause: node)


def on_remove_method(node: Node) -> object:
    return LRUCache(4, on_remove=node.method)


def on_remove_partial(node: Node) -> object:
    return LRUCache(4, on_remove=functools.partial(print, node))


def attribute(node: Node) -> object:
    cache = Sub(4)
    cache.attribute = node
    return cache


def own_type(node: Node) -> object:
    kind = type("Kind", (LRUCache,), {"node": node})
    return kind(4)


def missing(node: Node) -> object:
    kind = type("Kind", (LRUCache,), {"__missing__": lambda self, key: node})
    return kind(4)


def filled() -> Cache:
    cache: Cache = LRUCache(4)
    for number in range(3):
        cache[number] = number
    return cache


def iterator(node: Node) -> object:
    cache = filled()
    cache[3] = node
    return iter(cache)


def started_iterator(node: Node) -> object:
    cache = filled()
    cache[3] = node
    walk = iter(cache.items())
    next(walk)
    return walk


def reverse_iterator(node: Node) -> object:
    cache = filled()
    cache[3] = node
    return reversed(cache.values())


def iterator_in_its_cache(node: Node) -> object:
    cache = filled()
    cache[3] = iter(cache)
    cache[2] = node
    return cache


def keys(node: Node) -> object:
    cache = filled()
    cache[3] = node
    return cache.keys()


def values(node: Node) -> object:
    cache = filled()
    cache[3] = node
    return cache.values()


def items(node: Node) -> object:
    cache = filled()
    cache[3] = node
    return cache.items()


def view_in_its_cache(node: Node) -> object:
    cache = filled()
    cache[3] = cache.items()
    cache[2] = node
    return cache


def mapping_of_a_view(node: Node) -> object:
    cache = filled()
    cache[3] = node
    return cache.keys().mapping


def bound_method(node: Node) -> object:
    return value(node).get  # type: ignore[attr-defined]


def list_in_cache(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = [[cache, node]]
    return cache


def two_caches(node: Node) -> object:
    one: Cache = LRUCache(4)
    two: Cache = LRUCache(4)
    one["other"], two["other"] = two, one
    two["node"] = node
    return one


def text_subclass(node: Node) -> object:
    cache: Cache = LRUCache(4)
    text = Text("text")
    text.held = node
    cache["x"] = text
    return cache


def number_subclass_as_key(node: Node) -> object:
    cache: Cache = LRUCache(4)
    number = Number(5)
    number.held = node
    cache[number] = 1
    return cache


def tuple_subclass(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = kept = Items((1, 2))
    kept.held = node
    return cache


def slotted(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = kept = Slotted(1.5)
    kept.held = node
    return cache


def tuple_with_a_list(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = (1, ("a", kept := []))
    kept.append(node)
    return cache


def untracked_tuple(node: Node) -> object:
    """A tuple that the collector gave up on, by a rule of its own, holds what it holds."""
    cache: Cache = LRUCache(4)
    inner = (1, 2)
    gc.collect()
    cache[1] = (inner, node)
    return cache


def dict_in_cache(node: Node) -> object:
    cache: Cache = LRUCache(4)
    kept: dict[str, Any] = {"a": 1}
    cache[1] = kept
    gc.collect()
    kept["node"] = node
    return cache


def frozen_set(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[frozenset((1, node))] = 1
    return cache


def generator(node: Node) -> object:
    cache: Cache = LRUCache(4)

    def run() -> Any:
        yield node, cache

    cache[1] = run()
    next(cache[1])
    return cache


def function(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = lambda: (cache, node)
    return cache


def traceback(node: Node) -> object:
    """A failure that somebody keeps in the cache holds the frames of its making."""
    cache: Cache = LRUCache(4)
    try:
        cache.get_or_create(1, lambda: 1 // (0 * len(node.held)))
    except ZeroDivisionError as error:
        cache["error"] = error
    return cache


def class_in_cache(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache["kind"] = type("Kind", (), {"node": node, "cache": cache})
    return cache


def module(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache["module"] = kept = types.ModuleType("kept")
    kept.node = node  # type: ignore[attr-defined]
    return cache


def created(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache.get_or_create(1, lambda: node)
    return cache


def setdefault(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache.setdefault(1, node)
    return cache


def updated(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache.update(a=node)
    return cache


def merged(node: Node) -> object:
    return LRUCache[Any, Any](4) | {1: node}


def merged_in_place(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache |= {1: node}
    return cache


def replaced(node: Node) -> object:
    cache = filled()
    assert not gc.is_tracked(cache)
    cache[1] = node
    return cache


def copied(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = node
    return cache.copy()


def copied_with_callable(node: Node) -> object:
    return copy.copy(LRUCache(4, on_remove=node.method))


def deep_copied(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = [1]
    deep = copy.deepcopy(cache)
    deep[1].append(node)
    return deep


def unpickled(node: Node) -> object:
    cache: Cache = LRUCache(4)
    cache[1] = [1]
    loaded: Any = pickle.loads(pickle.dumps(cache))
    loaded[1].append(node)
    return loaded


def tracked_again(node: Node) -> object:
    """Emptied of what made it tracked, filled with numbers, and then again with more."""
    cache: Cache = LRUCache(4)
    cache[1] = node
    cache.clear()
    gc.collect()
    for number in range(10):
        cache[number] = number
    gc.collect()
    cache["node"] = node
    return cache


def after_a_refusal(node: Node) -> object:
    cache: Cache = LRUCache(1, lambda value: 2 if value is node else 1)
    try:
        cache[1] = node
    except ValueError:
        pass
    return cache


def without_init(node: Node) -> object:
    cache = Sub.__new__(Sub)
    cache.attribute = node
    return cache


def closed(node: Node) -> object:
    cache = Sub(4)
    cache.close()
    cache.attribute = node
    return cache


def in_context(node: Node) -> object:
    cache: Cache = LRUCache(4)
    entered = cache.__enter__()
    entered[1] = node
    return cache.__exit__


def weak_callback(node: Node) -> object:
    cache: Cache = LRUCache(4)
    token = Node()
    cache["reference"] = weakref.ref(token, lambda _: (cache, node))
    cache["token"] = token
    return cache


def big(node: Node) -> object:
    cache: Cache = LRUCache(None)
    for number in range(10_000):
        cache[number] = [cache]
    cache["node"] = node
    return cache


CYCLES: dict[str, Callable[[Node], object]] = {
    function.__name__: function
    for function in (
        value,
        key,
        key_in_tuple,
        itself,
        getsizeof,
        in_bytes,
        getsizeof_of_key,
        getsizeof_method,
        getsizeof_object,
        on_remove,
        on_remove_method,
        on_remove_partial,
        attribute,
        own_type,
        missing,
        iterator,
        started_iterator,
        reverse_iterator,
        iterator_in_its_cache,
        keys,
        values,
        items,
        view_in_its_cache,
        mapping_of_a_view,
        bound_method,
        list_in_cache,
        two_caches,
        text_subclass,
        number_subclass_as_key,
        tuple_subclass,
        slotted,
        tuple_with_a_list,
        untracked_tuple,
        dict_in_cache,
        frozen_set,
        generator,
        function,
        traceback,
        class_in_cache,
        module,
        created,
        setdefault,
        updated,
        merged,
        merged_in_place,
        replaced,
        copied,
        copied_with_callable,
        deep_copied,
        unpickled,
        tracked_again,
        after_a_refusal,
        without_init,
        closed,
        in_context,
        weak_callback,
        big,
    )
}


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
