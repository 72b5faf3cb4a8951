"""LRUCache against a naive model, over operations that hypothesis chooses."""

from __future__ import annotations

import copy
import pickle
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from harness import Colliding
from leaksafe import LRUCache

Event = tuple[Any, Any, str]


class Name(Colliding):
    """A colliding key that is known by its name, so that copies are equal and pickling works."""


class Model:
    """An LRU cache that is too simple to be wrong."""

    def __init__(
        self, maxsize: int | None, weigh: Callable[[Any, Any], int], events: list[Event]
    ) -> None:
        self.maxsize = maxsize
        self.weigh = weigh
        self.events = events
        self.data: OrderedDict[Any, Any] = OrderedDict()
        self.hits = 0
        self.misses = 0
        self.insertions = 0

    @property
    def currsize(self) -> int:
        return sum(self.weigh(key, value) for key, value in self.data.items())

    def _kept(self, key: Any) -> Any:
        return next(kept for kept in self.data if kept == key)

    def _remove(self, key: Any, cause: str) -> Any:
        if key not in self.data:
            raise KeyError(key)
        kept = self._kept(key)
        value = self.data.pop(key)
        self.events.append((kept, value, cause))
        return value

    def _shrink(self) -> None:
        while self.maxsize is not None and self.data:
            if self.currsize <= self.maxsize and self.maxsize != 0:
                break
            self._remove(next(iter(self.data)), "size")

    def _too_heavy(self, key: Any, value: Any) -> bool:
        return bool(self.maxsize) and self.weigh(key, value) > (self.maxsize or 0)

    def __setitem__(self, key: Any, value: Any) -> None:
        if self._too_heavy(key, value):
            raise ValueError
        if key in self.data:
            self.events.append((self._kept(key), self.data[key], "replaced"))
        else:
            self.insertions += 1
        self.data[key] = value
        self.data.move_to_end(key)
        self._shrink()

    def __getitem__(self, key: Any) -> Any:
        if key not in self.data:
            self.misses += 1
            raise KeyError(key)
        self.hits += 1
        self.data.move_to_end(key)
        return self.data[key]

    def get(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            return default

    def peek(self, key: Any, default: Any = None) -> Any:
        return self.data.get(key, default)

    def __contains__(self, key: Any) -> bool:
        return key in self.data

    def __delitem__(self, key: Any) -> None:
        self._remove(key, "explicit")

    def pop(self, key: Any, *default: Any) -> Any:
        if key in self.data:
            return self._remove(key, "explicit")
        if default:
            return default[0]
        raise KeyError(key)

    def popitem(self) -> tuple[Any, Any]:
        if not self.data:
            raise KeyError
        key = next(iter(self.data))
        return key, self._remove(key, "explicit")

    def setdefault(self, key: Any, default: Any = None) -> Any:
        try:
            return self[key]
        except KeyError:
            self[key] = default
        return default

    def get_or_create(self, key: Any, factory: Callable[[], Any]) -> Any:
        try:
            return self[key]
        except KeyError:
            value = factory()
        if not self._too_heavy(key, value):
            self[key] = value
        return value

    def update(self, pairs: list[tuple[Any, Any]]) -> None:
        for key, value in pairs:
            self[key] = value

    def resize(self, maxsize: int | None) -> None:
        self.maxsize = maxsize
        self._shrink()

    def clear(self) -> None:
        for key in list(self.data):
            self._remove(key, "cleared")


# Equal keys of several types, different keys of equal hash, keys whose equality runs Python code.
KEYS: list[Any] = [
    0,
    -0.0,
    False,
    1,
    1.0,
    True,
    -1,
    -2,
    2**61 - 1,
    2**61,
    None,
    "",
    "a",
    b"a",
    (),
    (1, "a"),
    (1.0, "a"),
    (True, ("a", -1)),
    (1, ("a", -2)),
    Name("x"),
    Name("y"),
    Name("z"),
    (Name("x"), 1),
    (Name("y"), 1.0),
]


class ByValue:
    """Weights that depend on the value, from 0 up."""

    def __call__(self, value: int) -> int:
        return value % 6


class ByBoth:
    """Weights that depend on the key as well; equal keys weigh the same."""

    def __call__(self, key: Any, value: int) -> int:
        return value % 4 + (hash(key) % 3 if isinstance(key, (int, float)) else 1)


def one(key: Any, value: Any) -> int:
    return 1


WEIGHTS: dict[str, tuple[Any, Callable[[Any, Any], int]]] = {
    "counted": (None, one),
    "by value": (ByValue(), lambda key, value: ByValue()(value)),
    "by both": (ByBoth(), ByBoth()),
}

keys = st.sampled_from(KEYS)
values = st.integers(0, 11)
sizes = st.sampled_from([None, 0, 1, 2, 3, 5, 8, 13])
weights = st.sampled_from(sorted(WEIGHTS))
pairs = st.lists(st.tuples(keys, values), max_size=6)

operations = st.one_of(
    st.tuples(st.just("__setitem__"), keys, values),
    st.tuples(st.just("__setitem__"), keys, values),
    st.tuples(st.just("__getitem__"), keys),
    st.tuples(st.just("__delitem__"), keys),
    st.tuples(st.just("__contains__"), keys),
    st.tuples(st.just("get"), keys),
    st.tuples(st.just("get"), keys, values),
    st.tuples(st.just("peek"), keys, values),
    st.tuples(st.just("pop"), keys),
    st.tuples(st.just("pop"), keys, values),
    st.tuples(st.just("popitem")),
    st.tuples(st.just("setdefault"), keys, values),
    st.tuples(st.just("get_or_create"), keys, values.map(lambda value: lambda: value)),
    st.tuples(st.just("update"), pairs),
    st.tuples(st.just("resize"), sizes),
    st.tuples(st.just("clear")),
)


def exact(thing: Any) -> Any:
    """What tells 1 from 1.0 and from True, also within tuples."""
    if isinstance(thing, tuple):
        return tuple(map(exact, thing))
    if isinstance(thing, Colliding):
        return "name", thing.name
    return type(thing), repr(thing)


def by_cause(events: list[Event]) -> dict[str, list[Any]]:
    """The events of one operation: their order counts only among those of one cause."""
    sorted_out: dict[str, list[Any]] = {}
    for key, value, cause in events:
        # A replacement may name the key as it was kept or as it was given.
        name = key if cause == "replaced" else exact(key)
        sorted_out.setdefault(cause, []).append((name, value))
    return sorted_out


class Pair:
    """A cache and its model, to which the same things are done."""

    def __init__(self, maxsize: int | None, weight: str) -> None:
        getsizeof, weigh = WEIGHTS[weight]
        self.events: list[Event] = []
        self.expected: list[Event] = []
        self.causes: Counter[str] = Counter()
        self.model: Any = Model(maxsize, weigh, self.expected)
        self.cache: Any = LRUCache(maxsize, getsizeof, on_remove=self.heard)

    def heard(self, key: Any, value: Any, cause: str) -> None:
        self.events.append((key, value, cause))
        self.causes[cause] += 1

    def step(self, name: str, *arguments: Any) -> None:
        """Do one operation to both, and compare all that can be seen."""
        self.events.clear()
        self.expected.clear()
        outcome = self.outcome(self.cache, name, arguments)
        assert outcome == self.outcome(self.model, name, arguments)
        assert by_cause(self.events) == by_cause(self.expected)
        self.check()

    @staticmethod
    def outcome(mapping: Any, name: str, arguments: tuple[Any, ...]) -> Any:
        try:
            return exact(getattr(mapping, name)(*arguments))
        except (KeyError, ValueError) as error:
            return type(error)

    def check(self) -> None:
        cache, model = self.cache, self.model
        content = list(model.data.items())
        assert exact(tuple(cache.items())) == exact(tuple(content))
        assert exact(tuple(cache)) == exact(tuple(cache.keys())) == exact(tuple(model.data))
        assert list(cache.values()) == list(model.data.values())
        assert exact(tuple(reversed(cache))) == exact(tuple(reversed(model.data)))
        assert len(cache) == len(content)
        assert cache == dict(content)
        assert cache.maxsize == model.maxsize
        assert cache.currsize == model.currsize
        stats = cache.stats()
        assert (stats.hits, stats.misses) == (model.hits, model.misses)
        left = sum(stats.removals) - stats.removals.replaced
        assert stats.insertions - left == len(content)
        assert stats.insertions == model.insertions
        assert stats.removals._asdict() == {
            cause: self.causes[cause] for cause in stats.removals._fields
        }

    def check_copies(self) -> None:
        """Copies hold the same in the same order, and share nothing."""
        for duplicate in (
            self.cache.copy(),
            copy.copy(self.cache),
            pickle.loads(pickle.dumps(self.cache)),
        ):
            assert exact(tuple(duplicate.items())) == exact(tuple(self.cache.items()))
            assert duplicate.currsize == self.cache.currsize
            assert duplicate.maxsize == self.cache.maxsize
            duplicate.resize(None)
            duplicate["only in the copy"] = 1
        self.check()

    def __reduce__(self) -> Any:
        # The listener is a method of this object, and so is pickled with the cache.
        return Pair, (None, "counted")


@settings(max_examples=300)
@given(sizes, weights, st.lists(operations, max_size=60))
@example(2, "counted", [("__setitem__", 1, 1), ("__setitem__", True, 2), ("__delitem__", 1.0)])
@example(5, "by value", [("__setitem__", "a", 5), ("__setitem__", "a", 4), ("resize", 0)])
def test_any_sequence(maxsize: int | None, weight: str, sequence: list[tuple[Any, ...]]) -> None:
    pair = Pair(maxsize, weight)
    for name, *arguments in sequence:
        pair.step(name, *arguments)
    pair.check_copies()


@settings(max_examples=200)
@given(st.data(), sizes, st.lists(st.tuples(keys, values), max_size=25))
def test_iteration_meets_every_key_once_whatever_is_hit(
    data: st.DataObject, maxsize: int | None, content: list[tuple[Any, Any]]
) -> None:
    cache: LRUCache[Any, Any] = LRUCache(maxsize)
    cache.update(content)
    expected = list(cache)
    iterator = data.draw(st.sampled_from([cache.__iter__, cache.__reversed__]))()
    met = []
    for key in iterator:
        met.append(key)
        for hit in data.draw(st.lists(st.sampled_from(expected), max_size=3)):
            cache[hit]
    assert len(met) == len(expected)
    assert {id(key) for key in met} == {id(key) for key in expected}


class Machine(RuleBasedStateMachine):
    """The same, with rules of their own, so that a failure is told as a program."""

    @initialize(maxsize=sizes, weight=weights)
    def make(self, maxsize: int | None, weight: str) -> None:
        self.pair = Pair(maxsize, weight)

    @rule(key=keys, value=values)
    def setitem(self, key: Any, value: int) -> None:
        self.pair.step("__setitem__", key, value)

    @rule(key=keys)
    def get(self, key: Any) -> None:
        self.pair.step("get", key)

    @rule(key=keys)
    def getitem(self, key: Any) -> None:
        self.pair.step("__getitem__", key)

    @rule(key=keys)
    def look(self, key: Any) -> None:
        self.pair.step("peek", key)
        self.pair.step("__contains__", key)

    @rule(key=keys)
    def delete(self, key: Any) -> None:
        self.pair.step("__delitem__", key)

    @rule(key=keys, value=values)
    def pop(self, key: Any, value: int) -> None:
        self.pair.step("pop", key, value)

    @rule()
    def popitem(self) -> None:
        self.pair.step("popitem")

    @rule(key=keys, value=values)
    def setdefault(self, key: Any, value: int) -> None:
        self.pair.step("setdefault", key, value)

    @rule(key=keys, value=values)
    def get_or_create(self, key: Any, value: int) -> None:
        self.pair.step("get_or_create", key, lambda: value)

    @rule(pairs=pairs)
    def update(self, pairs: list[tuple[Any, int]]) -> None:
        self.pair.step("update", pairs)

    @rule(maxsize=sizes)
    def resize(self, maxsize: int | None) -> None:
        self.pair.step("resize", maxsize)

    @rule()
    def clear(self) -> None:
        self.pair.step("clear")

    @rule()
    def copies(self) -> None:
        self.pair.check_copies()

    @rule(key=keys)
    def fail(self, key: Any) -> None:
        cache = self.pair.cache
        with pytest.raises(TypeError):
            cache[[key]]
        with pytest.raises(ZeroDivisionError):
            cache.get_or_create(("never kept", key), lambda: 1 // 0)
        self.pair.model.misses += 1

    @invariant()
    def same(self) -> None:
        self.pair.check()


TestMachine = Machine.TestCase
TestMachine.settings = settings(max_examples=120, stateful_step_count=50)
