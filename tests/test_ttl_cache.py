"""TTLCache: all that LRUCache is, and age."""

from __future__ import annotations

import copy
import gc
import math
import pickle
import time
import weakref
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from leaksafe import LRUCache, TTLCache
from mapping_contract import MappingContract


class Clock:
    """A time that stands still until it is moved, and counts who asks."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


def make(
    ttl: Any = 10, maxsize: int | None = 100, **options: Any
) -> tuple[TTLCache[Any, Any], Clock]:
    clock = Clock()
    return TTLCache(maxsize, ttl, clock, **options), clock


class Lasting(TTLCache[Any, Any]):
    """A TTLCache with the arguments of LRUCache, whose entries last."""

    def __init__(self, maxsize: Any, getsizeof: Any = None, *, on_remove: Any = None) -> None:
        super().__init__(maxsize, 3600, None, getsizeof, on_remove=on_remove)


class TestMapping(MappingContract):
    cache_class = Lasting


def test_an_entry_lives_for_its_ttl_and_no_longer() -> None:
    cache, clock = make(10)
    cache["a"] = 1
    clock.now = math.nextafter(10, 0)
    assert cache["a"] == 1
    assert "a" in cache
    clock.now = 10
    assert "a" not in cache
    assert cache.get("a") is None
    with pytest.raises(KeyError):
        cache["a"]


GONE: dict[str, Callable[[TTLCache[Any, Any]], bool]] = {
    "get": lambda cache: cache.get("a") is None,
    "peek": lambda cache: cache.peek("a") is None,
    "in": lambda cache: "a" not in cache,
    "len": lambda cache: len(cache) == 1,
    "currsize": lambda cache: cache.currsize == 1,
    "iteration": lambda cache: list(cache) == ["b"],
    "backwards": lambda cache: list(reversed(cache)) == ["b"],
    "keys": lambda cache: list(cache.keys()) == ["b"] and len(cache.keys()) == 1,
    "values": lambda cache: list(cache.values()) == [2] and 1 not in cache.values(),
    "items": lambda cache: list(cache.items()) == [("b", 2)] and ("a", 1) not in cache.items(),
    "repr": lambda cache: repr(cache) == "TTLCache({'b': 2}, maxsize=100, currsize=1)",
    "==": lambda cache: cache == {"b": 2},
    "pop": lambda cache: cache.pop("a", "gone") == "gone",
    "popitem": lambda cache: cache.popitem() == ("b", 2),
    "setdefault": lambda cache: cache.setdefault("a", 3) == 3,
    "get_or_create": lambda cache: cache.get_or_create("a", lambda: 3) == 3,
    "touch": lambda cache: not cache.touch("a"),
    "expire": lambda cache: cache.expire() == 1,
    "copy": lambda cache: dict(cache.copy()) == {"b": 2},
    "update of another": lambda cache: list(Lasting(9) | cache) == ["b"],
    "stats": lambda cache: cache.stats().currsize == 1,
}


@pytest.mark.parametrize("look", GONE.values(), ids=GONE)
def test_what_expired_is_gone_for_everybody(look: Callable[[TTLCache[Any, Any]], bool]) -> None:
    cache, clock = make(10)
    cache["a"] = 1
    clock.now = 5
    cache["b"] = 2
    clock.now = 10
    assert look(cache)


ASKS: dict[str, Callable[[TTLCache[Any, Any]], object]] = {
    "get": lambda cache: cache.get("a"),
    "miss": lambda cache: cache.get("x"),
    "set": lambda cache: cache.set("c", 1),
    "replace": lambda cache: cache.set("a", 1),
    "in": lambda cache: "a" in cache,
    "len": lambda cache: len(cache),
    "pop": lambda cache: cache.pop("a"),
    "popitem": lambda cache: cache.popitem(),
    "setdefault": lambda cache: cache.setdefault("x", 1),
    "expire": lambda cache: cache.expire(),
    "expires_in": lambda cache: cache.expires_in("a"),
    "touch": lambda cache: cache.touch("a"),
    "repr": lambda cache: repr(cache),
    "update": lambda cache: cache.update({"a": 1, "x": 2}, y=3),
    "update with pairs": lambda cache: cache.update([("a", 1), ("x", 2)]),
    "update with itself": lambda cache: cache.update(cache),
    "|": lambda cache: cache | {"a": 1, "x": 2},
    "| from the right": lambda cache: {"a": 1, "x": 2} | cache,
    "|=": lambda cache: cache.__ior__({"a": 1, "x": 2}),
    "copy": lambda cache: cache.copy(),
    "stats": lambda cache: cache.stats(),
    "currsize": lambda cache: cache.currsize,
    "resize": lambda cache: cache.resize(1),
    "clear": lambda cache: cache.clear(),
    "next": lambda cache: next(iter(cache)),
    "in keys": lambda cache: "a" in cache.keys(),
    "in values": lambda cache: 1 in cache.values(),
    "pickle": lambda cache: cache.__reduce__(),
    "get_or_create of what is there": lambda cache: cache.get_or_create("a", int),
}


@pytest.mark.parametrize("use", ASKS.values(), ids=ASKS)
def test_a_timer_is_asked_at_most_once_an_operation(
    use: Callable[[TTLCache[Any, Any]], object],
) -> None:
    cache, clock = make(10)
    cache["a"] = 1
    clock.asked = 0
    use(cache)
    assert clock.asked <= 1


def test_a_timer_is_asked_again_after_a_factory() -> None:
    cache, clock = make(10)

    def slow() -> int:
        clock.now += 100
        return 1

    assert cache.get_or_create("a", slow) == 1
    assert cache.expires_in("a") == 10


def test_an_update_has_one_time() -> None:
    cache, clock = make(10)

    def slowly() -> Iterator[tuple[str, int]]:
        for key in "abc":
            clock.now += 3
            yield key, 1

    cache.update(slowly())
    assert {cache.expires_in(key) for key in cache} == {1}


@pytest.mark.parametrize("ttl", [0, 0.0, -1, -0.5, math.nan, -math.inf, timedelta(0)])
def test_a_ttl_that_makes_no_sense_is_a_value_error(ttl: Any) -> None:
    with pytest.raises(ValueError, match="ttl must be above 0"):
        TTLCache(10, ttl)
    cache, _ = make()
    cache["a"] = 1
    with pytest.raises(ValueError, match="ttl must be above 0"):
        cache.set("a", 2, ttl=ttl)
    with pytest.raises(ValueError, match="ttl must be above 0"):
        cache.touch("a", ttl)
    assert dict(cache) == {"a": 1}


@pytest.mark.parametrize("ttl", [True, "5", b"5", [], object(), 1j])
def test_a_ttl_of_the_wrong_kind_is_a_type_error(ttl: Any) -> None:
    with pytest.raises(TypeError, match="ttl must be"):
        TTLCache(10, ttl)
    cache, _ = make()
    with pytest.raises(TypeError, match="ttl must be"):
        cache.set("a", 2, ttl=ttl)
    assert len(cache) == 0


@pytest.mark.parametrize("beyond", [10**400, -(10**400)])
def test_what_fits_no_float_is_an_overflow_error(beyond: int) -> None:
    with pytest.raises(OverflowError, match="ttl must fit a float"):
        TTLCache(10, beyond)
    cache, clock = make()
    cache["a"] = 1
    with pytest.raises(OverflowError, match="ttl must fit a float"):
        cache.set("a", 2, beyond)
    clock.now = beyond
    with pytest.raises(OverflowError, match="the result of timer must fit a float"):
        cache["a"] = 2
    clock.now = 0
    assert dict(cache) == {"a": 1}


@pytest.mark.parametrize("ttl", [math.inf, 1e20, 1e-12, 10**9, timedelta(days=999_999)])
@pytest.mark.parametrize("timer", [None, time.monotonic])
def test_a_ttl_of_any_size_will_do(ttl: Any, timer: Any) -> None:
    cache = TTLCache[str, int](10, ttl, timer)
    cache["a"] = 1
    if ttl != 1e-12:
        assert cache["a"] == 1
        assert cache.expires_in("a") > 1e8
    else:
        time.sleep(0.01)
        assert "a" not in cache


@pytest.mark.parametrize("jitter", [-0.1, 1.0, math.nan, math.inf])
def test_a_jitter_out_of_range_is_a_value_error(jitter: float) -> None:
    with pytest.raises(ValueError, match="jitter"):
        TTLCache(10, 1, jitter=jitter)


def test_the_platforms_clock_is_never_early() -> None:
    cache = TTLCache[int, int](10, 0.02)
    for key in range(5):
        start = time.monotonic()
        cache[key] = key
        while key in cache:
            pass
        assert time.monotonic() - start >= 0.02


LOOKS: dict[str, Callable[[TTLCache[Any, Any]], bool]] = {
    "get": lambda cache: cache.get("a") is not None,
    "in": lambda cache: "a" in cache,
    "len": lambda cache: len(cache) > 0,
    "iteration": lambda cache: bool(list(cache)),
}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_the_platforms_clock_is_not_late(look: Callable[[TTLCache[Any, Any]], bool]) -> None:
    for _ in range(5):
        cache = TTLCache[str, int](10, 0.02)
        cache["a"] = 1
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            look(cache)
        assert not look(cache)


def test_an_entry_may_have_a_lifetime_of_its_own() -> None:
    cache, clock = make(10)
    cache.set("short", 1, ttl=timedelta(seconds=2))
    cache.set("long", 2, ttl=50)
    cache["usual"] = 3
    assert [cache.expires_in(key) for key in cache] == [2, 50, 10]
    clock.now = 2
    assert list(cache) == ["long", "usual"]
    clock.now = 49
    assert cache.expire() == 1
    assert list(cache) == ["long"]


def test_a_function_gives_the_lifetime() -> None:
    cache, clock = make(lambda key, value: timedelta(seconds=value))
    cache.update(a=1, b=2)
    clock.now = 1
    assert list(cache) == ["b"]
    for bad in (0, math.nan, "x"):
        with pytest.raises((ValueError, TypeError)):
            cache["b"] = bad
    assert dict(cache) == {"b": 2}


def test_setting_again_starts_the_age_again() -> None:
    cache, clock = make(10)
    cache["a"] = 1
    clock.now = 6
    cache["a"] = 2
    clock.now = 15
    assert cache["a"] == 2


def test_sliding_counts_from_the_last_use() -> None:
    cache, clock = make(10, sliding=True)
    cache["a"] = 1
    cache.set("b", 1, ttl=3)
    for _ in range(5):
        clock.now += 2
        assert cache["a"] == cache.get("b") == 1
        assert cache.expires_in("b") == 3
    clock.now += 9
    assert "b" not in cache
    assert "a" in cache
    clock.now += 1
    assert "a" not in cache, "looking whether it is there is no use"


def test_jitter_spreads_within_its_share() -> None:
    cache, _ = make(100, maxsize=None, jitter=0.1)
    cache.update((number, 0) for number in range(500))
    left = [cache.expires_in(number) for number in cache]
    assert 90 <= min(left) < 93
    assert 107 < max(left) <= 110


def test_expires_in_and_touch() -> None:
    cache, clock = make(10)
    cache.update(a=1, b=2)
    clock.now = 4
    assert cache.expires_in("a") == 6
    assert cache.touch("a")
    assert list(cache) == ["b", "a"]
    assert cache.expires_in("a") == 10
    assert cache.touch("a", 3)
    assert cache.expires_in("a") == 3
    assert cache.touch("a", math.inf)
    assert cache.expires_in("a") == math.inf
    with pytest.raises(KeyError):
        cache.expires_in("x")


def test_the_expired_go_before_the_least_recent() -> None:
    removed: list[tuple[Any, Any, str]] = []
    cache, clock = make(10, maxsize=3, on_remove=lambda *event: removed.append(event))
    cache["old"] = 1
    cache.set("short", 2, ttl=1)
    cache["new"] = 3
    clock.now = 1
    cache["more"] = 4
    assert removed == [("short", 2, "expired")]
    assert list(cache) == ["old", "new", "more"]


def test_every_way_out_tells_its_cause() -> None:
    removed: list[tuple[Any, Any, str]] = []
    cache, clock = make(10, maxsize=3, on_remove=lambda *event: removed.append(event))
    cache.update(a=1, b=2, c=3, d=4)
    cache["b"] = 5
    del cache["c"]
    clock.now = 10
    assert cache.get("b") is None
    assert len(cache) == 0
    cache["e"] = 6
    cache.popitem()
    cache["f"] = 7
    cache.clear()
    assert removed == [
        ("a", 1, "size"),
        ("b", 2, "replaced"),
        ("c", 3, "explicit"),
        ("b", 5, "expired"),
        ("d", 4, "expired"),
        ("e", 6, "explicit"),
        ("f", 7, "cleared"),
    ]
    assert cache.stats().removals.expired == 2


def test_expiry_is_no_change_to_an_iterator() -> None:
    cache, clock = make(10, maxsize=None)
    cache.update((number, 0) for number in range(10))
    cache.set("stays", 1, ttl=99)
    keys = iter(cache)
    assert next(keys) == 0
    clock.now = 10
    assert cache.expire() == 10
    assert list(keys) == ["stays"]


def test_inserting_while_iterating_is_an_error() -> None:
    cache, _ = make()
    cache.update(a=1, b=2)
    with pytest.raises(RuntimeError, match="changed during iteration"):
        for key in cache:
            cache[key + "x"] = 1


@pytest.mark.parametrize("answer", [math.nan, "now", None])
def test_a_timer_that_gives_no_time_changes_nothing(answer: Any) -> None:
    clock: Any = Clock()
    cache = TTLCache[str, int](10, 10, clock)
    cache["a"] = 1
    clock.now = answer
    uses: list[Callable[[], object]] = [
        lambda: cache.get("a"),
        lambda: cache.set("a", 2),
        lambda: len(cache),
        lambda: cache.pop("a"),
    ]
    for use in uses:
        with pytest.raises((ValueError, TypeError), match="result of timer"):
            use()
    clock.now = 9
    assert dict(cache) == {"a": 1}


def test_a_timer_that_raises_or_uses_the_cache() -> None:
    cache: TTLCache[Any, Any]

    def timer() -> float:
        if failing:
            raise OSError("no clock")
        if not inside:
            inside.append(1)
            cache["inner"] = 1
            inside.clear()
        return 1.0

    inside: list[int] = []
    failing = False
    cache = TTLCache(10, 10, timer)
    cache["a"] = 1
    assert cache["a"] == cache["inner"] == 1
    failing = True
    with pytest.raises(OSError, match="no clock"):
        cache["b"] = 2
    failing = False
    assert set(cache) == {"a", "inner"}


def test_a_timer_that_goes_back_is_obeyed() -> None:
    cache, clock = make(10)
    clock.now = 1_000
    cache["late"] = 1
    clock.now = -500.5
    cache["early"] = 2
    assert cache.expires_in("early") == 10
    assert cache.expires_in("late") == 1_510.5
    clock.now = -490.5
    assert list(cache) == ["late"]
    clock.now = 1_010
    assert not cache


def test_copies_and_pickles_keep_what_is_left() -> None:
    cache = TTLCache[str, Any](10, 100, sliding=True, jitter=0.0)
    cache["a"] = [1]
    cache.set("b", 2, ttl=1_000)
    for twin in (
        cache.copy(),
        copy.copy(cache),
        pickle.loads(pickle.dumps(cache)),
        copy.deepcopy(cache),
    ):
        assert type(twin) is TTLCache
        assert list(twin.items()) == [("a", [1]), ("b", 2)]
        assert (twin.ttl, twin.sliding, twin.jitter, twin.timer) == (100, True, 0.0, None)
        assert 99 < twin.expires_in("a") <= 100
        assert 999 < twin.expires_in("b") <= 1_000
        twin["c"] = 3
        assert "c" not in cache


def test_it_is_an_lru_cache() -> None:
    cache = TTLCache[str, int](2, 100)
    assert isinstance(cache, LRUCache)
    cache.update(a=1, b=2)
    assert cache["a"] == 1
    cache["c"] = 3
    assert list(cache) == ["a", "c"]
    with cache:
        pass
    assert cache.closed
    assert cache.ttl is None
    with pytest.raises(RuntimeError, match="closed"):
        cache["a"] = 1


def test_ttl_and_timer_in_a_cycle_are_collected() -> None:
    class Holder:
        cache: Any = None

        def __call__(self, *_: object) -> float:
            return 5.0

    holder = Holder()
    holder.cache = TTLCache(10, holder, holder)
    holder.cache["a"] = holder
    reference = weakref.ref(holder)
    del holder
    gc.collect()
    assert reference() is None


class Machine(RuleBasedStateMachine):
    """TTLCache against a dictionary of deadlines."""

    keys = st.integers(0, 12)
    spans = st.sampled_from([0.5, 1, 2, 3.25, 64, 5_000, math.inf])

    @initialize(maxsize=st.sampled_from([None, 1, 4, 9]), ttl=spans, sliding=st.booleans())
    def start(self, maxsize: int | None, ttl: float, sliding: bool) -> None:
        self.clock = Clock()
        self.ttl, self.maxsize, self.sliding = ttl, maxsize, sliding
        self.cache = TTLCache[int, int](maxsize, ttl, self.clock, sliding=sliding)
        self.model: dict[int, tuple[int, float, float]] = {}

    def prune(self) -> None:
        now = self.clock.now
        self.model = {key: entry for key, entry in self.model.items() if now < entry[1]}

    @rule(by=st.sampled_from([0.25, 0.5, 1, 3, 70, 6_000]))
    def wait(self, by: float) -> None:
        self.clock.now += by
        self.prune()

    @rule(key=keys, value=st.integers(), span=st.none() | spans)
    def set(self, key: int, value: int, span: float | None) -> None:
        self.cache.set(key, value, span)
        span = self.ttl if span is None else span
        self.model.pop(key, None)
        if self.maxsize is not None and len(self.model) == self.maxsize:
            del self.model[next(iter(self.model))]
        self.model[key] = (value, self.clock.now + span, span)

    @rule(key=keys)
    def get(self, key: int) -> None:
        entry = self.model.pop(key, None)
        assert self.cache.get(key) == (entry[0] if entry else None)
        if entry:
            value, deadline, span = entry
            self.model[key] = (value, self.clock.now + span if self.sliding else deadline, span)

    @rule(key=keys)
    def pop(self, key: int) -> None:
        entry = self.model.pop(key, None)
        assert self.cache.pop(key, None) == (entry[0] if entry else None)

    @rule()
    def expire(self) -> None:
        self.cache.expire()

    @rule(key=keys)
    def left(self, key: int) -> None:
        if key in self.model:
            assert self.cache.expires_in(key) == self.model[key][1] - self.clock.now

    @invariant()
    def agree(self) -> None:
        assert list(self.cache.items()) == [(key, entry[0]) for key, entry in self.model.items()]


TestModel = Machine.TestCase
TestModel.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
