"""Rounds of the operations of a mapping."""

from __future__ import annotations

import copy
import pickle
from typing import Any

from rounds import (
    ABSENT,
    HIT,
    KEYS,
    OTHER,
    VALUE,
    Cache,
    Failure,
    Key,
    Raising,
    Round,
    Sub,
    fails,
    filled,
    forget,
    make,
    quietly,
    swept,
    weigh,
)

from leaksafe import LRUCache


def hit() -> Round:
    cache = filled()
    return lambda: cache[HIT]


def hit_python_key() -> Round:
    cache, key = filled(), Key(5)
    return lambda: cache[key]


def get_hit() -> Round:
    cache = filled()
    return lambda: cache.get(HIT)


def get_miss() -> Round:
    cache = filled()
    return lambda: cache.get(ABSENT, OTHER)


def miss() -> Round:
    cache = filled()
    return quietly(lambda: cache[ABSENT], KeyError)


def missing() -> Round:
    cache = filled(kind=Sub)
    return lambda: cache[ABSENT]


def contains() -> Round:
    cache = filled()
    return lambda: (HIT in cache, ABSENT in cache)


def peek() -> Round:
    cache = filled()
    return lambda: (cache.peek(HIT), cache.peek(ABSENT, OTHER))


def set_new_and_delete() -> Round:
    cache = filled(9)

    def run() -> None:
        cache[ABSENT] = VALUE
        del cache[ABSENT]

    return run


def replace() -> Round:
    cache = filled()

    def run() -> None:
        cache[HIT] = VALUE
        cache[HIT] = OTHER

    return run


def evict() -> Round:
    cache = filled(4)
    numbers = iter(range(10**9))

    def run() -> None:
        cache[next(numbers)] = VALUE

    return run


def evict_python_key() -> Round:
    cache = filled(4)

    def run() -> None:
        cache[Key(1000)] = VALUE
        cache[Key(1001)] = [1]

    return run


def evict_fresh() -> Round:
    """Without a bound in sight for a while: the table grows and shrinks."""
    cache = filled(4)
    numbers = iter(range(10**9))

    def run() -> None:
        cache[str(next(numbers))] = object()

    return run


def delete_miss() -> Round:
    cache = filled()
    return quietly(lambda: cache.__delitem__(ABSENT), KeyError)


def pop() -> Round:
    cache = filled()

    def run() -> None:
        cache[ABSENT] = cache.pop(HIT)
        cache[HIT] = cache.pop(ABSENT)

    return run


def pop_default() -> Round:
    cache = filled()
    return lambda: cache.pop(ABSENT, OTHER)


def pop_miss() -> Round:
    cache = filled()
    return quietly(lambda: cache.pop(ABSENT), KeyError)


def popitem() -> Round:
    """lru-dict leaks one reference each."""
    cache = filled()

    def run() -> None:
        key, value = cache.popitem()
        cache[key] = value

    return run


def popitem_empty() -> Round:
    cache: Cache = LRUCache(4)
    return quietly(cache.popitem, KeyError)


def setdefault() -> Round:
    cache = filled(9)

    def run() -> None:
        cache.setdefault(HIT, OTHER)
        cache.setdefault(ABSENT, OTHER)
        cache.pop(ABSENT)

    return run


def get_or_create_hit() -> Round:
    cache = filled()
    return lambda: cache.get_or_create(HIT, fails)


def get_or_create_miss() -> Round:
    cache = filled(9)

    def run() -> None:
        cache.get_or_create(ABSENT, make)
        cache.pop(ABSENT)

    return run


def get_or_create_error() -> Round:
    cache = filled()
    return quietly(lambda: cache.get_or_create(ABSENT, fails), Failure)


def get_or_create_error_fresh_keys() -> Round:
    """cachebox: 2 000 locks kept at maxsize 8."""
    cache = filled()
    numbers = iter(range(10**9))
    return quietly(lambda: cache.get_or_create(next(numbers), fails), Failure)


def get_or_create_own_key() -> Round:
    cache = filled(9)

    def run() -> None:
        cache.get_or_create(ABSENT, lambda: cache.get_or_create(ABSENT, make))
        cache.pop(ABSENT, None)

    return run


def get_or_create_too_heavy() -> Round:
    cache: Cache = LRUCache(4, lambda value: 5)
    return lambda: cache.get_or_create(ABSENT, make)


def iterate() -> Round:
    cache = filled()
    return lambda: [None for _ in cache]


def iterate_views() -> Round:
    cache = filled()

    def run() -> None:
        for _ in cache.keys():
            pass
        for _ in cache.values():
            pass
        for _, _ in cache.items():
            pass

    return run


def iterate_reversed() -> Round:
    cache = filled()

    def run() -> None:
        for _ in reversed(cache):
            pass
        for _, _ in reversed(cache.items()):
            pass

    return run


def iterate_half() -> Round:
    cache = filled()

    def run() -> None:
        walk, pairs = iter(cache), iter(cache.items())
        next(walk)
        next(pairs)

    return run


def iterate_changed() -> Round:
    cache = filled()

    def run() -> None:
        walk = iter(cache.items())
        next(walk)
        key, value = cache.popitem()
        cache[key] = value
        list(walk)

    return quietly(run, RuntimeError)


def views() -> Round:
    cache = filled()
    return lambda: (len(cache.keys()), len(cache.values()), cache.items().mapping is cache)


def views_in() -> Round:
    cache = filled()
    return lambda: (HIT in cache.keys(), VALUE in cache.values(), (HIT, VALUE) in cache.items())


def views_set_operations() -> Round:
    cache: Cache = LRUCache(4)
    cache["a"], cache["b"] = 1, 2

    def run() -> None:
        cache.keys() & {"a"}
        cache.keys() | {"c"}
        cache.keys() - {"b"}
        cache.items() ^ {("a", 1)}
        cache.keys() == {"a", "b"}

    return run


def equal() -> Round:
    one, two, other = filled(), filled(), dict.fromkeys(KEYS, VALUE)
    return lambda: (one == two, one == other, other == one, one != {})


def equal_error() -> Round:
    one, two = filled(), filled()
    two[HIT] = Raising("eq")
    return quietly(lambda: one == two, Failure)


def copies() -> Round:
    cache = filled(8, weigh, on_remove=forget)
    return lambda: (cache.copy(), copy.copy(cache))


def copies_of_a_subclass() -> Round:
    cache = filled(kind=Sub)
    cache.attribute = VALUE  # type: ignore[attr-defined]
    return lambda: (cache.copy(), copy.copy(cache))


def deep_copies() -> Round:
    cache: Cache = LRUCache(4)
    cache["a"], cache["b"] = [1], cache
    return swept(lambda: copy.deepcopy(cache))


def pickles() -> Round:
    cache: Cache = LRUCache(4, on_remove=forget)
    cache["a"], cache["b"] = [1], cache
    return swept(lambda: pickle.loads(pickle.dumps(cache)))


def pickle_error() -> Round:
    cache: Cache = LRUCache(4)
    cache["a"] = lambda: None
    return quietly(lambda: pickle.dumps(cache), pickle.PicklingError, AttributeError)


def representation() -> Round:
    cache: Cache = LRUCache(4)
    cache["a"], cache["b"] = 1, cache
    return lambda: (repr(cache), repr(cache.items()))


def representation_error() -> Round:
    cache: Cache = LRUCache(4)
    cache["a"] = Raising("repr")
    return quietly(lambda: repr(cache), Failure)


def update() -> Round:
    cache, other = filled(4), filled(4)
    pairs: list[Any] = [(key, OTHER) for key in KEYS]
    mapping = dict.fromkeys(KEYS, VALUE)

    def run() -> None:
        cache.update(pairs)
        cache.update(mapping)
        cache.update(other)
        cache.update(a=VALUE)

    return run


def update_error() -> Round:
    cache = filled(4)
    broken: list[Any] = [(HIT, VALUE), (1, 2, 3)]
    return quietly(lambda: cache.update(broken), ValueError)


def union() -> Round:
    cache, mapping = filled(4), dict.fromkeys(KEYS, VALUE)

    def run() -> None:
        nonlocal cache
        cache | mapping
        mapping | cache
        cache |= mapping

    return run


def clear() -> Round:
    cache: Cache = LRUCache(8)

    def run() -> None:
        cache[HIT] = VALUE
        cache["other"] = VALUE
        cache.clear()

    return run


def resize() -> Round:
    cache = filled()

    def run() -> None:
        cache[HIT] = VALUE
        cache["other"] = VALUE
        cache.resize(1)
        cache.resize(8)

    return run


def resize_error() -> Round:
    cache = filled()
    return quietly(lambda: cache.resize(-1), ValueError)
