"""`get_or_create` in one thread."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from harness import Boom
from leaksafe import LRUCache

Cache = LRUCache[Any, Any]


def refuse() -> NoReturn:
    pytest.fail("a factory ran that must not")


# One thread


def test_miss_and_hit() -> None:
    cache: Cache = LRUCache(3)
    value = object()
    assert cache.get_or_create("a", lambda: value) is value
    assert cache["a"] is value
    assert cache.get_or_create("a", refuse) is value
    assert cache.get_or_create(key="a", factory=refuse) is value
    assert dict(cache) == {"a": value}


def test_none_is_a_value() -> None:
    cache: Cache = LRUCache(3)
    assert cache.get_or_create("a", lambda: None) is None
    assert cache.get_or_create("a", refuse) is None
    assert "a" in cache


def test_factory_is_called_without_arguments() -> None:
    cache: Cache = LRUCache(3)
    with pytest.raises(TypeError):
        cache.get_or_create("a", lambda key: key)  # type: ignore[arg-type, misc]
    assert cache.get_or_create("a", dict) == {}


def test_evicts_as_any_insertion() -> None:
    events: list[tuple[Any, Any, str]] = []
    cache: Cache = LRUCache(2, on_remove=lambda *event: events.append(event))
    for key in "abc":
        cache.get_or_create(key, lambda key=key: key.upper())  # type: ignore[misc]
    assert list(cache.items()) == [("b", "B"), ("c", "C")]
    assert events == [("a", "A", "size")]


def test_what_is_too_heavy_is_returned_and_not_kept() -> None:
    events: list[tuple[Any, Any, str]] = []
    cache: Cache = LRUCache(5, len, on_remove=lambda *event: events.append(event))
    cache["a"] = "xxx"
    assert cache.get_or_create("b", lambda: "x" * 6) == "x" * 6
    assert dict(cache) == {"a": "xxx"}
    assert cache.get_or_create("b", lambda: "xx") == "xx"
    assert cache.currsize == 5
    assert events == []


def test_a_cache_that_keeps_nothing_computes_every_time() -> None:
    cache: Cache = LRUCache(0)
    assert [cache.get_or_create("a", lambda value=value: value) for value in range(3)] == [0, 1, 2]  # type: ignore[misc]
    assert len(cache) == 0


@pytest.mark.parametrize(
    "error", [Boom("x"), KeyError("a"), StopIteration(), SystemExit(3), KeyboardInterrupt()]
)
def test_a_failure_reaches_the_caller_and_nothing_is_kept(error: BaseException) -> None:
    def fail() -> NoReturn:
        raise error

    cache: Cache = LRUCache(3)
    for _ in range(3):
        with pytest.raises(type(error)) as caught:
            cache.get_or_create("a", fail)
        assert caught.value is error
        assert error.__context__ is None
        error.__traceback__ = None
    assert len(cache) == 0
    assert cache.get_or_create("a", lambda: "good") == "good"


def test_the_exception_and_its_frames_are_let_go() -> None:
    class Local:
        pass

    references: list[weakref.ref[Any]] = []

    def fail() -> NoReturn:
        local = Local()
        error = Boom(local)
        references.extend((weakref.ref(local), weakref.ref(error)))
        try:
            raise error
        finally:
            del error

    cache: Cache = LRUCache(3)
    with pytest.raises(Boom):
        cache.get_or_create("a", fail)
    sys.exc_info()
    gc.collect()
    assert [reference() for reference in references] == [None, None]


def test_the_factory_is_let_go() -> None:
    class Factory:
        def __call__(self) -> int:
            return 1

    factory = Factory()
    reference = weakref.ref(factory)
    cache: Cache = LRUCache(3)
    cache.get_or_create("a", factory)
    del factory
    gc.collect()
    assert reference() is None


def test_counted_as_hit_or_miss() -> None:
    cache: Cache = LRUCache(3)
    cache.get_or_create("a", lambda: 1)
    cache.get_or_create("a", refuse)
    with pytest.raises(ZeroDivisionError):
        cache.get_or_create("b", lambda: 1 // 0)
    stats = cache.stats()
    assert (stats.hits, stats.misses) == (1, 2)


# A factory that uses the same cache


def test_a_factory_may_ask_for_other_keys() -> None:
    cache: Cache = LRUCache(None)

    def fibonacci(n: int) -> int:
        if n < 2:
            return n
        return cache.get_or_create(n - 1, lambda: fibonacci(n - 1)) + cache.get_or_create(  # type: ignore[no-any-return]
            n - 2, lambda: fibonacci(n - 2)
        )

    assert cache.get_or_create(90, lambda: fibonacci(90)) == 2_880_067_194_370_816_120
    assert len(cache) == 91


def test_a_factory_that_asks_for_its_own_key_runs_its_own() -> None:
    cache: Cache = LRUCache(3)
    ran: list[str] = []

    def outer() -> str:
        ran.append("outer")
        assert cache.get_or_create("a", inner) == "inner"
        return "outer"

    def inner() -> str:
        ran.append("inner")
        return "inner"

    result = cache.get_or_create("a", outer)
    assert ran == ["outer", "inner"]
    assert dict(cache) == {"a": result}
    assert result in ("inner", "outer")
    assert cache.get_or_create("a", refuse) == result


def test_own_key_asked_for_deeply() -> None:
    cache: Cache = LRUCache(3)
    ran: list[int] = []

    def make(depth: int) -> Callable[[], int]:
        def run() -> int:
            ran.append(depth)
            if depth:
                cache.get_or_create("a", make(depth - 1))
            return depth

        return run

    result = cache.get_or_create("a", make(50))
    assert ran == list(range(50, -1, -1))
    assert dict(cache) == {"a": result}


def test_own_key_asked_for_without_end_is_a_recursion_error() -> None:
    cache: Cache = LRUCache(3)

    def make() -> Any:
        return cache.get_or_create("a", make)

    with pytest.raises(RecursionError):
        cache.get_or_create("a", make)
    assert len(cache) == 0
    assert cache.get_or_create("a", lambda: 1) == 1


def test_an_inner_failure_leaves_the_outer_to_decide() -> None:
    cache: Cache = LRUCache(3)

    def outer() -> str:
        with pytest.raises(ZeroDivisionError):
            cache.get_or_create("a", lambda: 1 // 0)
        return "outer"

    assert cache.get_or_create("a", outer) == "outer"
    assert dict(cache) == {"a": "outer"}


def test_a_factory_may_set_its_own_key() -> None:
    cache: Cache = LRUCache(3)

    def make() -> str:
        cache["a"] = "set"
        return "returned"

    result = cache.get_or_create("a", make)
    assert dict(cache) == {"a": result}
    assert result in ("set", "returned")


def test_a_factory_may_clear_and_resize() -> None:
    cache: Cache = LRUCache(3)
    cache["b"] = 1

    def make() -> str:
        cache.clear()
        cache.resize(1)
        cache["c"] = 2
        return "made"

    assert cache.get_or_create("a", make) == "made"
    assert dict(cache) == {"a": "made"}


def test_a_factory_may_close_the_cache() -> None:
    cache: Cache = LRUCache(3)

    def make() -> str:
        cache.close()
        return "made"

    try:
        assert cache.get_or_create("a", make) == "made"
    except RuntimeError as error:
        assert "closed" in str(error)
    assert cache.closed
    assert len(cache) == 0


def test_a_factory_may_drop_the_cache() -> None:
    holder = [LRUCache[Any, Any](3)]

    def make() -> str:
        holder.clear()
        gc.collect()
        return "made"

    assert holder[0].get_or_create("a", make) == "made"
