"""Cached functions and methods in cycles, and what is freed if nothing else is ever called."""

from __future__ import annotations

import gc
import weakref
from typing import Any

from actors import Value, nothing_left
from decorated import OURS, Boom, Holder

from isolated import each, full_collection, isolated
from leaksafe import lru_cache


def cycle_by_result() -> Any:
    @lru_cache
    def function(x: int) -> Holder:
        return Holder(function)

    function(1)
    return function


def cycle_by_argument() -> Any:
    @lru_cache
    def function(x: Any) -> int:
        return 1

    function(Holder(function))
    return function


def cycle_by_keyword() -> Any:
    @lru_cache
    def function(x: int, y: Any = None) -> int:
        return 1

    function(1, y=(1, Holder(function)))
    return function


def cycle_by_itself() -> Any:
    @lru_cache
    def function(x: Any) -> Any:
        return x

    function(function)
    return function


def cycle_by_the_wrapped_function() -> Any:
    @lru_cache
    def function(x: int) -> Any:
        return function.cache_info()

    function(1)
    return function


def cycle_by_an_attribute_of_the_wrapped_function() -> Any:
    def wrapped(x: int) -> int:
        return x

    function = OURS(wrapped)
    wrapped.back = Holder(function)  # type: ignore[attr-defined]
    return function


def cycle_by_a_callable_object() -> Any:
    class Callee(Holder):
        def __call__(self, x: int) -> int:
            return x

    callee = Callee()
    callee.held = OURS(callee)
    return callee.held


def cycle_by_an_attribute() -> Any:
    function = OURS(lambda x: x)
    function.back = Holder(function)
    return function


def cycle_without_a_bound() -> Any:
    function = OURS(None, True)(lambda *args, **kwargs: Holder(args))
    function(function, function, y=function)
    return function


def cycle_by_a_bound_method() -> Any:
    class Class(Holder):
        @lru_cache
        def method(self, x: int) -> Any:
            return self.method

    instance = Class()
    instance.held = instance.method(1)
    return Class.method


def cycle_by_its_class() -> Any:
    class Class(Holder):
        @lru_cache
        def method(self, x: int) -> Any:
            return Class

        @classmethod
        @lru_cache
        def of_class(cls, x: int) -> Any:
            return Holder(cls)

        @staticmethod
        @lru_cache
        def static(x: Any) -> Any:
            return Class

    instance = Class()
    assert instance.method(1) is Class.static(instance) is Class  # type: ignore[call-arg]
    assert Class.of_class(1).held is Class
    Class.kept = instance  # type: ignore[attr-defined]
    return Class.static


def cycle_of_methods() -> Any:
    class Class(Holder):
        @lru_cache
        def method(self, other: Any) -> Any:
            return Holder((self, other))

    one, other = Class(), Class()
    one.method(other), other.method(one), one.method(one)
    return Class.method


CYCLES = {
    cycle.__name__.removeprefix("cycle_"): cycle
    for cycle in (
        cycle_by_result,
        cycle_by_argument,
        cycle_by_keyword,
        cycle_by_itself,
        cycle_by_the_wrapped_function,
        cycle_by_an_attribute_of_the_wrapped_function,
        cycle_by_a_callable_object,
        cycle_by_an_attribute,
        cycle_without_a_bound,
        cycle_by_a_bound_method,
        cycle_by_its_class,
        cycle_of_methods,
    )
}


@each("how", CYCLES)
@isolated()
def test_cycles_are_found(how: str) -> None:
    function = CYCLES[how]()
    info = function.cache_info()
    living = Value.living()
    gone = weakref.ref(function)
    if how not in ("by_a_bound_method", "of_methods"):
        full_collection()
        assert function.cache_info() == info and Value.living() == living
    del function
    full_collection()
    assert gone() is None
    nothing_left()


@isolated()
def test_a_class_is_collected_with_its_cached_methods() -> None:
    references: list[weakref.ref[Any]] = []
    for number in range(20):

        class Class(Value):
            @lru_cache
            def method(self, x: int) -> Any:
                return [self, Class, x]

            @property
            @lru_cache
            def attribute(self) -> Any:
                return Holder(self)

            @classmethod
            @lru_cache
            def of_class(cls, x: int) -> Any:
                return Holder(cls)

        class Sub(Class):
            pass

        for kind in (Class, Sub):
            instance = kind()
            instance.method(number), instance.attribute, kind.of_class(number)
            references += [weakref.ref(kind), weakref.ref(instance)]
        references.append(weakref.ref(Class.method))
    del Class, Sub, kind, instance
    nothing_left()
    assert [one for one in references if one() is not None] == []


@isolated()
def test_a_program_that_only_calls_the_function_frees_what_it_evicts() -> None:
    gc.disable()
    alive = Value.alive

    @lru_cache(maxsize=3)
    def none() -> Value:
        return Value()

    @lru_cache(maxsize=3)
    def one(x: object) -> Value:
        return Value()

    @lru_cache(maxsize=3)
    def several(x: object, y: object, *, z: object = None) -> Value:
        return Value()

    @lru_cache(maxsize=3, typed=True)
    def typed(x: object) -> Value:
        return Value()

    @lru_cache(maxsize=0)
    def nothing(x: object) -> Value:
        return Value()

    none()
    assert len(alive) == 1
    for number in range(20):
        one(number)
        assert len(alive) == 1 + min(number + 1, 3)
    for number in range(20):
        several(number, 1, z=number)
        assert len(alive) == 4 + min(number + 1, 3)
    for number in range(20):
        typed(number)
        assert len(alive) == 7 + min(number + 1, 3)
    for number in range(20):
        nothing(number)
        assert len(alive) == 10


@isolated()
def test_a_program_that_only_calls_the_function_frees_arguments() -> None:
    gc.disable()
    alive = Value.alive

    @lru_cache(maxsize=3)
    def function(*args: object, **kwargs: object) -> int:
        return 1

    @lru_cache
    def fails(*args: object, **kwargs: object) -> None:
        raise Boom

    class Equal(Value):
        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Equal)

    for number in range(20):
        function(Value())
        assert len(alive) == min(number + 1, 3)
    for _ in range(20):
        function(1, x=Value())
        assert len(alive) == 3
    function(1), function(2), function(3)
    assert not alive
    function(Equal())
    for _ in range(20):
        # a hit keeps the argument that was there
        function(Equal())
        assert len(alive) == 1
    for _ in range(20):
        try:
            fails(Value(), x=Value())
        except Boom:
            pass
        assert len(alive) == 1


@isolated()
def test_a_program_that_only_calls_methods_frees_instances() -> None:
    gc.disable()
    alive = Value.alive

    class Class(Value):
        @lru_cache(maxsize=3)
        def method(self, x: int) -> Value:
            return Value()

        @lru_cache
        def itself(self) -> Any:
            return self

    class Slots:
        __slots__ = ("__weakref__", "held")

        def __init__(self) -> None:
            self.held = Value()

        @lru_cache(maxsize=3)
        def method(self, x: int) -> Value:
            return Value()

        @lru_cache
        def itself(self) -> Any:
            return self

    for kind in (Class, Slots):
        instance: Any = kind()
        for x in range(10):
            instance.method(x)
            assert len(alive) == 1 + min(x + 1, 3)
            instance.itself()
        for _ in range(10):
            instance = kind()
            assert len(alive) == 1
            instance.method(1)
            assert len(alive) == 2
        del instance
        assert not alive
