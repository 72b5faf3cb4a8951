"""G9: a million of every operation leaves references, blocks and resident memory where they were.

Each case runs one operation in a process of its own: a warm-up, then a measured run of a million
rounds (100 000 for the operations marked SLOW, which handle whole caches or raise, and the number
beside them for those under RARE). After it
- the references to every key, value and callable involved are exactly what they were,
- sys.getallocatedblocks() is within 500 of what it was: a leak of one block a round is a million
  (2 000 for the operation with the fewest rounds),
- resident memory is within 2 MiB: 8 bytes leaked a round would be 8 MB.
What fills up once, such as the allocator's pools and CPython's cache of methods, may show in the
first runs; a leak shows in each of four.
"""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import tracemalloc
import weakref
from collections.abc import Callable
from itertools import repeat
from typing import Any

from isolated import FREE_THREADED, each, isolated, resident
from leaksafe import LRUCache, deep_sizeof, lru_cache, ttl_cache
from leaksafe.compat import cachetools
from leaksafe.compat.cachetools import func

Cache = LRUCache[Any, Any]
Round = Callable[[], object]

MILLION = 1_000_000
FEWER = 100_000
BLOCKS = 500
MEMORY = 2 * 2**20
RUNS = 4


class Key:
    """A key whose hash and comparison are Python code."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.number == other.number


class Sub(LRUCache[Any, Any]):
    def __missing__(self, key: Any) -> Any:
        return VALUE


class Failure(Exception):
    pass


class Raising:
    def __init__(self, at: str) -> None:
        self.at = at

    def __hash__(self) -> int:
        if self.at == "hash":
            raise Failure
        return 7

    def __eq__(self, other: object) -> bool:
        if self.at == "eq":
            raise Failure
        return self is other

    def __repr__(self) -> str:
        raise Failure

    def __sizeof__(self) -> int:
        raise Failure


def fails(*args: object) -> Any:
    raise Failure


def weigh(value: object) -> int:
    return 1


def weigh_both(key: object, value: object) -> int:
    return 1


def forget(key: object, value: object, cause: str) -> None:
    pass


def make() -> object:
    return VALUE


VALUE = [1]
OTHER = [2]
KEYS: list[Any] = [Key(0), ("key", 1), "key-2", 10**20, 3.5, Key(5), (Key(6), 1), object()]
HIT = KEYS[1]
ABSENT: Any = Key(100)
CALLABLES = [weigh, weigh_both, forget, fails, make]
WATCHED: list[Any] = [*KEYS, ABSENT, VALUE, OTHER, *CALLABLES]
if not FREE_THREADED:
    # there, each thread counts the references to a type by itself
    WATCHED += [LRUCache, Sub, Failure]


def filled(size: int | None = 8, *args: Any, kind: type[Cache] = LRUCache, **more: Any) -> Cache:
    cache = kind(**more) if "max_bytes" in more else kind(size, *args, **more)
    for key in KEYS:
        cache[key] = VALUE
    return cache


def quietly(operation: Round, *kinds: type[BaseException]) -> Round:
    """The operation, which must fail with one of these."""

    def run() -> None:
        try:
            operation()
        except kinds:
            return
        raise AssertionError("it didn't fail")

    return run


def alternating(*operations: Round) -> Round:
    def run() -> None:
        for operation in operations:
            operation()

    return run


def swept(operation: Round) -> Round:
    """The operation, whose cycles are collected before they pile up to peaks of their own."""
    count = 0

    def run() -> None:
        nonlocal count
        operation()
        count += 1
        if count % 500 == 0:
            gc.collect()

    return run


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


def make_and_close() -> Round:
    def run() -> None:
        with LRUCache[Any, Any](4, weigh, on_remove=forget) as cache:
            cache[HIT] = VALUE

    return run


def make_and_drop() -> Round:
    def run() -> None:
        cache = Sub(4, weigh_both, on_remove=forget)
        cache[HIT] = VALUE
        cache.attribute = VALUE  # type: ignore[attr-defined]

    return run


def make_and_collect() -> Round:
    def run() -> None:
        cache: Cache = LRUCache(4, weigh_both, on_remove=forget)
        cache[HIT] = cache
        cache[VALUE[0]] = iter(cache)

    return swept(run)


def make_error() -> Round:
    return alternating(
        quietly(lambda: LRUCache(-1, weigh), ValueError),
        quietly(lambda: LRUCache(1.5, weigh), TypeError),  # type: ignore[call-overload]
        quietly(lambda: LRUCache(1, 5), TypeError),  # type: ignore[call-overload]
        quietly(lambda: LRUCache(1, weigh, on_remove=5), TypeError),  # type: ignore[call-overload]
    )


def without_init() -> Round:
    def run() -> None:
        cache: Cache = LRUCache.__new__(LRUCache)
        cache[HIT] = VALUE

    return quietly(run, RuntimeError)


def closed() -> Round:
    cache: Cache = LRUCache(4)
    cache.close()
    return quietly(lambda: cache.__setitem__(HIT, VALUE), RuntimeError)


def callback() -> Round:
    cache = filled(4, on_remove=forget)

    def run() -> None:
        for key in KEYS:
            cache[key] = VALUE

    return run


def callback_error() -> Round:
    cache = filled(4)
    cache = LRUCache(1, on_remove=fails)
    sys.unraisablehook = lambda args: None

    def run() -> None:
        cache[HIT] = VALUE
        cache[ABSENT] = OTHER

    return run


def weigher() -> Round:
    cache = filled(4, weigh)

    def run() -> None:
        cache[HIT] = VALUE
        cache["new"] = VALUE

    return run


def weigher_of_both() -> Round:
    cache = filled(4, weigh_both)

    def run() -> None:
        cache[HIT] = VALUE
        cache["new"] = VALUE

    return run


def weigher_error() -> Round:
    cache: Cache = LRUCache(4, fails)
    return quietly(lambda: cache.__setitem__(HIT, VALUE), Failure)


def weigher_nonsense() -> Round:
    cache: Cache = LRUCache(4, lambda value: -1)
    other: Cache = LRUCache(4, lambda value: 1.5)  # type: ignore[arg-type]
    third: Cache = LRUCache(4, lambda value: 2**70)
    return alternating(
        quietly(lambda: cache.__setitem__(HIT, VALUE), ValueError),
        quietly(lambda: other.__setitem__(HIT, VALUE), TypeError),
        quietly(lambda: third.__setitem__(HIT, VALUE), OverflowError),
    )


def too_heavy() -> Round:
    cache: Cache = LRUCache(4, lambda value: 5)
    return quietly(lambda: cache.__setitem__(HIT, VALUE), ValueError)


def in_bytes() -> Round:
    cache: Cache = LRUCache(max_bytes="1 kB")

    def run() -> None:
        cache[HIT] = VALUE
        cache["new"] = [VALUE, cache, KEYS]
        cache["another"] = bytes(600)

    return run


def functions_in_bytes() -> Round:
    class Owner:
        @lru_cache(max_bytes="1 kB")
        def method(self, number: int) -> object:
            return [self, VALUE, bytes(number)]

    remember = [decorator(max_bytes="1 kB")(make_weighty) for decorator in (lru_cache, ttl_cache)]

    def run() -> None:
        owner = Owner()
        owner.method(300), owner.method(301), owner.method(302), owner.method(2_000)
        for function in remember:
            function(300), function(301), function(302), function(2_000)
            quietly(lambda: function(-1), Failure)()
            function.cache_clear()
        # Owner and result refer to each other.
        vars(owner).clear()

    return run


def make_weighty(number: int) -> object:
    return [VALUE, bytes(number)] if number > 0 else Raising("size")


def deep_sizes() -> Round:
    cache = filled()
    held = [cache, {"keys": KEYS, **dict.fromkeys(KEYS, OTHER)}, {VALUE[0], 3.5}, Sub(3)]
    return lambda: deep_sizeof(held)


def deep_size_error() -> Round:
    cache = filled(max_bytes=10_000)
    held = [KEYS, cache, Raising("size")]
    return alternating(
        quietly(lambda: deep_sizeof(held), Failure),
        quietly(lambda: cache.__setitem__(HIT, held), Failure),
        quietly(lambda: LRUCache(max_bytes="much"), ValueError),
    )


def stand_ins() -> Round:
    caches: list[Any] = [
        kind(3, **more)
        for kind, more in (
            (cachetools.FIFOCache, {}),
            (cachetools.LRUCache, {"getsizeof": weigh}),
            (cachetools.LFUCache, {}),
            (cachetools.RRCache, {}),
            (cachetools.TTLCache, {"ttl": 0.001}),
            (cachetools.TLRUCache, {"ttu": later}),
        )
    ]

    def run() -> None:
        for cache in caches:
            for key in KEYS[1:6]:
                cache[key] = VALUE
            cache.get(HIT)
            cache.pop(ABSENT, None)
            # what is left depends on chance and on time
            cache.clear()

    return run


def later(key: object, value: object, now: float) -> float:
    return now + 0.001


def stand_in_decorators() -> Round:
    remember = func.lru_cache(2)(make_one)

    class Owner:
        @cachetools.cachedmethod(lambda self: self.cache)
        def method(self, number: Any) -> Any:
            return VALUE

    def run() -> None:
        remember(HIT), remember(3), remember(4)
        owner: Any = Owner()
        owner.cache = cachetools.LRUCache(2)
        owner.method(HIT)

    return run


def make_one(key: object) -> object:
    return VALUE


def kept_nothing() -> Round:
    cache: Cache = LRUCache(0)
    return lambda: cache.__setitem__(HIT, VALUE)


def hash_error() -> Round:
    cache, key = filled(), Raising("hash")
    return alternating(
        quietly(lambda: cache[key], Failure),
        quietly(lambda: cache.__setitem__(key, VALUE), Failure),
    )


def eq_error() -> Round:
    cache, key = filled(9), Raising("eq")
    cache[Raising("eq")] = VALUE
    return alternating(
        quietly(lambda: cache[key], Failure),
        quietly(lambda: cache.__setitem__(key, VALUE), Failure),
        quietly(lambda: cache.get_or_create(key, make), Failure),
        quietly(lambda: cache.pop(key, None), Failure),
    )


def unhashable() -> Round:
    cache = filled()
    return alternating(
        quietly(lambda: cache[[]], TypeError),
        quietly(lambda: cache.__setitem__(({},), VALUE), TypeError),
    )


def wrong_arguments() -> Round:
    cache: Any = filled()
    return alternating(
        quietly(lambda: cache.get(), TypeError),
        quietly(lambda: cache.get(1, 2, 3), TypeError),
        quietly(lambda: cache.update(5), TypeError),
        quietly(lambda: cache | 5, TypeError),
        quietly(lambda: hash(cache), TypeError),
    )


def restarts() -> Round:
    """An __eq__ that changes its slot each time, to the RuntimeError."""
    cache: Cache = LRUCache(1)

    class Restless:
        inside = False

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            if not Restless.inside:
                Restless.inside = True
                cache.clear()
                cache[Restless()] = VALUE
                Restless.inside = False
            return False

    cache[Restless()] = VALUE
    return quietly(lambda: cache.get(Restless()), RuntimeError)


def inspection() -> Round:
    cache = filled()
    return lambda: (cache.stats(), cache.maxsize, cache.currsize, cache.closed, len(cache))


def weak_references() -> Round:
    cache = filled()

    def run() -> None:
        weakref.ref(cache, lambda _: None)

    return run


def traced() -> Round:
    """Growth told to tracemalloc is taken back."""
    tracemalloc.start()

    def run() -> None:
        cache: Cache = LRUCache(None)
        for number in range(20):
            cache[number] = VALUE

    return run


def big_and_small() -> Round:
    """A table that grows to 10 000 entries and is emptied, a hundred times."""
    cache: Cache = LRUCache(None)

    def run() -> None:
        for number in range(10_000):
            cache[number] = VALUE
        cache.clear()

    return run


def generic_alias() -> Round:
    return lambda: LRUCache[int, str]


FAST = (
    hit,
    hit_python_key,
    get_hit,
    get_miss,
    miss,
    missing,
    contains,
    peek,
    set_new_and_delete,
    replace,
    evict,
    evict_python_key,
    evict_fresh,
    pop,
    pop_default,
    popitem,
    setdefault,
    get_or_create_hit,
    get_or_create_miss,
    iterate,
    iterate_half,
    views,
    clear,
    resize,
    weigher,
    kept_nothing,
    inspection,
)
SLOW = (
    delete_miss,
    pop_miss,
    popitem_empty,
    get_or_create_error,
    get_or_create_error_fresh_keys,
    get_or_create_own_key,
    get_or_create_too_heavy,
    iterate_views,
    iterate_reversed,
    iterate_changed,
    views_in,
    views_set_operations,
    equal,
    equal_error,
    copies_of_a_subclass,
    representation,
    representation_error,
    update,
    update_error,
    union,
    resize_error,
    without_init,
    closed,
    callback,
    callback_error,
    weigher_of_both,
    weigher_error,
    weigher_nonsense,
    in_bytes,
    deep_sizes,
    deep_size_error,
    too_heavy,
    hash_error,
    eq_error,
    unhashable,
    wrong_arguments,
    weak_references,
    traced,
    generic_alias,
)
# tens of microseconds each, or more
RARE = {
    copies: 20_000,
    deep_copies: 20_000,
    pickles: 20_000,
    pickle_error: 20_000,
    make_and_close: 20_000,
    make_and_drop: 20_000,
    make_and_collect: 20_000,
    make_error: 20_000,
    functions_in_bytes: 10_000,
    stand_ins: 10_000,
    stand_in_decorators: 20_000,
    restarts: 2_000,
    # of 10 000 entries each
    big_and_small: 100,
}

ROUNDS: dict[Callable[[], Round], int] = {
    **dict.fromkeys(FAST, MILLION),
    **dict.fromkeys(SLOW, FEWER),
    **RARE,
}
OPERATIONS = {operation.__name__: operation for operation in ROUNDS}


def measure() -> tuple[list[int], int, int]:
    for _ in range(3):
        gc.collect()
    counts = [sys.getrefcount(one) for one in WATCHED]
    return counts, sys.getallocatedblocks(), resident()


@each("operation", OPERATIONS)
@isolated(malloc="default", limit=60)
def test_a_million_of(operation: str) -> None:
    one = OPERATIONS[operation]()
    rounds = ROUNDS[OPERATIONS[operation]]

    def grown(times: int) -> list[str]:
        counts, blocks, memory = measure()
        for _ in repeat(None, times):
            one()
        counts_after, blocks_after, memory_after = measure()
        growth = [
            f"{after - before:+} references to {watched!r}"
            for watched, before, after in zip(WATCHED, counts, counts_after, strict=True)
            if after != before
        ]
        if abs(blocks_after - blocks) > BLOCKS:
            growth.append(f"{blocks_after - blocks:+} blocks")
        if memory_after - memory > MEMORY:
            growth.append(f"{memory_after - memory:+} resident bytes")
        return growth

    # twice: measuring for the first time takes memory of its own
    for _ in range(2):
        grown(max(rounds // 20, 50))
    growth = [grown(rounds)]
    # pools and caches that were not full yet are soon, and a leak goes on
    while growth[-1] and len(growth) < RUNS:
        growth.append(grown(rounds))
    assert not growth[-1], f"each of {RUNS} runs of {rounds} left something: {growth}"
