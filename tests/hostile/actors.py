"""Keys, values and callables that strike back at the cache that uses them."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from leaksafe import LRUCache

Cache = LRUCache[Any, Any]

_fresh = itertools.count(1_000_000)


class Value:
    """Is counted while it lives, and notes in ``dead`` that it was finalized."""

    # a set, whose add and discard are one step also where threads run at once
    alive: ClassVar[set[int]] = set()

    def __init__(self) -> None:
        self.dead = False
        Value.alive.add(id(self))

    @staticmethod
    def living() -> int:
        return len(Value.alive)

    def __del__(self) -> None:
        assert not self.dead
        self.dead = True
        Value.alive.discard(id(self))

    def __copy__(self) -> Value:
        return Value()

    def __deepcopy__(self, memo: object) -> Value:
        return Value()

    def __reduce__(self) -> tuple[type[Value], tuple[()]]:
        return Value, ()


def _clear(cache: Cache) -> None:
    cache.clear()
    assert len(cache) == 0


def _insert(cache: Cache) -> None:
    for _ in range(6):
        cache[next(_fresh)] = Value()


def _overwrite(cache: Cache) -> None:
    for key in list(cache):
        cache[key] = Value()


def _delete(cache: Cache) -> None:
    for key in list(cache):
        del cache[key]


def _pop(cache: Cache) -> None:
    for key in list(cache):
        cache.pop(key)


def _popitem(cache: Cache) -> None:
    while cache:
        cache.popitem()


def _put_back(cache: Cache) -> None:
    entries = list(cache.items())
    cache.clear()
    for key, value in entries:
        cache[key] = value


def _shrink(cache: Cache) -> None:
    cache.resize(1)


def _grow(cache: Cache) -> None:
    cache.resize(100)
    for _ in range(50):
        cache[next(_fresh)] = Value()


def _to_nothing(cache: Cache) -> None:
    cache.resize(0)
    assert len(cache) == 0
    cache[next(_fresh)] = Value()
    assert len(cache) == 0


def _close(cache: Cache) -> None:
    cache.close()
    assert len(cache) == 0 and cache.closed


def _iterate(cache: Cache) -> None:
    assert len(list(cache)) == len(cache)
    assert len(list(reversed(cache))) == len(cache)
    assert len(list(cache.items())) == len(list(cache.values())) == len(cache.keys())


def _read(cache: Cache) -> None:
    for key in list(cache):
        assert cache.get(key) is cache.peek(key)


def _create(cache: Cache) -> None:
    value = Value()
    assert cache.get_or_create(next(_fresh), lambda: value) is value


def _update(cache: Cache) -> None:
    cache.update({next(_fresh): Value() for _ in range(6)})
    cache.setdefault(next(_fresh), Value())


def _copy(cache: Cache) -> None:
    assert len(cache.copy()) == len(copy.copy(cache)) == len(cache)


def _look(cache: Cache) -> None:
    repr(cache)
    assert cache == cache
    cache.stats()


def _collect(cache: Cache) -> None:
    gc.collect()


ACTIONS: dict[str, Callable[[Cache], None]] = {
    action.__name__[1:]: action
    for action in (
        _clear,
        _insert,
        _overwrite,
        _delete,
        _pop,
        _popitem,
        _put_back,
        _shrink,
        _grow,
        _to_nothing,
        _close,
        _iterate,
        _read,
        _create,
        _update,
        _copy,
        _look,
        _collect,
    )
}


class Trigger:
    """Runs an action on the cache at the first few calls of ``fire`` after it was armed."""

    def __init__(self, action: Callable[[Cache], object], times: int = 3) -> None:
        self.action = action
        self.times = times
        self.left = 0
        self.fired = 0
        self.inside = False
        self.target: weakref.ref[Cache] | None = None

    def arm(self, cache: Cache) -> None:
        self.target = weakref.ref(cache)
        self.left = self.times

    def disarm(self) -> None:
        self.left = 0

    def fire(self) -> None:
        cache = self.target() if self.target is not None else None
        if self.left == 0 or self.inside or cache is None:
            return
        self.left -= 1
        self.fired += 1
        self.inside = True
        try:
            self.action(cache)
        except RuntimeError as error:
            # the one refusal that an action may meet: a place for inserts that is closed by now
            if not cache.closed:
                raise AssertionError("an action was refused") from error
        finally:
            self.inside = False


class Key:
    """Equal to a key of the same number, and of the same hash as every other."""

    def __init__(self, number: int, trigger: Trigger, *at: str) -> None:
        self.number = number
        self.trigger = trigger
        self.at = at

    def __hash__(self) -> int:
        if "hash" in self.at:
            self.trigger.fire()
        return 7

    def __eq__(self, other: object) -> bool:
        if "eq" in self.at:
            self.trigger.fire()
        return isinstance(other, Key) and self.number == other.number

    def __repr__(self) -> str:
        if "repr" in self.at:
            self.trigger.fire()
        return f"Key({self.number})"

    def __del__(self) -> None:
        if "del" in self.at:
            self.trigger.fire()


class Firing(Value):
    """A value that fires from its __del__, __eq__, __repr__, __reduce__ or __deepcopy__."""

    def __init__(self, trigger: Trigger, *at: str) -> None:
        super().__init__()
        self.trigger = trigger
        self.at = at

    def __del__(self) -> None:
        if "del" in self.at:
            self.trigger.fire()
        super().__del__()

    def __eq__(self, other: object) -> bool:
        if "eq" in self.at:
            self.trigger.fire()
        return self is other

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        if "repr" in self.at:
            self.trigger.fire()
        return "Firing()"

    def __deepcopy__(self, memo: object) -> Value:
        if "reduce" in self.at:
            self.trigger.fire()
        return Value()

    def __reduce__(self) -> tuple[type[Value], tuple[()]]:
        if "reduce" in self.at:
            self.trigger.fire()
        return Value, ()


class FiringMapping:
    """A source for update() that fires from keys() and __getitem__."""

    def __init__(self, trigger: Trigger) -> None:
        self.trigger = trigger

    def keys(self) -> list[str]:
        self.trigger.fire()
        return ["a", "b", "c", "d", "e"]

    def __getitem__(self, key: str) -> Value:
        self.trigger.fire()
        return Value()


def firing_pairs(trigger: Trigger) -> Iterator[tuple[str, Value]]:
    for name in "abcde":
        trigger.fire()
        yield name, Value()


class Index:
    """A size whose __index__ fires."""

    def __init__(self, number: int, trigger: Trigger) -> None:
        self.number = number
        self.trigger = trigger

    def __index__(self) -> int:
        self.trigger.fire()
        return self.number


def check(cache: Cache) -> None:
    """What must hold of a cache at rest, whatever was done to it."""
    keys = list(cache)
    values = list(cache.values())
    size = len(keys)
    assert len(cache) == size == len(values) == len(list(cache.items()))
    assert [id(key) for key in reversed(cache)] == [id(key) for key in reversed(keys)]
    assert bool(cache) == bool(size)
    if cache.maxsize is not None:
        assert cache.currsize <= cache.maxsize, f"{cache.currsize} of {cache.maxsize}"
    stats = cache.stats()
    assert stats.currsize == cache.currsize
    # of a key that was there, a new value is a removal and no insertion
    gone = sum(stats.removals) - stats.removals.replaced
    assert stats.insertions - gone == size, f"{stats} of {size} entries"
    for key, value in zip(keys, values, strict=True):
        assert not (isinstance(value, Value) and value.dead), "a value it holds was finalized"
        assert key in cache, f"{key!r} is listed and not found"
        assert cache.peek(key) is value
    assert [id(key) for key in cache] == [id(key) for key in keys]
    for key in keys[:3]:
        assert cache[key] is cache.peek(key)
        assert next(iter(reversed(cache))) is key
    if cache.closed:
        assert size == 0
        return
    fresh = next(_fresh)
    cache[fresh] = value = Value()
    if cache.maxsize == 0:
        assert len(cache) == 0
    else:
        assert cache.pop(fresh) is value
    pickle.loads(pickle.dumps(cache.stats()))


def nothing_left() -> None:
    """After the last name of a cache is gone, so is what it held."""
    for _ in range(3):
        gc.collect()
    assert Value.living() == 0, f"{Value.living()} values are left"
