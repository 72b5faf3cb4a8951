"""cached_property: computed once for each instance, whoever asks."""

from __future__ import annotations

import functools
import threading
import time
from typing import Any, get_origin

import pytest

from harness import Boom, in_threads, outcomes
from leaksafe import cached_property


class Circle:
    def __init__(self, radius: int) -> None:
        self.radius = radius
        self.calls = 0

    @cached_property
    def area(self) -> list[int]:
        """Three times the square."""
        self.calls += 1
        return [3 * self.radius**2]


def test_it_is_computed_once_for_each_instance() -> None:
    one, other = Circle(1), Circle(2)
    assert one.area is one.area
    assert (one.area, other.area) == ([3], [12])
    assert (one.calls, other.calls) == (1, 1)


def test_it_lies_in_the_dict_and_can_be_set_and_deleted() -> None:
    circle = Circle(1)
    first = circle.area
    assert vars(circle)["area"] is first
    del circle.area
    assert circle.area is not first
    circle.area = [5]
    assert circle.area == [5]
    assert "calls" in vars(circle)


def test_it_looks_like_functools() -> None:
    prop = vars(Circle)["area"]
    assert Circle.area is prop
    assert prop.attrname == "area"
    assert prop.__doc__ == "Three times the square."
    assert prop.func(Circle(1)) == [3]
    assert get_origin(cached_property[int]) is cached_property
    reference = {name for name in dir(functools.cached_property(len)) if not name.startswith("_")}
    assert reference <= set(dir(prop)) | {"lock"}


def test_threads_that_ask_at_once_get_one_result() -> None:
    started = threading.Barrier(8)

    class Slow:
        calls = 0

        @cached_property
        def value(self) -> object:
            type(self).calls += 1
            time.sleep(0.05)
            return object()

    slow = Slow()
    results = in_threads(*[lambda: (started.wait(), slow.value)[1]] * 8)
    assert len(set(map(id, results))) == 1
    assert Slow.calls == 1


def test_instances_do_not_wait_for_each_other() -> None:
    met = threading.Barrier(2, timeout=10)

    class Slow:
        @cached_property
        def value(self) -> int:
            return met.wait()

    assert sorted(in_threads(lambda: Slow().value, lambda: Slow().value)) == [0, 1]


def test_a_failure_is_not_kept() -> None:
    class Failing:
        calls = 0

        @cached_property
        def value(self) -> int:
            self.calls += 1
            if self.calls == 1:
                raise Boom
            return self.calls

    failing = Failing()
    with pytest.raises(Boom):
        failing.value
    assert failing.value == 2


def test_one_that_asks_for_itself_does_not_hang() -> None:
    class Self:
        calls = 0

        @cached_property
        def value(self) -> int:
            self.calls += 1
            return 1 if self.calls > 3 else self.value

    assert in_threads(lambda: Self().value) == [1]


def test_with_slots_it_needs_one_and_says_so() -> None:
    class Bare:
        __slots__ = ("x",)

        @cached_property
        def norm(self) -> int:
            return 1

    with pytest.raises(TypeError, match=r"Bare have no __dict__.*slot='_norm'"):
        Bare().norm

    class Named:
        __slots__ = ("_norm", "calls")

        def __init__(self) -> None:
            self.calls = 0

        @cached_property(slot="_norm")
        def norm(self) -> list[int]:
            self.calls += 1
            return [1]

    named = Named()
    assert named.norm is named.norm
    assert named.calls == 1

    class Missing:
        __slots__ = ("x",)

        @cached_property(slot="_norm")
        def norm(self) -> int:
            return 1

    with pytest.raises(TypeError, match="no slot '_norm'"):
        Missing().norm


def test_wrong_use() -> None:
    loose: Any = cached_property(lambda self: 1)
    with pytest.raises(TypeError, match="__set_name__"):
        loose.__get__(Circle(1))
    loose.__set_name__(Circle, "a")
    with pytest.raises(TypeError, match="two different names"):
        loose.__set_name__(Circle, "b")
    with pytest.raises(TypeError, match="needs a callable"):
        cached_property(5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="name of a slot"):
        cached_property()

    async def coroutine(self: object) -> None: ...

    with pytest.raises(TypeError, match="async def"):
        cached_property(coroutine)


def test_every_waiter_gets_an_error_of_its_own() -> None:
    begun, go = threading.Event(), threading.Event()

    class Failing:
        @cached_property
        def value(self) -> int:
            begun.set()
            go.wait(10)
            time.sleep(0.05)
            raise Boom("once")

    failing = Failing()

    def late() -> object:
        begun.wait(10)
        go.set()
        return failing.value

    errors = outcomes(lambda: failing.value, late, late)
    assert [type(error) for error in errors] == [Boom] * 3
