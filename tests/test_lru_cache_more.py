"""What `lru_cache` has and functools' has not."""

from __future__ import annotations

import abc
import functools
import gc
import math
import weakref
from collections import OrderedDict
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Boom
from leaksafe import LeakWarning, lru_cache
from test_lru_cache_decorator import OURS, calls, counting, few_values, sizes, told


class Model:
    """Keys are functools' own; the least recent are first."""

    def __init__(self, maxsize: int | None, typed: bool) -> None:
        self.maxsize = maxsize
        self.typed = typed
        self.results: OrderedDict[Any, Any] = OrderedDict()
        self.hits = self.misses = self.runs = 0

    def key(self, args: Any, kwargs: Any) -> Any:
        return functools._make_key(args, kwargs, self.typed)

    def call(self, args: Any, kwargs: Any) -> Any:
        key = self.key(args, kwargs)
        if key in self.results:
            self.hits += 1
            self.results.move_to_end(key)
            return self.results[key]
        self.misses += 1
        self.runs += 1
        if "a" in args:
            raise Boom(self.runs)
        result = self.runs, args, tuple(kwargs.items())
        if self.maxsize != 0:
            self.results[key] = result
            if len(self.results) > (self.maxsize or math.inf):
                self.results.popitem(last=False)
        return result

    def discard(self, args: Any, kwargs: Any) -> bool:
        return self.results.pop(self.key(args, kwargs), None) is not None

    def contains(self, args: Any, kwargs: Any) -> bool:
        return self.key(args, kwargs) in self.results

    def info(self) -> Any:
        return self.hits, self.misses, self.maxsize, len(self.results)


steps = st.tuples(
    st.sampled_from(["call", "call", "discard", "contains", "clear"]),
    calls(few_values) | calls(),
)


@given(sizes, st.booleans(), st.lists(steps, max_size=80))
def test_against_a_model(maxsize: int | None, typed: bool, steps: list[Any]) -> None:
    model = Model(maxsize, typed)
    function = OURS(maxsize, typed)(counting())
    asked: list[tuple[Any, Any]] = []
    for what, (args, kwargs) in steps:
        asked.append((args, kwargs))
        match what:
            case "call":
                assert told(function, *args, **kwargs) == told(model.call, args, kwargs)
            case "discard":
                assert function.cache_discard(*args, **kwargs) is model.discard(args, kwargs)
            case "contains":
                assert function.cache_contains(*args, **kwargs) is model.contains(args, kwargs)
            case "clear":
                function.cache_clear()
                model.results.clear()
                model.hits = model.misses = 0
        assert function.cache_info() == model.info()
        # this neither counts nor promotes, or what is evicted next would differ
        for some_args, some_kwargs in asked:
            there = function.cache_contains(*some_args, **some_kwargs)
            assert there is model.contains(some_args, some_kwargs)
        assert function.cache_info() == model.info()


def test_discard_forgets_one_call() -> None:
    function = OURS(counting())
    first, other = function(1, x=2), function(1)
    assert function.cache_contains(1, x=2) and function.cache_discard(1, x=2)
    assert not function.cache_contains(1, x=2) and not function.cache_discard(1, x=2)
    assert function.cache_info() == (0, 2, 128, 1)
    assert function(1) is other and function(1, x=2) != first
    # what lru_cache doesn't know of the parameters it can't put together
    assert function.cache_contains(1) and not function.cache_contains(x=1)


def test_discard_lets_go_at_once() -> None:
    class Thing:
        pass

    function = OURS(lambda thing: Thing())
    argument = Thing()
    references = [weakref.ref(argument), weakref.ref(function(argument))]
    gc.disable()
    try:
        assert function.cache_discard(argument) is True
        del argument
        assert [reference() for reference in references] == [None, None]
    finally:
        gc.enable()


def test_clear_lets_go_at_once() -> None:
    class Thing:
        pass

    for decorate in (OURS(), OURS(None), OURS(3)):
        function = decorate(lambda x: Thing())
        references = [weakref.ref(function(number)) for number in range(3)]
        assert all(reference() for reference in references)
        function.cache_clear()
        assert not any(reference() for reference in references)
        assert function.cache_info()[:2] == (0, 0) and function.cache_info().currsize == 0


def test_the_collector_sees_what_it_holds() -> None:
    result, argument = [1], frozenset({2})
    function = OURS(lambda x: result)
    function(argument)
    held = gc.get_referents(function)
    assert any(one is result for one in held)
    # alone or in a key
    assert any(one is argument for one in held + gc.get_referents(*held))


def test_leak_warning_is_a_user_warning() -> None:
    assert issubclass(LeakWarning, UserWarning)
    assert LeakWarning.__module__ == "leaksafe"


def test_over_abstract_methods() -> None:
    class Base(abc.ABC):
        @lru_cache
        @abc.abstractmethod
        def over(self) -> int: ...

        @abc.abstractmethod
        @lru_cache
        def under(self) -> int: ...

    assert Base.__abstractmethods__ == {"over", "under"}
    with pytest.raises(TypeError, match="abstract"):
        Base()  # type: ignore[abstract]
