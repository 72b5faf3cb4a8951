"""What a cached method holds of its arguments, and what is no method."""

from __future__ import annotations

import dataclasses
import enum
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from harness import Boom
from isolated import full_collection
from leaksafe import LeakWarning, lru_cache
from method_classes import OURS, gone_at_once, without_collections

pytestmark = pytest.mark.usefixtures("frozen")


class Called:
    """A class whose instances a cached function is called with, that is no method of theirs."""

    def __init__(self) -> None:
        self.n = 1

    def area(self) -> int:
        return self.n

    @staticmethod
    @lru_cache
    def static(one: Any) -> list[int]:
        return [one.n]

    @classmethod
    @lru_cache
    def of_class(cls, one: Any) -> list[int]:
        return [one.n]


@lru_cache
def area(one: Any) -> list[int]:
    return [one.n]


@lru_cache
def function(one: Any) -> list[int]:
    return [one.n]


@pytest.mark.parametrize("cached", [area, function, Called.static, Called.of_class], ids=str)
def test_what_is_no_method_holds_its_arguments(cached: Any) -> None:
    """A staticmethod's qualified name, or a function's, looks like a method's."""
    function.cache_clear()
    instance = Called()
    before = dict(vars(instance))
    result = cached(instance)
    assert cached(instance) is result and vars(instance) == before
    reference = weakref.ref(instance)
    del instance
    full_collection()
    assert reference() is not None and cached(reference()) is result
    cached.cache_clear()
    assert reference() is None


def test_a_static_method_called_on_an_instance() -> None:
    instance = Called()
    assert instance.static(instance) is Called.static(instance)  # type: ignore[call-arg]
    assert Called.static.cache_discard(instance) and not instance.static.cache_contains(instance)  # type: ignore[call-arg]
    Called.static.cache_clear()


def test_a_staticmethod_of_the_same_name_elsewhere() -> None:
    """The name may lead to this wrapper in one class, as a method, and be static in another."""

    @lru_cache
    def shared(one: Any) -> list[int]:
        return [1]

    class Method:
        pass

    class Static:
        pass

    Method.shared = shared  # type: ignore[attr-defined]
    Static.shared = staticmethod(shared)  # type: ignore[attr-defined]
    with without_collections():
        box: list[Any] = [Method()]
        assert box[0].shared() is box[0].shared()
        assert gone_at_once(box)
        box = [Static()]
        assert box[0].shared(box[0]) is box[0].shared(box[0])
        assert not gone_at_once(box)
        shared.cache_clear()


def test_over_staticmethod() -> None:
    def function(x: object) -> list[object]:
        return [x]

    class Class:
        over = OURS(staticmethod(function))

    assert Class.over(1) is Class.over(1)
    assert Class.over.cache_info() == (1, 1, 128, 1)


def test_classmethods() -> None:
    class Class:
        n = 1

        @classmethod
        @lru_cache
        def m(cls, x: int) -> list[object]:
            return [cls.n, x]

    class Sub(Class):
        n = 2

    assert Class.m(1) is Class.m(1) is Class().m(1) and Class.m(1) == [1, 1]
    assert Sub.m(1) is Sub().m(1) and Sub.m(1) == [2, 1]
    assert Class.m.cache_info() == Sub.m.cache_info() == (5, 2, 128, 2)
    assert Class.m.cache_contains(1) and Sub.m.cache_contains(1) and not Class.m.cache_contains(2)
    assert Class.m.cache_discard(1) and not Class.m.cache_contains(1)
    # From 3.13 on, a classmethod's attributes don't know the class, and mean all that called it.
    assert Sub.m.cache_contains(1) is (sys.version_info < (3, 13))
    assert Sub().m.cache_discard(1) is (sys.version_info < (3, 13)) and not Sub.m.cache_discard(1)
    assert Class.m.cache_parameters() == {"maxsize": 128, "typed": False}
    Sub.m(1)
    Sub.m.cache_clear()
    assert Class.m.cache_info() == (0, 0, 128, 0)


def test_over_enum_members() -> None:
    class Colour(enum.Enum):
        RED = 1
        BLUE = 2

        @lru_cache
        def m(self) -> list[int]:
            return [self.value]

    assert Colour.RED.m() is Colour.RED.m() and Colour.BLUE.m() == [2]
    assert Colour.m.cache_info() == (1, 2, 128, 2)
    assert list(Colour) == [Colour.RED, Colour.BLUE]


def test_unhashable_instances() -> None:
    @dataclasses.dataclass
    class Class:
        n: int

        @lru_cache
        def m(self) -> int:
            return self.n

    with pytest.raises(TypeError, match="unhashable"):
        Class(1).m()
    assert Class.m.cache_info() == (0, 0, 128, 0)


def test_other_arguments_are_held_until_the_instance_dies() -> None:
    class Class:
        @lru_cache
        def to(self, other: object) -> list[int]:
            return [1]

    with without_collections():
        one, other = Class(), Class()
        references = [weakref.ref(one), weakref.ref(other)]
        one.to(other)
        del other
        assert references[1]() is not None
        del one
        assert [reference() for reference in references] == [None, None]


def test_the_instance_as_an_argument_too() -> None:
    class Class:
        @lru_cache
        def to(self, other: object = None, *, by: object = None) -> list[int]:
            return [1]

    with without_collections():
        box = [Class()]
        assert box[0].to(box[0]) is box[0].to(box[0])
        assert box[0].to(by=box[0]) is box[0].to(by=box[0])
        assert Class.to.cache_info() == (2, 2, 128, 2)
        assert gone_at_once(box)
        assert Class.to.cache_info().currsize == 0


def test_the_caches_own_reference_as_an_argument() -> None:
    """weakref.getweakrefs hands it out. It isn't the instance that it stands for in a key."""

    class Class:
        @lru_cache
        def m(self, x: object = None) -> Any:
            return [type(self), x]

    function = OURS(lambda *args: [type(arg) for arg in args])
    one = Class()
    results = [one.m(), one.m(one)]
    references: list[Any] = [one for one in weakref.getweakrefs(one) if one.__callback__]
    (reference,) = references
    m: Any = Class.m
    assert function(reference) == [weakref.ref] and function(one) == [Class]
    assert function(reference) == [weakref.ref] and function(1, one) == [int, Class]
    assert function(1, reference) == [int, weakref.ref]
    assert m(reference) == [weakref.ref, None] and m(reference, one) == [weakref.ref, one]
    assert m(one, reference) == [Class, reference]
    assert [one.m(), one.m(one)] == results and one.m() is results[0]


def test_the_instance_given_by_name() -> None:
    """It is held no more than where it is given by its place, and is an entry of its own."""
    itself = object()

    class Class:
        @lru_cache
        def m(self, x: int = 0, *, y: Any = None) -> Any:
            return self if y is itself else [1]

        @lru_cache
        def other(this, /, **self: Any) -> list[int]:
            return [1]

        @lru_cache
        def anything(*args: Any, **kwargs: Any) -> list[int]:
            return [1]

    m: Any = Class.m
    with without_collections():
        calls: list[Callable[[Any], Any]] = [
            lambda one: m(self=one),
            lambda one: m(self=one, x=1),
            lambda one: m(x=1, self=one),
            lambda one: m(x=one, y=one, self=one),
            lambda one: m(y=itself, self=one),
            lambda one: m(**{"SELF".lower(): one}),
        ]
        for call in calls:
            box = [Class()]
            assert call(box[0]) is call(box[0])
            assert m.cache_info().currsize == 1
            assert gone_at_once(box)
            assert m.cache_info().currsize == 0
        assert m.cache_info() == (6, 6, 128, 0)
        box = [Class()]
        m(self=box[0], x=1)
        assert m.cache_contains(self=box[0], x=1) and not m.cache_contains(box[0], x=1)
        assert m.cache_discard(self=box[0], x=1) and not m.cache_discard(self=box[0], x=1)
        # a keyword of the name that is no parameter, and one of another name, are as any argument
        box = [Class()]
        Class.other(Class(), self=box[0])
        Class.anything(self=box[0])
        assert Class.other.cache_info().currsize == 0
        assert Class.anything.cache_info().currsize == 1 and not gone_at_once(box)


def test_a_metaclass_is_not_asked() -> None:
    """Whether something is a method is read from the classes themselves."""
    asked: list[str] = []

    class Meta(type):
        def __getattribute__(cls, name: str) -> Any:
            asked.append(name)
            raise Boom(name)

        def __eq__(cls, other: object) -> bool:
            raise Boom

        def __hash__(cls) -> int:
            raise Boom

        def __instancecheck__(cls, instance: object) -> bool:
            raise Boom

        def __subclasscheck__(cls, subclass: type) -> bool:
            raise Boom

    @lru_cache
    def m(self: Any, x: int = 0) -> list[int]:
        return [x]

    @lru_cache
    def c(x: Any) -> int:
        return x.number if isinstance(x, Argument) else 0

    class Argument:
        def __init__(self, number: int) -> None:
            self.number = number

    Class = Meta("Class", (), {"m": m, "c": classmethod(c)})
    Sub = Meta("Sub", (Class,), {})
    NoWeak = Meta("NoWeak", (), {"__slots__": (), "m": m})
    with without_collections():
        for kind in (Class, Sub):
            box = [type.__call__(kind)]
            assert m(box[0]) is m(box[0]) and m.cache_contains(box[0]) and m(self=box[0]) == [0]
            assert m.cache_discard(box[0]) and m(box[0], 1) is m(box[0], 1)
            assert gone_at_once(box)
        assert m.cache_info().currsize == 0
        with pytest.warns(LeakWarning, match="NoWeak"):
            m(type.__call__(NoWeak))
    assert c(Argument(5)) == 5
    assert asked == []


def test_a_failure_keeps_nothing() -> None:
    class Class:
        @lru_cache
        def m(self) -> None:
            raise Boom

    with without_collections():
        box = [Class()]
        for _ in range(2):
            try:
                box[0].m()
            except Boom as error:
                assert error.__context__ is None
        assert vars(box[0]) == {}
        assert gone_at_once(box)
        assert Class.m.cache_info() == (0, 2, 128, 0)
