"""`Registry`: one instance of each key, in the order of their making, within a bound."""

from __future__ import annotations

import copy
import pickle
import threading
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from functools import partial
from math import inf, nan
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import BadEq, BadHash, Boom, Colliding, in_threads, outcomes, wait
from isolated import each, full_collection
from leaksafe import LRUCache, Registry, singleton

Any_ = Registry[Any, Any]


class Thing:
    """Notes its end in a list."""

    def __init__(self, name: object, closed: list[Any]) -> None:
        self.name, self.closed = name, closed

    def close(self) -> None:
        self.closed.append(self.name)


def made(name: object, closed: list[Any]) -> Callable[[], Thing]:
    return lambda: Thing(name, closed)


# One instance of each key


def test_one_instance_for_each_key() -> None:
    registry: Any_ = Registry(10)
    first = registry.get_or_create("a", list)
    assert registry.get_or_create("a", dict) is first
    assert registry.get_or_create("b", list) is not first
    assert registry["a"] is first
    assert ("a" in registry, "c" in registry, len(registry)) == (True, False, 2)


def test_the_order_is_that_of_making() -> None:
    registry: Any_ = Registry(None)
    for key in "cab":
        registry.get_or_create(key, list)
    registry.get_or_create("c", list), registry["c"]
    assert list(registry) == ["c", "a", "b"]
    for key in registry:
        registry.pop(key)
    assert list(registry) == []


def test_what_is_not_there() -> None:
    registry: Any_ = Registry(10)
    with pytest.raises(KeyError) as caught:
        registry[(1, 2)]
    assert caught.value.args == ((1, 2),)
    with pytest.raises(KeyError), registry.use("a"):
        pass
    with pytest.raises(KeyError):
        registry.pop("a")
    assert registry.pop("a", 5) == 5


def test_factories_may_return_anything() -> None:
    registry: Any_ = Registry(10)
    results = [None, 1, "a", [], object()]
    for key, result in enumerate(results):
        assert registry.get_or_create(key, partial(next, iter([result]))) is result
        assert registry.get_or_create(key, Boom) is result


@each("key", [float("nan"), (1, "a"), Colliding("x"), b"", 2**70])
def test_keys_of_every_kind(key: Any) -> None:
    registry: Any_ = Registry(10)
    other = Colliding("y")
    registry.get_or_create(other, list)
    assert registry.get_or_create(key, lambda: [1]) is registry.get_or_create(key, lambda: [2])
    assert registry.pop(key) == [1]
    assert list(registry) == [other]


def test_keys_that_fail() -> None:
    registry: Any_ = Registry(10)
    registry.get_or_create(7, list)
    for use in registry.__getitem__, registry.__contains__, registry.pop:
        with pytest.raises(Boom, match="eq"):
            use(BadEq())
        with pytest.raises(Boom, match="hash"):
            use(BadHash())
    with pytest.raises(Boom, match="eq"):
        registry.get_or_create(BadEq(), list)
    with pytest.raises(TypeError, match="unhashable"):
        registry.get_or_create([], list)
    assert list(registry) == [7]


@each(
    "wrong",
    [
        ((), TypeError, "maxsize"),
        ((1.5,), TypeError, "maxsize must be an int, or None"),
        ((True,), TypeError, "maxsize must be an int, or None"),
        (("a",), TypeError, "maxsize must be an int, or None"),
        ((-1,), ValueError, "maxsize must not be negative"),
        ((0,), ValueError, "maxsize must be at least 1, or None"),
        ((2**70,), OverflowError, "maxsize must be at most"),
    ],
)
def test_a_wrong_maxsize_is_refused(wrong: Any) -> None:
    arguments, kind, words = wrong
    with pytest.raises(kind, match=words):
        Registry(*arguments)


@each(
    "wrong",
    [(0, ValueError), (-1.0, ValueError), (nan, ValueError), ("1", TypeError), (True, TypeError)],
)
def test_a_wrong_ttl_is_refused(wrong: Any) -> None:
    ttl, kind = wrong
    with pytest.raises(kind, match="ttl must be"):
        Registry(1, ttl=ttl)


def test_other_wrong_arguments_are_refused() -> None:
    with pytest.raises(TypeError, match="weak must be a bool, not int"):
        Registry(1, weak=1)  # type: ignore[arg-type]
    registry: Any_ = Registry(1)
    with pytest.raises(TypeError, match="factory must be callable without arguments, not int"):
        registry.get_or_create("a", 5)  # type: ignore[arg-type]
    registry.get_or_create("a", list)
    with pytest.raises(TypeError):
        registry.get_or_create("a")  # type: ignore[call-arg]
    with pytest.raises(RuntimeError, match="initialised once"):
        registry.__init__(2)  # type: ignore[misc]
    assert (registry.maxsize, list(registry)) == (1, ["a"])


def test_one_without_init_makes_nothing() -> None:
    registry = Registry.__new__(Registry)
    with pytest.raises(RuntimeError, match="__init__"):
        registry.get_or_create("a", list)
    assert len(registry) == 0
    registry.close()


def test_it_is_neither_copied_nor_pickled() -> None:
    registry: Any_ = Registry(1)
    for duplicate in copy.copy, copy.deepcopy, pickle.dumps:
        with pytest.raises(TypeError, match="can't be copied or pickled"):
            duplicate(registry)


def test_a_subclass_has_arguments_of_its_own() -> None:
    class Connections(Registry[str, str]):
        def __init__(self, host: str) -> None:
            super().__init__(2)
            self.host = host

        def connect(self, name: str) -> str:
            return self.get_or_create(name, lambda: f"{name}@{self.host}")

    connections = Connections("db")
    assert connections.connect("a") == "a@db"
    assert repr(connections) == "Connections(['a'], maxsize=2)"


def test_repr_of_one_that_is_its_own_key() -> None:
    registry: Any_ = Registry(2)
    registry.get_or_create(registry, list)
    assert repr(registry) == "Registry([Registry(...)], maxsize=2)"


# Failures and circles


def test_a_failure_leaves_nothing() -> None:
    registry: Any_ = Registry(1)

    def fails() -> None:
        raise Boom

    with pytest.raises(Boom) as caught:
        registry.get_or_create("a", fails)
    assert caught.value.__context__ is None
    assert "a" not in registry
    assert registry.get_or_create("a", list) == []


def test_a_factory_that_needs_itself() -> None:
    registry: Any_ = Registry(5)

    def make() -> Any:
        return registry.get_or_create("A", make)

    with pytest.raises(RuntimeError, match="A → A"):
        registry.get_or_create("A", make)
    assert len(registry) == 0


def test_factories_that_need_each_other_say_the_way() -> None:
    registry: Any_ = Registry(5)
    start: Any = lambda: registry.get_or_create("A", one)  # noqa: E731
    one: Any = lambda: registry.get_or_create("B", two)  # noqa: E731
    two: Any = lambda: registry.get_or_create(("C", 1), one_again)  # noqa: E731
    one_again: Any = lambda: registry.get_or_create("B", list)  # noqa: E731
    with pytest.raises(RuntimeError, match=r"B → \('C', 1\) → B$"):
        registry.get_or_create("start", start)
    assert len(registry) == 0
    assert registry.get_or_create("A", list) == []


def test_a_circle_across_threads_says_the_way() -> None:
    registry: Any_ = Registry(5)
    both = threading.Barrier(2)

    def ask(own: str, other: str) -> Callable[[], Any]:
        def factory() -> Any:
            both.wait()
            return [registry.get_or_create(other, list)]

        return lambda: registry.get_or_create(own, factory)

    results = outcomes(ask("A", "B"), ask("B", "A"))
    [error] = [one for one in results if isinstance(one, RuntimeError)]
    assert "A → B → A" in str(error) or "B → A → B" in str(error)
    # The other is then alone, and makes both.
    assert [one for one in results if not isinstance(one, BaseException)] == [[[]]]


@pytest.mark.thread_unsafe(reason="has a singleton")
def test_a_circle_through_a_singleton() -> None:
    registry: Any_ = Registry(5)

    @singleton
    class Log:
        def __init__(self) -> None:
            registry.get_or_create("store", Log)

    with pytest.raises(RuntimeError, match=r"store → .*Log → store"):
        registry.get_or_create("store", Log)


def test_a_key_whose_str_fails_can_be_made() -> None:
    class Silent:
        def __str__(self) -> str:
            raise Boom

    registry: Any_ = Registry(5)
    assert registry.get_or_create(Silent(), list) == []


def test_who_waits_for_a_failure_makes_it() -> None:
    registry: Any_ = Registry(5)
    began, calls = threading.Event(), []

    def fails() -> None:
        began.set()
        time.sleep(0.02)
        raise Boom

    def second() -> Any:
        wait(began)
        return registry.get_or_create("a", lambda: calls.append(1) or "made")

    results = outcomes(lambda: registry.get_or_create("a", fails), second, second)
    assert isinstance(results[0], Boom)
    assert results[1:] == ["made", "made"]
    assert calls == [1]


# Weak


def test_weak_instances_live_while_somebody_holds_them() -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(5, weak=True)
    thing = registry.get_or_create("a", made("a", closed))
    assert registry.get_or_create("a", made("b", closed)) is thing
    full_collection()
    assert len(registry) == 1
    del thing
    full_collection()
    assert (len(registry), "a" in registry, closed) == (0, False, [])
    with registry.use("a", made("c", closed)) as thing:
        full_collection()
        assert registry["a"] is thing
    kept = registry.get_or_create("d", made("d", closed))
    registry.close()
    assert closed == []
    assert kept.name == "d"


def test_weak_needs_weak_references() -> None:
    registry: Any_ = Registry(5, weak=True)
    with pytest.raises(TypeError, match=r"can be weakly referenced.*int"):
        registry.get_or_create("a", lambda: 5)
    assert len(registry) == 0


def test_weak_has_a_bound_too() -> None:
    registry: Any_ = Registry(2, weak=True)
    kept = [registry.get_or_create(key, set) for key in range(5)]
    assert list(registry) == [3, 4]
    del kept
    full_collection()
    assert list(registry) == []


# Age


@each("ttl", [0.05, timedelta(milliseconds=50)])
def test_what_is_too_old_is_made_again(ttl: Any) -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(5, ttl=ttl)
    first = registry.get_or_create("a", made(1, closed))
    while registry.get_or_create("a", made(2, closed)) is first:
        time.sleep(0.005)
    while not closed:
        time.sleep(0.005)
    registry.close()
    while closed != [1, 2]:
        time.sleep(0.005)


def test_ages_are_counted_from_the_making() -> None:
    registry: Any_ = Registry(5, ttl=0.2)
    first = registry.get_or_create("a", list)
    end = time.monotonic() + 0.2
    while time.monotonic() < end:
        registry.get_or_create("a", list)
    time.sleep(0.02)
    assert registry.get_or_create("a", list) is not first


def test_an_infinite_ttl() -> None:
    registry: Any_ = Registry(1, ttl=inf)
    first = registry.get_or_create("a", list)
    assert registry.get_or_create("a", list) is first
    assert list(registry) == ["a"]


def test_a_ttl_that_is_over_at_once_can_be_used() -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(1, ttl=1e-9)
    for turn in range(20):
        with registry.use("a", made(turn, closed)) as thing:
            assert thing.name not in closed
    registry.close()
    assert sorted(closed) == sorted({*closed})


# Override


def test_override_stands_in_and_ends() -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(5)
    real = registry.get_or_create("a", made("a", closed))
    with registry.override("a", "fake"):
        assert registry.get_or_create("a", list) == "fake"
        assert (registry["a"], "a" in registry) == ("fake", True)
        assert in_threads(lambda: registry["a"]) == ["fake"]
        with registry.use("a") as used:
            assert used == "fake"
        with registry.override("a", None), registry.override("b", 5):
            assert (registry["a"], registry["b"]) == (None, 5)
        assert registry["a"] == "fake"
        assert list(registry) == ["a"]
    assert registry["a"] is real
    assert "b" not in registry
    assert closed == []


def test_override_ends_with_an_error_and_makes_nothing() -> None:
    registry: Any_ = Registry(5)
    with pytest.raises(Boom), registry.override(Colliding(1), "fake"):
        with registry.override(Colliding(2), "other"):
            assert registry.get_or_create(Colliding(1), list) == "fake"
            assert registry.get_or_create(Colliding(2), list) == "other"
        raise Boom
    assert registry.get_or_create(Colliding(1), list) == []


# Against a model

KEYS = st.integers(0, 6)
STEPS = st.one_of(
    st.tuples(st.just("get"), KEYS),
    st.tuples(st.just("pop"), KEYS),
    st.tuples(st.just("enter"), KEYS),
    st.tuples(st.just("leave"), st.integers(0, 5)),
    st.tuples(st.just("clear"), st.just(0)),
)


class Model:
    """What a registry does, in lists."""

    def __init__(self, maxsize: int) -> None:
        self.maxsize = maxsize
        self.there: list[tuple[int, int]] = []
        self.used: list[int] = []
        self.left: list[int] = []
        self.closed: list[int] = []
        self.made = 0

    def end(self, name: int) -> None:
        (self.left if name in self.used else self.closed).append(name)

    def get(self, key: int) -> int:
        for at, name in self.there:
            if at == key:
                return name
        if len(self.there) == self.maxsize:
            free = [pair for pair in self.there if pair[1] not in self.used]
            pair = (free or self.there)[0]
            self.there.remove(pair)
            self.end(pair[1])
        self.made += 1
        self.there.append((key, self.made))
        return self.made

    def pop(self, key: int) -> int | None:
        found = [pair for pair in self.there if pair[0] == key]
        for pair in found:
            self.there.remove(pair)
        return found[0][1] if found else None

    def leave(self, name: int) -> None:
        self.used.remove(name)
        if name in self.left and name not in self.used:
            self.left.remove(name)
            self.closed.append(name)

    def clear(self) -> None:
        for _, name in reversed(self.there):
            self.end(name)
        self.there = []


@given(st.lists(STEPS, max_size=60), st.integers(1, 5), st.booleans())
def test_it_does_what_lists_do(steps: Any, maxsize: int, slow: bool) -> None:
    model, closed = Model(maxsize), list[Any]()
    registry: Any_ = Registry(maxsize)
    uses: list[tuple[int, Any]] = []
    key_of: Any = Colliding if slow else int
    for step, number in steps:
        key = key_of(number)
        following = made(model.made + 1, closed)
        if step == "get":
            assert registry.get_or_create(key, following).name == model.get(number)
        elif step == "pop":
            thing = registry.pop(key, None)
            assert (thing and thing.name) == model.pop(number)
        elif step == "enter":
            use = registry.use(key, following)
            name = use.__enter__().name
            assert name == model.get(number)
            model.used.append(name)
            uses.append((name, use))
        elif step == "leave" and uses:
            name, use = uses.pop(number % len(uses))
            use.__exit__(None, None, None)
            model.leave(name)
        elif step == "clear":
            registry.clear()
            model.clear()
        assert [key.name if slow else key for key in registry] == [at for at, _ in model.there]
        assert closed == model.closed
        assert len(registry) == len(model.there) <= maxsize


# Re-entry


def test_instances_that_use_the_registry_when_they_are_closed() -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(1)

    class Reentrant(Thing):
        def close(self) -> None:
            super().close()
            if self.name in range(5):
                registry.get_or_create((10, self.name), made((10, self.name), closed))
            list(registry), len(registry), registry.pop(99, None)

    for name in range(3):
        registry.get_or_create(name, partial(Reentrant, name, closed))
    assert len(registry) == 1
    registry.clear()
    registry.close()
    assert len(closed) == len({*closed}) == 6


def test_a_close_that_closes_the_registry() -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(5)

    class Closing(Thing):
        def close(self) -> None:
            registry.close()
            super().close()

    for name in range(3):
        registry.get_or_create(name, partial(Closing, name, closed))
    registry.close()
    assert closed == [2, 1, 0]


def test_a_factory_that_closes_the_registry() -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(5)

    def make() -> Thing:
        registry.close()
        return Thing("late", closed)

    with pytest.raises(RuntimeError, match="this Registry is closed"):
        registry.get_or_create("a", make)
    assert closed == ["late"]


def test_comparisons_that_change_the_registry() -> None:
    registry: Any_ = Registry(3)

    class Evil(Colliding):
        def __eq__(self, other: object) -> bool:
            registry.pop(5, None)
            registry.get_or_create(5, list)
            return super().__eq__(other)

        __hash__ = Colliding.__hash__

    for turn in range(20):
        registry.get_or_create(Evil(turn % 4), list)
    assert len(registry) == 3


def test_registries_in_registries_to_any_depth() -> None:
    registry: Any_ = Registry(1)
    for _ in range(50_000):
        outer: Any_ = Registry(1)
        outer.get_or_create(0, partial(list, [registry]))
        registry = outer
    gone = weakref.ref(registry)
    del registry, outer
    assert gone() is None


def test_what_a_cache_holds_is_not_the_registrys() -> None:
    closed: list[Any] = []
    cache = LRUCache[Any, Any](1)
    registry: Any_ = Registry(1)
    cache["a"] = registry.get_or_create("a", made("a", closed))
    registry.get_or_create("b", made("b", closed))
    assert closed == ["a"]
    assert cache["a"].name == "a"
