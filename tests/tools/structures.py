"""One of each structure, filled with things that somebody else holds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from leaksafe import (
    LazyObjects,
    LRUCache,
    Registry,
    TTLCache,
    WeakCache,
    WeakIdDictionary,
    WeakKeyDictionary,
    WeakList,
    WeakSet,
    WeakValueDictionary,
    cached,
    lru_cache,
    ttl_cache,
)


class Thing:
    __slots__ = ("__weakref__", "number")

    def __init__(self, number: int) -> None:
        self.number = number


def mapping(cache: Any, things: Sequence[Thing]) -> Any:
    cache.update((thing.number, thing) for thing in things)
    return cache


def decorated(decorate: Callable[[Any], Any], things: Sequence[Thing]) -> Any:
    @decorate
    def function(number: int) -> Thing:
        return things[number]

    for thing in things:
        function(thing.number)
    return function


def method(things: Sequence[Thing]) -> Any:
    class Class:
        @lru_cache(maxsize=None)
        def method(self, number: int) -> Thing:
            return things[number]

    instance = Class()
    for thing in things:
        instance.method(thing.number)
    return instance, Class.method


def registry(things: Sequence[Thing]) -> Any:
    made: Registry[int, Thing] = Registry(None)
    for thing in things:
        made.get_or_create(thing.number, partial(things.__getitem__, thing.number))
    return made


def lazy_objects(things: Sequence[Thing]) -> Any:
    made = LazyObjects(things.__getitem__, [thing.number for thing in things], keep=len(things))
    for _ in made:
        pass
    return made


STRONG: dict[str, Callable[[Sequence[Thing]], Any]] = {
    "LRUCache": lambda things: mapping(LRUCache(None), things),
    "TTLCache": lambda things: mapping(TTLCache(len(things), 600), things),
    "lru_cache": lambda things: decorated(lru_cache(maxsize=None), things),
    "lru_cache of a method": method,
    "ttl_cache": lambda things: decorated(ttl_cache(maxsize=None, ttl=600), things),
    "cached": lambda things: decorated(cached(maxsize=None), things),
    "cached with a cache": lambda things: decorated(cached(LRUCache(None)), things),
    "WeakCache": lambda things: mapping(WeakCache(len(things)), things),
    "Registry": registry,
    "LazyObjects": lazy_objects,
}
WEAK: dict[str, Callable[[Sequence[Thing]], Any]] = {
    "WeakValueDictionary": lambda things: mapping(WeakValueDictionary(), things),
    "WeakKeyDictionary": lambda things: WeakKeyDictionary((one, one.number) for one in things),
    "WeakIdDictionary": lambda things: WeakIdDictionary((one, one.number) for one in things),
    "WeakSet": WeakSet,
    "WeakList": WeakList,
}
