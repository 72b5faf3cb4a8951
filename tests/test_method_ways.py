"""Ways to be a cached method."""

from __future__ import annotations

import abc
import functools
import weakref
from typing import Any

import pytest

from isolated import full_collection
from leaksafe import lru_cache
from method_classes import Child, gone_at_once, method, without_collections

pytestmark = pytest.mark.usefixtures("frozen")


def test_under_property() -> None:
    class Class:
        def __init__(self) -> None:
            self.n = 1

        @property
        @lru_cache
        def fresh(self) -> list[int]:
            return [self.n]

        @property
        @lru_cache
        def back(self) -> Child:
            return Child(self)

    with without_collections():
        instance = Class()
        assert instance.fresh is instance.fresh
        assert gone_at_once([instance]) is False
        box = [instance]
        del instance
        assert gone_at_once(box)
    instance = Class()
    assert instance.back is instance.back and instance.back.parent is instance
    reference = weakref.ref(instance)
    del instance
    full_collection()
    assert reference() is None
    getter: Any = vars(Class)["fresh"].fget
    assert getter.cache_info() == (1, 1, 128, 0)


def test_under_abstractmethod_and_over_it() -> None:
    class Base(abc.ABC):
        @abc.abstractmethod
        @lru_cache
        def under(self) -> list[int]:
            return [1]

        @lru_cache
        @abc.abstractmethod
        def over(self) -> list[int]:
            return [2]

    class Class(Base):
        def under(self) -> Any:  # type: ignore[override]
            return super().under()

        def over(self) -> Any:  # type: ignore[override]
            return super().over()

    with without_collections():
        box = [Class()]
        assert box[0].under() is box[0].under() and box[0].over() is box[0].over()
        assert gone_at_once(box)
        assert Base.under.cache_info() == Base.over.cache_info() == (1, 1, 128, 0)


def test_super() -> None:
    class Base:
        @lru_cache
        def m(self, x: int) -> list[object]:
            return ["base", x]

    class Sub(Base):
        @lru_cache
        def m(self, x: int) -> list[object]:
            return ["sub", *super().m(x)]

    class Plain(Base):
        def m(self, x: int) -> list[object]:  # type: ignore[override]
            return ["plain", *super().m(x)]

    class Last(Sub):
        pass

    with without_collections():
        for kind, wanted in (
            (Base, ["base", 1]),
            (Sub, ["sub", "base", 1]),
            (Last, ["sub", "base", 1]),
        ):
            box: list[Any] = [kind()]
            assert box[0].m(1) == wanted and box[0].m(1) is box[0].m(1)
            assert gone_at_once(box)
        box = [Plain()]
        assert box[0].m(1) == ["plain", "base", 1] == box[0].m(1)
        assert gone_at_once(box)
        assert Base.m.cache_info().currsize == Sub.m.cache_info().currsize == 0
    # both results of one instance, of two caches of the same name
    sub = Sub()
    assert sub.m(1) == ["sub", "base", 1] and Base.m(sub, 1) == ["base", 1]
    assert sub.m(1) is sub.m(1) and Base.m(sub, 1) is Base.m(sub, 1)


def test_several_methods_of_one_instance() -> None:
    class Class:
        @lru_cache
        def a(self, x: int) -> list[object]:
            return ["a", x]

        @lru_cache
        def b(self, x: int) -> list[object]:
            return ["b", x]

    with without_collections():
        box = [Class()]
        a, b = box[0].a(1), box[0].b(1)
        assert (a, b) == (["a", 1], ["b", 1])
        Class.a.cache_clear()
        assert box[0].b(1) is b and box[0].a(1) is not a
        assert box[0].a.cache_discard(1)
        assert box[0].b(1) is b
        assert gone_at_once(box)


def test_partialmethod() -> None:
    class Class:
        @lru_cache
        def m(self, x: int, y: int) -> list[int]:
            return [x, y]

        one = functools.partialmethod(m, 1)
        seven = functools.partialmethod(m, y=7)

    with without_collections():
        box = [Class()]
        assert box[0].one(2) is box[0].one(2) is box[0].m(1, 2)
        assert box[0].seven(1) == [1, 7] and box[0].seven(1) is box[0].m(1, y=7)
        assert Class.m.cache_info() == (4, 2, 128, 2)
        assert gone_at_once(box)
        assert Class.m.cache_info().currsize == 0


def test_under_another_decorator() -> None:
    def noisy(function: Any) -> Any:
        @functools.wraps(function)
        def around(*args: Any, **kwargs: Any) -> Any:
            return function(*args, **kwargs)

        return around

    class Class:
        @noisy
        @lru_cache
        def m(self, x: int) -> list[int]:
            return [x]

        @property
        @noisy
        @noisy
        @lru_cache
        def p(self) -> list[int]:
            return [1]

    with without_collections():
        box = [Class()]
        assert box[0].m(1) is box[0].m(1) and box[0].p is box[0].p
        assert gone_at_once(box)


def test_under_a_descriptor_of_ones_own() -> None:
    """What was wrapped is found by the names that such things have for it."""

    class ByFunc:
        def __init__(self, function: Any) -> None:
            self.__func__ = function

        def __get__(self, instance: Any, owner: Any = None) -> Any:
            return functools.partial(self.__func__, instance)

    class ByWrapped(ByFunc):
        def __init__(self, function: Any) -> None:
            super().__init__(lambda *args: function(*args))
            self.__wrapped__ = function

    class ByFget(property):
        def __get__(self, instance: Any, owner: Any = None) -> Any:
            getter: Any = self.fget
            return functools.partial(getter, instance)

    descriptors: list[Any] = [ByFunc, ByWrapped, ByFget]
    for descriptor in descriptors:

        class Class:
            m = descriptor(method(lambda self, x: [x]))

        with without_collections():
            box: list[Any] = [Class()]
            assert box[0].m(1) is box[0].m(1)
            assert gone_at_once(box), descriptor


def test_a_private_name() -> None:
    """It stands in the class under another name than the function's."""

    class Class:
        @lru_cache
        def __private(self) -> list[int]:
            return [1]

        def public(self) -> list[int]:
            return self.__private()

    class Sub(Class):
        pass

    with without_collections():
        for kind in (Class, Sub):
            box = [kind()]
            assert box[0].public() is box[0].public()
            assert gone_at_once(box)


def test_another_name_in_the_class() -> None:
    class Class:
        short = lru_cache(lambda self: [1])

    def function(self: object) -> list[int]:
        return [2]

    Class.long = lru_cache(function)  # type: ignore[attr-defined]
    box: list[Any] = [Class()]
    with without_collections():
        assert box[0].short() is box[0].short()
        assert gone_at_once(box)
    # put there later, by a name that nothing leads to: functools' way, within the bound
    box = [Class()]
    assert box[0].long() is box[0].long()


def test_put_into_the_class_later() -> None:
    class Class:
        pass

    @lru_cache
    def later(self: object, x: int) -> list[int]:
        return [x]

    # not a method yet
    one = Class()
    assert later(one, 1) is later(one, 1)
    Class.later = later  # type: ignore[attr-defined]
    other: Any = Class()
    assert other.later(1) is other.later(1)


def test_of_a_metaclass() -> None:
    class Meta(type):
        @lru_cache
        def m(cls, x: int) -> list[int]:
            return [x]

        @lru_cache
        def own(cls) -> Any:
            return cls

        @property
        @lru_cache
        def p(cls) -> str:
            return cls.__name__

    class Class(metaclass=Meta):
        pass

    class Other(metaclass=Meta):
        pass

    assert Class.m(1) is Class.m(1) and Class.own() is Class and Class.p == "Class"
    assert Other.m(1) is not Class.m(1)
    reference = weakref.ref(Class)
    del Class
    full_collection()
    assert reference() is None
    assert Meta.m.cache_info().currsize == 1 and Other.m(1) == [1]
