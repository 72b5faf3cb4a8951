"""Cycles through every place where a cache holds something."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import types
import weakref
from collections.abc import Callable
from typing import Any

from leaksafe import LRUCache

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
