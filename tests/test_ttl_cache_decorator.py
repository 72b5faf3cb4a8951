"""ttl_cache: all that lru_cache is, and age."""

from __future__ import annotations

import functools
import gc
import math
import time
import weakref
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Boom
from leaksafe import ttl_cache


class Clock:
    """A time that stands still until it is moved, and counts who asks."""

    def __init__(self) -> None:
        self.now = 0.0
        self.asked = 0

    def __call__(self) -> float:
        self.asked += 1
        return self.now


class Thing:
    """Something that can be watched."""


def counted(**options: Any) -> tuple[Any, Clock, list[Any]]:
    """A cached function, its clock, and the calls that reached it."""
    clock, calls = Clock(), list[Any]()

    def function(argument: object) -> object:
        calls.append(argument)
        return argument

    decorate: Any = ttl_cache(**{"ttl": 10, "timer": clock, **options})
    return decorate(function), clock, calls


def test_a_result_lives_for_its_ttl_and_no_longer() -> None:
    function, clock, calls = counted()
    assert function(1) == 1
    clock.now = math.nextafter(10, 0)
    assert function(1) == 1
    assert calls == [1]
    clock.now = 10
    assert function(1) == 1
    assert calls == [1, 1]
    clock.now = 19.5
    assert function(1) == 1
    assert calls == [1, 1]
    assert function.cache_info() == (2, 2, 128, 1)


def test_the_age_counts_from_when_the_function_returned() -> None:
    clock = Clock()

    @ttl_cache(ttl=10, timer=clock)
    def slow() -> float:
        clock.now += 8
        return clock.now

    assert slow() == 8
    clock.now = 17
    assert slow() == 8
    clock.now = 18
    assert slow() == 26


def test_the_timer_is_asked_once_and_again_after_the_function_ran() -> None:
    function, clock, _ = counted()
    function(1)
    assert clock.asked == 2
    function(1)
    assert clock.asked == 3
    function.cache_contains(1)
    assert clock.asked == 4
    function.cache_discard(1)
    assert clock.asked == 5
    function.cache_info()
    assert clock.asked == 6


def test_what_expired_is_gone_for_every_question() -> None:
    function, clock, _ = counted()
    function(1)
    assert function.cache_contains(1)
    clock.now = 10
    assert not function.cache_contains(1)
    assert not function.cache_discard(1)
    function(2)
    clock.now = 20
    assert function.cache_info().currsize == 0


def test_discard_and_clear() -> None:
    function, _, calls = counted()
    function(1)
    assert function.cache_discard(1)
    assert not function.cache_discard(1)
    function(1)
    function.cache_clear()
    assert function.cache_info() == (0, 0, 128, 0)
    function(1)
    assert calls == [1, 1, 1]


def test_without_arguments_it_is_as_cachetools_has_it() -> None:
    @ttl_cache
    def bare(number: int) -> int:
        return -number

    @ttl_cache()
    def called(number: int) -> int:
        return -number

    for function in (bare, called):
        assert function(1) == function(1) == -1
        assert function.cache_info() == (1, 1, 128, 1)
        assert function.cache_parameters() == {
            "maxsize": 128,
            "typed": False,
            "ttl": 600,
            "timer": None,
        }
    assert repr(bare).startswith("<ttl_cache of <function")
    assert bare.__name__ == "bare"
    assert bare.__wrapped__(1) == -1


def test_in_the_order_of_cachetools_arguments() -> None:
    clock = Clock()

    @ttl_cache(2, timedelta(seconds=5), clock, True)
    def function(number: float) -> float:
        return number

    function(1), function(1.0), function(1)
    assert function.cache_info() == (1, 2, 2, 2)
    assert function.cache_parameters() == {
        "maxsize": 2,
        "typed": True,
        "ttl": timedelta(seconds=5),
        "timer": clock,
    }
    clock.now = 5
    assert function.cache_info().currsize == 0


def test_the_least_recent_goes_where_nothing_has_expired() -> None:
    function, _, calls = counted(maxsize=2)
    for number in (1, 2, 1, 3, 1, 2):
        function(number)
    assert calls == [1, 2, 3, 2]


def test_what_expired_goes_before_the_least_recent() -> None:
    function, clock, calls = counted(maxsize=2)
    function(1)
    clock.now = 5
    function(2)
    function(1)
    clock.now = 10
    function(3)
    assert function.cache_contains(2) and function.cache_contains(3)
    assert calls == [1, 2, 3]


@pytest.mark.parametrize("maxsize", [0, -1])
def test_no_room_keeps_nothing(maxsize: int) -> None:
    function, clock, calls = counted(maxsize=maxsize)
    function(1)
    function(1)
    assert calls == [1, 1]
    assert clock.asked == 0
    assert function.cache_info() == (0, 2, 0, 0)


def test_an_unbounded_one_with_a_timer_does_not_pile_up() -> None:
    clock, alive = Clock(), weakref.WeakSet[Thing]()

    @ttl_cache(maxsize=None, ttl=10, timer=clock)
    def function(number: int) -> Thing:
        thing = Thing()
        alive.add(thing)
        return thing

    for number in range(1_000):
        clock.now = number
        function(number)
        assert len(alive) <= 12


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"ttl": 0}, ValueError, "ttl must be above 0 seconds, but is 0"),
        ({"ttl": -1.5}, ValueError, "ttl must be above 0"),
        ({"ttl": math.nan}, ValueError, "ttl must be above 0"),
        ({"ttl": timedelta(0)}, ValueError, "ttl must be above 0"),
        ({"ttl": True}, TypeError, "ttl must be a float or a timedelta, in seconds, not bool"),
        ({"ttl": "600"}, TypeError, "ttl must be .* not str"),
        ({"ttl": None}, TypeError, "ttl must be .* not NoneType"),
        ({"ttl": lambda key, value: 1}, TypeError, "ttl must be .* not function"),
        ({"timer": 5}, TypeError, "timer must be callable or None, not int: 5"),
        ({"maxsize": "5"}, TypeError, "first argument of ttl_cache .* not str"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(
    options: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        ttl_cache(**options)


@pytest.mark.parametrize("ttl", [math.inf, 1e20])
def test_for_ever(ttl: float) -> None:
    function, clock, calls = counted(ttl=ttl)
    function(1)
    clock.now = 1e9
    function(1)
    assert calls == [1]


def test_a_property_is_refused() -> None:
    with pytest.raises(TypeError, match="ttl_cache needs a callable, not property"):
        ttl_cache(ttl=1)(property(lambda self: 1))  # type: ignore[arg-type]  # that is the point


@pytest.mark.parametrize("answer", [math.nan, "now", None, Boom("timer")], ids=repr)
def test_a_timer_that_fails_changes_nothing(answer: Any) -> None:
    times: list[Any] = []

    def timer() -> Any:
        if not times:
            return 0.0
        time = times.pop()
        if isinstance(time, Exception):
            raise time
        return time

    function, _, calls = counted(timer=timer)
    function(1)
    for ask in (function, function.cache_contains, function.cache_discard):
        times.append(answer)
        with pytest.raises((ValueError, TypeError, Boom)):
            ask(1)
    assert function(1) == 1
    assert calls == [1]
    assert function.cache_info() == (1, 1, 128, 1)


def test_a_timer_may_call_the_function() -> None:
    function: Any
    depth = 0

    def timer() -> float:
        nonlocal depth
        if depth < 3:
            depth += 1
            function(depth)
            function.cache_clear()
        return 0.0

    function, _, calls = counted(timer=timer)
    assert function(0) == 0
    assert function(0) == 0
    assert calls.count(0) == 1


def test_a_timer_that_goes_back_is_obeyed() -> None:
    function, clock, calls = counted()
    clock.now = 100
    function(1)
    clock.now = 50
    function(2)
    clock.now = 61
    function(1), function(2)
    assert calls == [1, 2, 2]


def test_a_failing_function_is_not_remembered() -> None:
    calls: list[str] = []

    @ttl_cache(ttl=10)
    def fail() -> None:
        calls.append("fail")
        raise Boom("function")

    for _ in range(2):
        with pytest.raises(Boom):
            fail()
    assert calls == ["fail", "fail"]


class TestMethods:
    """Instances aren't held, and each has results of its own."""

    def test_instances_go(self) -> None:
        clock = Clock()

        class Circle:
            @ttl_cache(ttl=10, timer=clock)
            def area(self, factor: int) -> list[object]:
                return [self, factor]

        circle: Any = Circle()
        assert circle.area(1) is circle.area(1)
        assert circle.area.cache_contains(1)
        reference = weakref.ref(circle)
        del circle
        gc.collect()
        assert reference() is None
        assert Circle.area.cache_info().currsize == 0

    def test_results_expire(self) -> None:
        clock, alive = Clock(), weakref.WeakSet[Thing]()

        class Circle:
            @ttl_cache(ttl=10, timer=clock)
            def thing(self) -> Thing:
                thing = Thing()
                alive.add(thing)
                return thing

        circle: Any = Circle()
        first = weakref.ref(circle.thing())
        clock.now = 10
        circle.thing()
        assert first() is None
        assert len(alive) == 1
        clock.now = 20
        assert Circle.thing.cache_info().currsize == 0
        assert not alive

    def test_an_instance_may_go_after_its_results_expired(self) -> None:
        clock = Clock()

        class Circle:
            @ttl_cache(ttl=10, timer=clock)
            def area(self, factor: int) -> int:
                return factor

        circles = [Circle() for _ in range(50)]
        for circle in circles:
            circle.area(1)
            circle.area(2)
        clock.now = 10
        assert Circle.area.cache_info().currsize == 0
        circles[0].area(3)
        circles.clear()
        del circle
        gc.collect()
        assert Circle.area.cache_info().currsize == 0

    def test_class_and_static_methods(self) -> None:
        clock = Clock()

        class Shop:
            @classmethod
            @ttl_cache(ttl=10, timer=clock)
            def name(cls, suffix: str) -> list[str]:
                return [cls.__name__ + suffix]

            @staticmethod
            @ttl_cache(ttl=10, timer=clock)
            def rate(number: int) -> list[int]:
                return [number]

        for ask in (lambda: Shop.name("!"), lambda: Shop.rate(2)):
            first: object = ask()
            assert ask() is first
            clock.now += 10
            assert ask() is not first


@pytest.mark.parametrize("make", [lambda: Clock(), lambda: None], ids=["timer", "clock"])
def test_a_cycle_through_it_is_collected(make: Callable[[], Any]) -> None:
    timer = make()
    results: Any = ttl_cache(ttl=600, timer=timer)(lambda thing: [thing, results])
    results(Thing())
    if timer is not None:
        timer.function = results
    reference = weakref.ref(results)
    del results, timer
    gc.collect()
    assert reference() is None


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("call"), st.integers(0, 5)),
            st.tuples(st.just("discard"), st.integers(0, 5)),
            st.tuples(st.just("wait"), st.integers(0, 15)),
        ),
        max_size=60,
    )
)
def test_it_is_a_dict_of_deadlines(steps: list[tuple[str, int]]) -> None:
    function, clock, calls = counted(maxsize=None)
    deadlines: dict[int, float] = {}
    for step, number in steps:
        there = deadlines.get(number, -1) > clock.now
        if step == "call":
            before = len(calls)
            assert function(number) == number
            assert (len(calls) == before) == there
            if not there:
                deadlines[number] = clock.now + 10
        elif step == "discard":
            assert function.cache_discard(number) == there
            deadlines.pop(number, None)
        else:
            clock.now += number
        living = {number for number, end in deadlines.items() if end > clock.now}
        assert {number for number in range(6) if function.cache_contains(number)} == living
    assert function.cache_info().currsize == sum(end > clock.now for end in deadlines.values())


def test_the_platforms_clock_is_not_late() -> None:
    calls: list[int] = []
    for number in range(5):
        function = ttl_cache(ttl=0.02)(calls.append)
        function(number)
        end = time.monotonic() + 0.02
        while time.monotonic() < end:
            function(number)
        function(number)
        assert len(calls) > 1
        calls.clear()


def test_recursion_and_the_real_clock() -> None:
    @ttl_cache(maxsize=None, ttl=600)
    def fibonacci(n: int) -> int:
        return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)

    assert fibonacci(80) == 23416728348467685
    assert fibonacci.cache_info().misses == 81
    model = functools.lru_cache(maxsize=20)(lambda number: number)
    ours = ttl_cache(maxsize=20, ttl=600)(lambda number: number)
    for number in range(2_000):
        assert ours(number * number % 31) == model(number * number % 31)
    assert ours.cache_info() == model.cache_info()
