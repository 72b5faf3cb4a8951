"""Every place where a cache runs foreign code, times everything that code may do to the cache."""

from __future__ import annotations

import copy
import functools
import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from actors import (
    ACTIONS,
    Cache,
    Firing,
    FiringMapping,
    Index,
    Key,
    Trigger,
    Value,
    check,
    firing_pairs,
    nothing_left,
)

from isolated import each, isolated
from leaksafe import LRUCache

Operation = Callable[[Cache], object]
SIZE = 4


@contextmanager
def attempt(cache: Cache, *, walks: bool) -> Iterator[None]:
    """The foreign code may have taken the key away, or closed the cache; nothing else may fail.

    What walks the cache in sight of the caller may also say that it changed, as dict's would.
    """
    try:
        yield
    except KeyError as error:
        assert error.__context__ is None
    except RuntimeError as error:
        if not (walks and "changed during iteration" in str(error)):
            assert cache.closed and "closed" in str(error), repr(error)


def key_operations(key: Callable[[int], object]) -> dict[str, Operation]:
    """What hashes and compares a key; 1 is in the cache, 9 is not."""
    return {
        "[] hit": lambda c: c[key(1)],
        "[] miss": lambda c: c[key(9)],
        "get hit": lambda c: c.get(key(1)),
        "get miss": lambda c: c.get(key(9)),
        "in": lambda c: (key(1) in c, key(9) in c),
        "peek": lambda c: (c.peek(key(1)), c.peek(key(9))),
        "set new": lambda c: c.__setitem__(key(9), Value()),
        "set old": lambda c: c.__setitem__(key(1), Value()),
        "del": lambda c: c.__delitem__(key(1)),
        "del miss": lambda c: c.__delitem__(key(9)),
        "pop": lambda c: c.pop(key(1)),
        "pop default": lambda c: c.pop(key(9), None),
        "setdefault hit": lambda c: c.setdefault(key(1), Value()),
        "setdefault miss": lambda c: c.setdefault(key(9), Value()),
        "get_or_create hit": lambda c: c.get_or_create(key(1), Value),
        "get_or_create miss": lambda c: c.get_or_create(key(9), Value),
        "update": lambda c: c.update([(key(1), Value()), (key(9), Value())]),
        "|=": lambda c: c.__ior__([(key(1), Value()), (key(9), Value())]),
        "keys()": lambda c: (key(1) in c.keys(), key(9) in c.keys()),
        "items()": lambda c: ((key(1), None) in c.items(), (key(9), None) in c.items()),
        "keys() &": lambda c: c.keys() & {key(1), key(9)},
        "keys() -": lambda c: c.keys() - {key(1), key(9)},
    }


def removals() -> dict[str, Operation]:
    """Each way by which an entry leaves; 0 is the least recent."""

    def evict(cache: Cache) -> None:
        cache[9] = Value()

    def create(cache: Cache) -> None:
        cache.get_or_create(9, Value)

    def discard(cache: Cache) -> None:
        del cache[0]

    return {
        "evict": evict,
        "overwrite": lambda c: c.__setitem__(0, Value()),
        "del": discard,
        "pop": lambda c: c.pop(0),
        "popitem": lambda c: c.popitem(),
        "clear": lambda c: c.clear(),
        "shrink": lambda c: c.resize(2),
        "to nothing": lambda c: c.resize(0),
        "close": lambda c: c.close(),
        "setdefault": lambda c: c.setdefault(9, Value()),
        "get_or_create": create,
        "update": lambda c: c.update({n: Value() for n in range(9, 20)}),
        "with": lambda c: c.__exit__(None, None, None),
    }


def play(
    trigger: Trigger,
    make: Callable[[], Cache],
    operations: dict[str, Operation],
    *,
    walks: bool = False,
) -> None:
    for name, operation in operations.items():
        cache = make()
        before = trigger.fired
        trigger.arm(cache)
        try:
            with attempt(cache, walks=walks):
                operation(cache)
        except BaseException as error:
            error.add_note(f"in {name}")
            raise
        trigger.disarm()
        assert trigger.fired > before, f"{name} never ran the foreign code"
        check(cache)


@each("action", ACTIONS)
@each("at", ["hash", "eq"])
@isolated()
def test_key(at: str, action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            cache[Key(number, trigger, at)] = Value()
        return cache

    play(trigger, make, key_operations(lambda number: Key(number, trigger, at)))
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_key_in_tuple(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def key(number: int) -> object:
        return ("a", (1.5, Key(number, trigger, "eq", "hash")))

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            cache[key(number)] = Value()
        return cache

    play(trigger, make, key_operations(key))
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_value_del(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            cache[number] = Firing(trigger, "del")
        return cache

    play(trigger, make, removals())
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_key_del(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            cache[Key(number, trigger, "del")] = Value()
        return cache

    operations = removals()
    for name in ("overwrite", "del", "pop"):
        del operations[name]
    operations["del"] = lambda c: c.__delitem__(Key(0, trigger))
    operations["pop"] = lambda c: c.pop(Key(0, trigger))
    # of two equal keys the old one stays, as in a dict: it is the new one that dies
    operations["overwrite"] = lambda c: c.__setitem__(Key(0, trigger, "del"), Value())
    play(trigger, make, operations)
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_weakref_finalize_and_callback(action: str) -> None:
    trigger = Trigger(ACTIONS[action])
    references: list[object] = []

    def make_finalized() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            value = Value()
            weakref.finalize(value, trigger.fire)
            cache[number] = value
        return cache

    def make_referenced() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            value = Value()
            references.append(weakref.ref(value, lambda _: trigger.fire()))
            cache[number] = value
        return cache

    play(trigger, make_finalized, removals())
    play(trigger, make_referenced, removals())
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_on_remove(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def on_remove(key: object, value: object, cause: str) -> None:
        trigger.fire()

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE, on_remove=on_remove)
        for number in range(SIZE):
            cache[number] = Value()
        return cache

    play(trigger, make, removals())
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_getsizeof(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def getsizeof(value: object) -> int:
        trigger.fire()
        return 1

    def make(sizer: Callable[..., int]) -> Cache:
        cache: Cache = LRUCache(SIZE, sizer)
        for number in range(SIZE):
            cache[number] = Value()
        return cache

    operations: dict[str, Operation] = {
        "set new": lambda c: c.__setitem__(9, Value()),
        "set old": lambda c: c.__setitem__(1, Value()),
        "setdefault": lambda c: c.setdefault(9, Value()),
        "get_or_create": lambda c: c.get_or_create(9, Value),
        "update": lambda c: c.update({1: Value(), 9: Value()}),
        "|=": lambda c: c.__ior__({1: Value(), 9: Value()}),
    }
    sizers: list[Callable[..., int]] = [getsizeof, lambda key, value: getsizeof(value)]
    for sizer in sizers:
        play(trigger, functools.partial(make, sizer), operations)
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_repr(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE - 1):
            cache[Key(number, trigger, "repr")] = Firing(trigger, "repr")
        cache["self"] = cache
        return cache

    operations: dict[str, Operation] = {
        "repr": repr,
        "str": str,
        "format": lambda c: f"{c}",
    }
    play(trigger, make, operations)
    views: dict[str, Operation] = {
        "keys()": lambda c: repr(c.keys()),
        "values()": lambda c: repr(c.values()),
        "items()": lambda c: repr(c.items()),
    }
    play(trigger, make, views, walks=True)
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_value_eq(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def fill(cache: Any) -> Any:
        for number in range(SIZE):
            cache[number] = Firing(trigger, "eq")
        return cache

    def make() -> Cache:
        cache: Cache = fill(LRUCache(SIZE))
        return cache

    operations: dict[str, Operation] = {
        "== dict": lambda c: c == fill({}),
        "dict ==": lambda c: fill({}) == c,
        "== cache": lambda c: c == fill(LRUCache(SIZE)),
        "!=": lambda c: c != fill({}),
        "in items()": lambda c: (1, object()) in c.items(),
    }
    play(trigger, make, operations)
    play(trigger, make, {"in values()": lambda c: object() in c.values()}, walks=True)
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_factory(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def factory() -> Value:
        trigger.fire()
        return Value()

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            cache[number] = Value()
        return cache

    def same_key(cache: Cache) -> object:
        inner: list[object] = []

        def factory() -> Value:
            trigger.fire()
            if not cache.closed:
                inner.append(cache.get_or_create(9, Value))
            return Value()

        return cache.get_or_create(9, factory)

    def sets_it(cache: Cache) -> object:
        def factory() -> Value:
            trigger.fire()
            if not cache.closed:
                cache[9] = Value()
            return Value()

        return cache.get_or_create(9, factory)

    play(
        trigger,
        make,
        {
            "factory": lambda c: c.get_or_create(9, factory),
            "same key": same_key,
            "sets it": sets_it,
        },
    )
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_missing(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    class Filling(LRUCache[Any, Any]):
        def __missing__(self, key: Any) -> Any:
            trigger.fire()
            self[key] = value = Value()
            return value

    def make() -> Cache:
        cache = Filling(SIZE)
        for number in range(SIZE):
            cache[number] = Value()
        return cache

    play(trigger, make, {"[]": lambda c: c[9]})
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_update_source(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            cache[number] = Value()
        return cache

    operations: dict[str, Operation] = {
        "mapping": lambda c: c.update(FiringMapping(trigger)),
        "pairs": lambda c: c.update(firing_pairs(trigger)),
        "|=": lambda c: c.__ior__(firing_pairs(trigger)),
    }
    play(trigger, make, operations)

    # and with itself, in the sight of its callback
    def on_remove(key: object, value: object, cause: str) -> None:
        trigger.fire()

    def make_told() -> Cache:
        cache: Cache = LRUCache(SIZE, on_remove=on_remove)
        for number in range(SIZE):
            cache[number] = Value()
        return cache

    play(trigger, make_told, {"update": lambda c: c.update(c)}, walks=True)
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_copying(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            cache[number] = Firing(trigger, "reduce")
        return cache

    operations: dict[str, Operation] = {
        "deepcopy": copy.deepcopy,
        "pickle": pickle.dumps,
    }
    play(trigger, make, operations, walks=True)
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_size_index(action: str) -> None:
    trigger = Trigger(ACTIONS[action])

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE)
        for number in range(SIZE):
            cache[number] = Value()
        return cache

    def resize(cache: Cache) -> None:
        try:
            cache.resize(Index(2, trigger))
        except RuntimeError as error:
            assert "closed" in str(error)

    play(trigger, make, {"resize": resize})
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_collected_in_a_cycle(action: str) -> None:
    """A finalizer of a value may use, and bring back to life, the cache that dies with it."""
    kept: list[Cache] = []

    class Last(Value):
        def __init__(self, cache: Cache) -> None:
            super().__init__()
            self.cache = cache

        def __del__(self) -> None:
            super().__del__()
            if not kept:
                kept.append(self.cache)
                ACTIONS[action](self.cache)

    cache: Cache = LRUCache(SIZE)
    for number in range(SIZE):
        cache[number] = Last(cache)
    gone = weakref.ref(cache)
    del cache
    gc.collect()
    assert kept, "the finalizer didn't run"
    # what was finalized and is held again is dead by its own account: put something alive there
    kept[0].clear()
    check(kept[0])
    kept[0].close()
    kept[:] = [LRUCache(1)]
    nothing_left()
    assert gone() is None


@each("action", ACTIONS)
@isolated()
def test_dealloc(action: str) -> None:
    """The cache is going away when its values' finalizers look for it: it must not come back."""
    trigger = Trigger(ACTIONS[action])
    other: Cache = LRUCache(SIZE)

    def make() -> Cache:
        cache: Cache = LRUCache(SIZE, on_remove=functools.partial(print, end=""))
        for number in range(SIZE):
            cache[number] = Firing(trigger, "del")
        return cache

    cache = make()
    trigger.arm(cache)
    del cache
    assert trigger.fired == 0 and Value.living() == 0
    # nor may its end disturb another cache, which these finalizers use
    cache = make()
    other["last"] = Value()
    trigger.arm(other)
    del cache
    assert trigger.fired > 0
    trigger.disarm()
    check(other)
    del other
    nothing_left()


@each("action", ACTIONS)
@isolated()
def test_replaced_while_iterating(action: str) -> None:
    """An iterator that outlives a change, a resize or the cache itself ends or refuses."""
    cache: Cache = LRUCache(SIZE)
    for number in range(SIZE):
        cache[number] = Value()
    views: list[Any] = [cache, cache.keys(), cache.values(), cache.items()]
    walks = [walk for view in views for walk in (iter(view), reversed(view))]
    for walk in walks:
        next(walk)
    before = list(cache)
    ACTIONS[action](cache)
    changed = list(cache) != before
    rest: list[Any] = []
    for walk in walks:
        try:
            rest = list(walk)
        except RuntimeError as error:
            assert "changed during iteration" in str(error)
            assert changed or action in ("put_back", "insert", "update")
            # and it stays at its end
            try:
                again: object = next(walk, "end")
            except RuntimeError:
                again = "end"
            assert again == "end"
        else:
            assert not changed or action == "overwrite", f"{action} wasn't noticed"
            assert len(rest) == SIZE - 1 or not cache
    check(cache)
    del cache, views, walks, walk
    rest = []
    nothing_left()
