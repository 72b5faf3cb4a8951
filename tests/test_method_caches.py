"""Cached methods of all sorts of classes: what they return, and that no instance is kept alive."""

from __future__ import annotations

import abc
import copy
import dataclasses
import enum
import functools
import gc
import inspect
import pickle
import sys
import threading
import typing
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FunctionType, ModuleType
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Boom
from isolated import full_collection
from leaksafe import LeakWarning, cache, lru_cache

# As their users write them: over whatever there is.
OURS: Any = lru_cache
THEIRS: Any = functools.lru_cache

NAME = "__leaksafe_results__"


@pytest.fixture(scope="module", autouse=True)
def frozen() -> Iterator[None]:
    """The many collections here needn't look at whatever was there before."""
    gc.collect()
    gc.freeze()
    yield
    gc.unfreeze()


@contextmanager
def without_collections() -> Iterator[None]:
    """What is freed in here is freed by reference counts alone."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


# -- classes, each made around a cached method `m`, and called with a number


def plain(m: Any) -> Any:
    class Plain:
        def __init__(self, n: int) -> None:
            self.n = n

    Plain.m = m  # type: ignore[attr-defined]
    return Plain


def slots_with_weakref(m: Any) -> Any:
    class SlotsWithWeakref:
        __slots__ = ("__weakref__", "n")

        def __init__(self, n: int) -> None:
            self.n = n

    SlotsWithWeakref.m = m  # type: ignore[attr-defined]
    return SlotsWithWeakref


def slots_with_both(m: Any) -> Any:
    class SlotsWithBoth:
        __slots__ = ("__dict__", "__weakref__", "n")

        def __init__(self, n: int) -> None:
            self.n = n

    SlotsWithBoth.m = m  # type: ignore[attr-defined]
    return SlotsWithBoth


def slots(m: Any) -> Any:
    class Slots:
        __slots__ = ("n",)

        def __init__(self, n: int) -> None:
            self.n = n

    Slots.m = m  # type: ignore[attr-defined]
    return Slots


def slots_with_dict(m: Any) -> Any:
    class SlotsWithDict:
        __slots__ = ("__dict__", "n")

        def __init__(self, n: int) -> None:
            self.n = n

    SlotsWithDict.m = m  # type: ignore[attr-defined]
    return SlotsWithDict


def compared(m: Any) -> Any:
    class Compared:
        def __init__(self, n: int) -> None:
            self.n = n

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Compared) and self.n == other.n

        def __hash__(self) -> int:
            return hash(self.n)

    Compared.m = m  # type: ignore[attr-defined]
    return Compared


def frozen_dataclass(m: Any) -> Any:
    @dataclasses.dataclass(frozen=True)
    class Frozen:
        n: int

    Frozen.m = m  # type: ignore[attr-defined]
    return Frozen


def hashed_dataclass(m: Any) -> Any:
    @dataclasses.dataclass(eq=True, unsafe_hash=True)
    class Hashed:
        n: int

    Hashed.m = m  # type: ignore[attr-defined]
    return Hashed


def dataclass_by_identity(m: Any) -> Any:
    @dataclasses.dataclass(eq=False)
    class ByIdentity:
        n: int

    ByIdentity.m = m  # type: ignore[attr-defined]
    return ByIdentity


def frozen_slots_dataclass(m: Any) -> Any:
    class FrozenSlots:
        n: int

    FrozenSlots.m = m  # type: ignore[attr-defined]
    # it makes the class anew, around the same method
    return dataclasses.dataclass(frozen=True, slots=True, weakref_slot=True)(FrozenSlots)


def slots_dataclass(m: Any) -> Any:
    class SlotsData:
        n: int

    SlotsData.m = m  # type: ignore[attr-defined]
    return dataclasses.dataclass(frozen=True, slots=True)(SlotsData)


def made_anew(m: Any) -> Any:
    """What attrs does: the class is built a second time, with slots."""

    class MadeAnew:
        def __init__(self, n: int) -> None:
            self.n = n

    MadeAnew.m = m  # type: ignore[attr-defined]
    content = {k: v for k, v in vars(MadeAnew).items() if k not in ("__dict__", "__weakref__")}
    return type("MadeAnew", (), {**content, "__slots__": ("n", "__weakref__")})


def inherited(m: Any) -> Any:
    class Inherited(plain(m)):  # type: ignore[misc]
        pass

    return Inherited


def diamond(m: Any) -> Any:
    base = plain(m)

    class Left(base):  # type: ignore[misc, valid-type]
        pass

    class Right(base):  # type: ignore[misc, valid-type]
        pass

    class Diamond(Left, Right):
        pass

    return Diamond


def mixed_in(m: Any) -> Any:
    class Mixin:
        __slots__ = ()

    Mixin.m = m  # type: ignore[attr-defined]

    class MixedIn(plain(None), Mixin):  # type: ignore[misc]
        pass

    del MixedIn.__mro__[1].m
    return MixedIn


def abstract(m: Any) -> Any:
    class Abstract(abc.ABC):
        @abc.abstractmethod
        def m(self, x: int) -> object: ...

    class Concrete(plain(m), Abstract):  # type: ignore[misc]
        pass

    return Concrete


def generic(m: Any) -> Any:
    T = typing.TypeVar("T")

    class Generic(plain(m), typing.Generic[T]):  # type: ignore[misc]
        pass

    return Generic[int]


def immutable(m: Any) -> Any:
    class Immutable(plain(m)):  # type: ignore[misc]
        def __init__(self, n: int) -> None:
            object.__setattr__(self, "n", n)

        def __setattr__(self, name: str, value: object) -> None:
            raise AttributeError("immutable")

        __delattr__ = None  # type: ignore[assignment]

    return Immutable


def forwarding(m: Any) -> Any:
    class Forwarding(plain(m)):  # type: ignore[misc]
        def __getattr__(self, name: str) -> Any:
            raise AssertionError(f"{name} was asked for")

        def __getattribute__(self, name: str) -> Any:
            assert name in ("n", "m", "__class__", "__dict__"), f"{name} was asked for"
            return super().__getattribute__(name)

    return Forwarding


def text(m: Any) -> Any:
    class Text(str):
        @property
        def n(self) -> int:
            return len(self)

    Text.m = m  # type: ignore[attr-defined]
    return lambda n: Text("x" * n)


def error(m: Any) -> Any:
    class Error(Exception):
        @property
        def n(self) -> int:
            number: int = self.args[0]
            return number

    Error.m = m  # type: ignore[attr-defined]
    return Error


def whole_number(m: Any) -> Any:
    class WholeNumber(int):
        @property
        def n(self) -> int:
            return int(self)

    WholeNumber.m = m  # type: ignore[attr-defined]
    return WholeNumber


def named_tuple(m: Any) -> Any:
    class Named(NamedTuple):
        n: int

    Named.m = m  # type: ignore[attr-defined]
    return Named


def of_a_metaclass(m: Any) -> Any:
    class Meta(type):
        pass

    Meta.m = m  # type: ignore[attr-defined]
    return lambda n: Meta("Made", (), {"n": n})


WITH_DICT = {
    kind.__name__: kind
    for kind in (
        plain,
        slots_with_both,
        compared,
        frozen_dataclass,
        hashed_dataclass,
        dataclass_by_identity,
        inherited,
        diamond,
        mixed_in,
        abstract,
        generic,
        immutable,
        forwarding,
        text,
        error,
    )
}
WITHOUT_DICT = {
    kind.__name__: kind for kind in (slots_with_weakref, frozen_slots_dataclass, made_anew)
}
WEAK = WITH_DICT | WITHOUT_DICT
NOT_WEAK = {
    kind.__name__: kind
    for kind in (slots, slots_with_dict, slots_dataclass, whole_number, named_tuple)
}
# a class is in cycles of its own, and so is never freed by reference counts
ALL = WEAK | NOT_WEAK | {"of_a_metaclass": of_a_metaclass}


# -- what the method returns


class Child:
    def __init__(self, parent: object) -> None:
        self.parent = parent


ATOMIC: dict[str, Callable[[Any, int], object]] = {
    "int": lambda self, x: self.n * 1_000_003 + x,
    "str": lambda self, x: f"{self.n} and {x}",
    "bytes": lambda self, x: b"%d and %d" % (self.n, x),
    "float": lambda self, x: self.n + x / 7,
    "None": lambda self, x: None,
}
FRESH: dict[str, Callable[[Any, int], object]] = {
    "list": lambda self, x: [self.n, x],
    "tuple": lambda self, x: (self.n, x),
    "dict": lambda self, x: {self.n: x},
    "object": lambda self, x: Child(None),
    "function": lambda self, x: lambda: x,
    "generator": lambda self, x: (one for one in (1, x)),
}
ITSELF: dict[str, Callable[[Any, int], object]] = {"itself": lambda self, x: self}
BACK: dict[str, Callable[[Any, int], object]] = {
    "child": lambda self, x: Child(self),
    "list of it": lambda self, x: [self],
    "tuple of it": lambda self, x: (x, (self,)),
    "closure": lambda self, x: lambda: self,
    "bound": lambda self, x: self.m,
    "generator of it": lambda self, x: (self for _ in (1, 2)),
}
NOT_BACK = ATOMIC | FRESH | ITSELF
RESULTS = NOT_BACK | BACK


def method(body: Callable[[Any, int], object], decorate: Any = OURS, **options: Any) -> Any:
    """The cached method `m`, for a class to be made around it."""
    runs = 0

    def m(self: Any, x: int) -> object:
        nonlocal runs
        runs += 1
        return body(self, x)

    cached = decorate(**options)(m) if options else decorate(m)
    cached.runs = lambda: runs
    return cached


each_weak = pytest.mark.parametrize("kind", WEAK)
each_with_dict = pytest.mark.parametrize("kind", WITH_DICT)
each_not_weak = pytest.mark.parametrize("kind", NOT_WEAK)
each_kind = pytest.mark.parametrize("kind", ALL)
unwarned = pytest.mark.filterwarnings("ignore::leaksafe.LeakWarning")


@each_kind
@unwarned
def test_hits_and_misses(kind: str) -> None:
    for name, body in RESULTS.items():
        m = method(body)
        make = ALL[kind](m)
        one, other = make(1), make(2)
        results = [one.m(1), one.m(2), other.m(1)]
        assert m.cache_info() == (0, 3, 128, 3), name
        assert m.runs() == 3, name
        assert one.m(1) is results[0] and one.m(2) is results[1] and other.m(1) is results[2], name
        assert m(one, 1) is results[0], name
        assert m.cache_info() == (4, 3, 128, 3), name


@each_weak
def test_the_instance_is_freed_at_once(kind: str) -> None:
    for name, body in NOT_BACK.items():
        m = method(body)
        make = WEAK[kind](m)
        with without_collections():
            one, other = make(1), make(2)
            reference = weakref.ref(one)
            for x in (1, 2, 1):
                one.m(x)
                other.m(x)
            kept = other.m(1)
            assert m.cache_info().currsize == 4
            del one
            assert reference() is None, name
            assert m.cache_info().currsize == 2, name
            # the other's entries are there still
            assert other.m(1) is kept, name
            assert m.cache_info() == (4, 4, 128, 2), name


@each_weak
def test_results_are_freed_with_it_at_once(kind: str) -> None:
    m = method(lambda self, x: Child(x))
    make = WEAK[kind](m)
    with without_collections():
        instance = make(1)
        results = [weakref.ref(instance.m(x)) for x in range(5)]
        assert all(result() is not None for result in results)
        del instance
        assert [result() for result in results] == [None] * 5


@each_with_dict
def test_results_that_refer_back_go_with_the_instance(kind: str) -> None:
    """The collector finds that only they and the instance hold each other."""
    methods = {name: method(body) for name, body in BACK.items()}
    instances = {name: WITH_DICT[kind](m)(1) for name, m in methods.items()}
    references = {name: weakref.ref(instance) for name, instance in instances.items()}
    for name, instance in instances.items():
        assert instance.m(1) is instance.m(1), name
    del instance
    full_collection()
    assert [name for name, reference in references.items() if reference() is None] == []
    assert [m.cache_info().currsize for m in methods.values()] == [1] * len(BACK)
    instances.clear()
    full_collection()
    assert [name for name, reference in references.items() if reference() is not None] == []
    assert [m.cache_info().currsize for m in methods.values()] == [0] * len(BACK)


@pytest.mark.parametrize("kind", WITHOUT_DICT)
def test_without_a_dict_what_refers_back_is_bounded(kind: str) -> None:
    m = method(BACK["child"], maxsize=2)
    make = WITHOUT_DICT[kind](m)
    references = []
    for number in range(6):
        instance = make(number)
        instance.m(1)
        references.append(weakref.ref(instance))
    del instance
    full_collection()
    assert [reference() is None for reference in references] == [True] * 4 + [False] * 2
    assert m.cache_info().currsize == 2
    m.cache_clear()
    full_collection()
    assert [reference() for reference in references] == [None] * 6


@each_not_weak
def test_what_cannot_be_weakly_referenced_is_bounded_and_warned_of(kind: str) -> None:
    m = method(FRESH["list"], maxsize=2)
    make = NOT_WEAK[kind](m)
    one = make(1)
    with pytest.warns(LeakWarning, match=type(one).__name__) as caught:
        result = one.m(1)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    said = str(caught[0].message)
    # and the cure, where the class can have one
    assert ("__weakref__" in said) is ("slots" in kind), said
    # once a class: no further warning, or it would be an error
    assert one.m(1) is result
    for number in range(2, 5):
        make(number).m(1)
    assert m.cache_info() == (1, 4, 2, 2)
    # held as by functools': equal instances made one after the other hit, where they are equal
    if one == make(1):
        assert make(4).m(1) is make(4).m(1)


def test_each_class_is_warned_of() -> None:
    m = method(FRESH["list"])
    base = slots(m)

    class Sub(base):  # type: ignore[misc, valid-type]
        __slots__ = ()

    class Another(base):  # type: ignore[misc, valid-type]
        pass

    with pytest.warns(LeakWarning, match="Slots"):
        base(1).m(1)
    with pytest.warns(LeakWarning, match="Sub"):
        Sub(1).m(1)
    # this one has what its base lacks
    Another(1).m(1)
    base(2).m(1), Sub(2).m(1)


def test_a_warning_that_is_an_error() -> None:
    m = method(FRESH["list"])
    instance = slots(m)(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LeakWarning):
            instance.m(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert instance.m(2) is instance.m(2)
        assert instance.m(1) is instance.m(1)


@each_weak
def test_maxsize_bounds_all_instances_together(kind: str) -> None:
    m = method(FRESH["list"], maxsize=4)
    make = WEAK[kind](m)
    with without_collections():
        instances = [make(number) for number in range(3)]
        results = [weakref.ref(instance) for instance in instances]
        for instance in instances:
            for x in range(3):
                instance.m(x)
        assert m.cache_info() == (0, 9, 4, 4)
        # the most recent are the last one's three, and one before
        for x in range(3):
            assert m.cache_contains(instances[2], x)
        assert m.cache_contains(instances[1], 2)
        assert not m.cache_contains(instances[1], 1) and not m.cache_contains(instances[0], 2)
        del instance
        instances.pop()
        assert m.cache_info().currsize == 1
        instances.clear()
        assert m.cache_info().currsize == 0
        assert [result() for result in results] == [None] * 3


@each_weak
def test_evicted_results_are_freed_at_once(kind: str) -> None:
    """Wherever they live, the bound is on them, not only on their entries."""
    m = method(lambda self, x: Child(x), maxsize=3)
    instance = WEAK[kind](m)(1)
    with without_collections():
        results = [weakref.ref(instance.m(x)) for x in range(10)]
        assert [result() is None for result in results] == [True] * 7 + [False] * 3
        assert m.cache_discard(instance, 9)
        assert results[9]() is None and results[8]() is not None
        m.cache_clear()
        assert [result() for result in results] == [None] * 10


@each_weak
def test_nothing_is_kept_at_maxsize_0(kind: str) -> None:
    m = method(lambda self, x: Child(self), maxsize=0)
    with without_collections():
        instance = WEAK[kind](m)(1)
        reference, result = weakref.ref(instance), weakref.ref(instance.m(1))
        assert result() is None and m.cache_info() == (0, 1, 0, 0)
        del instance
        assert reference() is None


ACTORS = st.tuples(
    st.integers(0, 3),
    st.sampled_from([1, 1.0, True, 2, "a"]),
    st.sampled_from(["position", "name", "function", "bound", "clear"]),
)


@given(
    st.sampled_from(sorted(WEAK)),
    st.sampled_from([None, 0, 1, 3, 128]),
    st.booleans(),
    st.lists(ACTORS, max_size=40),
)
def test_as_functools_while_the_instances_live(
    kind: str, maxsize: int | None, typed: bool, steps: list[tuple[int, Any, str]]
) -> None:
    """Equal instances share their entries where the class says that they are equal."""
    sides: list[tuple[Any, list[Any], list[Any]]] = []
    for decorate in (OURS, THEIRS):
        made: list[Any] = []

        def body(self: Any, x: Any, made: list[Any] = made) -> list[Any]:
            made.append([self.n, x, len(made)])
            return made[-1]  # type: ignore[no-any-return]

        m = method(body, decorate, maxsize=maxsize, typed=typed)
        make = WEAK[kind](m)
        sides.append((m, [make(1), make(1), make(2), make(2)], made))
    for which, x, how in steps:
        got: list[Any] = []
        for m, instances, _ in sides:
            instance = instances[which]
            match how:
                case "position":
                    got.append(instance.m(x))
                case "name":
                    got.append(instance.m(x=x))
                case "function":
                    got.append(m(instance, x))
                case "bound":
                    bound = instance.m
                    got.append(bound(x))
                case _:
                    got.append(m.cache_clear())
        assert repr(got[0]) == repr(got[1])
        assert sides[0][0].cache_info() == sides[1][0].cache_info()


def test_equal_instances_share_while_the_first_lives() -> None:
    for kind in ("compared", "frozen_dataclass", "frozen_slots_dataclass"):
        for name, body in NOT_BACK.items():
            m = method(body)
            make = WEAK[kind](m)
            with without_collections():
                first, second = make(1), make(1)
                result = first.m(1)
                assert second.m(1) is result and m.cache_info() == (1, 1, 128, 1), name
                del first, result
                # its results went with it
                assert m.cache_info().currsize == 0, name
                assert second.m(1) is second.m(1)
                assert m.cache_info() == (2, 2, 128, 1), name


def test_temporaries_equal_by_value() -> None:
    for make_class in (frozen_dataclass, compared, frozen_slots_dataclass):
        weak, strong = method(FRESH["list"]), method(FRESH["list"], weak_self=False)
        make = make_class(weak)
        # an assert would keep its temporaries
        results = [make(1).m(2), make(1).m(2)]
        assert results == [[1, 2], [1, 2]]
        assert weak.cache_info() == (0, 2, 128, 0)
        make = make_class(strong)
        assert make(1).m(2) is make(1).m(2)
        assert strong.cache_info() == (1, 1, 128, 1)


@each_kind
def test_weak_self_false_is_functools_way(kind: str) -> None:
    """No warning, nothing in the instance, which is held until its entries are evicted."""
    for name, body in RESULTS.items():
        m = method(body, maxsize=1, weak_self=False)
        make = ALL[kind](m)
        instance = make(1)
        before = dict(getattr(instance, "__dict__", {}))
        result = instance.m(1)
        assert instance.m(1) is result and m.cache_info() == (1, 1, 1, 1), name
        assert dict(getattr(instance, "__dict__", {})) == before, name
        assert m.cache_parameters() == {"maxsize": 1, "typed": False}
        if kind in WEAK:
            with without_collections():
                reference = weakref.ref(instance)
                del instance, result
                assert reference() is not None, name
                make(2).m(1)
                assert reference() is None, name


def test_weak_self_is_a_keyword() -> None:
    with pytest.raises(TypeError):
        OURS(3, True, False)
    with pytest.raises(TypeError):
        OURS(method, False, False)
    assert OURS(weak_self=False)(len)("ab") == OURS(3, weak_self=True)(len)("ab") == 2


# -- ways to be a method


def gone_at_once(instance_in: list[Any]) -> bool:
    """Whether the one instance in this list dies when it is taken out of it."""
    reference = weakref.ref(instance_in[0])
    instance_in.clear()
    return reference() is None


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


# -- the bound method


class Bound:
    """Its methods, bound."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bound) and self.n == other.n

    def __hash__(self) -> int:
        return hash(self.n)

    @lru_cache
    def m(self, x: int, *, y: str = "y") -> list[int]:
        """What m says."""
        return [self.n, x]

    @functools.lru_cache  # noqa: B019
    def theirs(self, x: int, *, y: str = "y") -> list[int]:
        """What theirs says."""
        return [self.n, x]

    @classmethod
    @lru_cache
    def of_class(cls, x: int) -> list[int]:
        """What of_class says."""
        return [x]


BOUND: Any = Bound
shares_a_class = pytest.mark.thread_unsafe(reason="counts the calls of a class of the module")


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    for wrapper in (Bound.m, Bound.theirs, Bound.of_class):
        wrapper.cache_clear()


@shares_a_class
def test_bound_is_called_as_a_method_is() -> None:
    instance = BOUND(1)
    bound = instance.m
    assert callable(bound)
    assert bound(2) is instance.m(2) is bound(2) is BOUND.m(instance, 2) is bound.__call__(2)
    assert bound(x=2) == [1, 2] and bound(2, y="z") == [1, 2]
    assert list(map(bound, [1, 2])) == [[1, 1], [1, 2]]
    assert functools.partial(bound, 2)() is bound(2)
    assert BOUND.m.cache_info().misses == 4
    for args, kwargs in [((), {}), ((1, 2), {}), ((1,), {"x": 1}), ((1,), {"z": 1})]:
        said = []
        for one in (instance.m, instance.theirs):
            with pytest.raises(TypeError) as caught:
                one(*args, **kwargs)
            said.append(str(caught.value).replace(".theirs", ".m"))
        assert said[0] == said[1]


@shares_a_class
def test_bound_attributes() -> None:
    instance = BOUND(1)
    bound, theirs = instance.m, instance.theirs
    assert bound.__self__ is instance and bound.__func__ is BOUND.m
    assert bound.__wrapped__ is BOUND.m.__wrapped__
    assert bound.__name__ == "m" and bound.__qualname__ == "Bound.m"
    assert bound.__doc__ == "What m says." == inspect.getdoc(bound)
    # not there since 3.14, where functools' has none either
    for name in ("__annotations__", "__annotate__", "__type_params__"):
        assert hasattr(bound, name) is hasattr(theirs, name), name
    assert typing.get_type_hints(bound) == typing.get_type_hints(theirs)
    assert inspect.signature(bound) == inspect.signature(theirs)
    assert inspect.signature(BOUND.m) == inspect.signature(BOUND.theirs)
    assert str(inspect.signature(BOUND.of_class)) == "(x: 'int') -> 'list[int]'"
    assert bound.cache_parameters() == {"maxsize": 128, "typed": False}
    bound(1)
    assert bound.cache_info() == BOUND.m.cache_info() == (0, 1, 128, 1)
    bound.cache_clear()
    assert BOUND.m.cache_info() == (0, 0, 128, 0)
    with pytest.raises(AttributeError):
        bound.nothing
    with pytest.raises(AttributeError):
        bound.tag = 1
    BOUND.m.tag = "tag"
    assert bound.tag == "tag"
    del BOUND.m.tag
    assert "m" in repr(bound)


def test_bound_equality() -> None:
    """As of methods: of the same function and the very same object."""
    one, equal = BOUND(1), BOUND(1)
    assert one == equal
    for name in ("m", "theirs", "of_class"):
        assert getattr(one, name) == getattr(one, name)
        assert hash(getattr(one, name)) == hash(getattr(one, name))
        assert (getattr(one, name) != getattr(one, name)) is False
        assert (getattr(one, name) == getattr(equal, name)) is (name == "of_class")
    assert len({one.m, one.m, equal.m}) == 2
    assert one.m not in (one.theirs, BOUND.m, 5, None)
    with pytest.raises(TypeError):
        one.m < one.m


@shares_a_class
def test_bound_discard_and_contains() -> None:
    one, other = BOUND(1), BOUND(2)
    one.m(1), one.m(x=1), one.m(1, y="z"), other.m(1)
    assert one.m.cache_contains(1) and one.m.cache_contains(x=1) and one.m.cache_contains(1, y="z")
    assert not one.m.cache_contains(2) and not one.m.cache_contains()
    assert BOUND.m.cache_contains(one, 1) and not BOUND.m.cache_contains(1)
    assert one.m.cache_discard(1) is True
    assert one.m.cache_discard(1) is False and not BOUND.m.cache_contains(one, 1)
    assert (
        one.m.cache_contains(x=1) and one.m.cache_contains(1, y="z") and other.m.cache_contains(1)
    )
    assert one.m.cache_discard(1, y="z") and one.m.cache_discard(x=1)
    assert BOUND.m.cache_discard(other, 1) is True
    assert BOUND.m.cache_info() == (0, 4, 128, 0)
    discard = one.m.cache_discard
    one.m(5)
    assert discard(5) is True


def test_bound_discard_asks_nothing_of_a_new_class() -> None:
    """Before any call was made, there is nothing to find out, to warn of, or to hold."""
    m = method(FRESH["list"])
    for make in (plain(m), slots(m)):
        instance = make(1)
        assert not instance.m.cache_contains(1) and not instance.m.cache_discard(1)
    assert m.cache_info() == (0, 0, 128, 0)


def test_bound_discard_lets_results_go_at_once() -> None:
    for kind in WEAK:
        m = method(lambda self, x: Child(self))
        with without_collections():
            instance = WEAK[kind](m)(1)
            result = weakref.ref(instance.m(1))
            assert result() is not None
            assert instance.m.cache_discard(1) is True, kind
            assert result() is None, kind
            box = [instance]
            del instance
            assert gone_at_once(box), kind


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bound_is_pickled_by_name(protocol: int) -> None:
    instance = BOUND(1)
    instance.m(1)
    for bound in (instance.m, BOUND.of_class):
        back = pickle.loads(pickle.dumps(bound, protocol))
        assert back.__func__ is bound.__func__ and back.__self__ == bound.__self__
        assert back(1) == bound(1)
    box, bound = pickle.loads(pickle.dumps((instance, instance.m), protocol))
    assert bound.__self__ is box


def test_bound_copies() -> None:
    instance = BOUND(1)
    assert copy.copy(instance.m) == instance.m
    deep = copy.deepcopy(instance.m)
    assert deep.__self__ == instance and deep.__self__ is not instance
    assert deep.__func__ is BOUND.m and deep(1) == [1, 1]


def test_bound_holds_its_instance_and_no_longer() -> None:
    with without_collections():
        instance = BOUND(1)
        bound = instance.m
        reference = weakref.ref(instance)
        bound(1)
        del instance
        assert bound(1) == [1, 1] and reference() is not None
        del bound
        assert reference() is None
    instance = BOUND(1)
    instance.callback = instance.m
    reference = weakref.ref(instance)
    del instance
    full_collection()
    assert reference() is None


def test_weak_method() -> None:
    instance = BOUND(1)
    dead: list[object] = []
    reference = weakref.WeakMethod(instance.m, dead.append)
    assert reference() == instance.m
    found: Any = reference()
    assert found(1) == [1, 1]
    del found, instance
    full_collection()
    assert reference() is None and dead == [reference]


@shares_a_class
def test_bound_in_threads() -> None:
    instance = BOUND(1)
    threads = [threading.Thread(target=instance.m, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert BOUND.m.cache_info() == (0, 4, 128, 4)


# -- instances that are copied, pickled and looked at after a call


@dataclasses.dataclass(frozen=True)
class Frozen:
    n: int

    @lru_cache
    def m(self, x: int) -> Any:
        return Child(self)

    @lru_cache
    def fresh(self, x: int) -> Any:
        return Child(None)

    @lru_cache
    def number(self, x: int) -> int:
        return self.n + x


class Ordinary:
    def __init__(self, n: int) -> None:
        self.n = n
        self.box = [n]

    @lru_cache
    def m(self, x: int) -> Any:
        return Child(self)

    @lru_cache
    def fresh(self, x: int) -> Any:
        return Child(None)

    @lru_cache
    def number(self, x: int) -> int:
        return self.n + x

    @lru_cache
    def unpicklable(self) -> Any:
        return threading.Lock(), lambda: self


class Slotted:
    __slots__ = ("__weakref__", "n")

    def __init__(self, n: int) -> None:
        self.n = n

    @lru_cache
    def m(self, x: int) -> Any:
        return Child(x)

    @lru_cache
    def number(self, x: int) -> int:
        return self.n + x


class Reduced(Ordinary):
    def __getstate__(self) -> object:
        return {"n": self.n}

    def __setstate__(self, state: Any) -> None:
        self.n = state["n"]


CLASSES: list[Any] = [Frozen, Ordinary, Slotted, Reduced]


def pickled(instance: Any) -> Any:
    return pickle.loads(pickle.dumps(instance))


def old_pickled(instance: Any) -> Any:
    return pickle.loads(pickle.dumps(instance, 2))


COPIES: list[Callable[[Any], Any]] = [copy.copy, copy.deepcopy, pickled, old_pickled]


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("kind", CLASSES)
def test_copies_of_instances(kind: Any, copied: Callable[[Any], Any]) -> None:
    """A copy works, computes its own results, and holds nothing of the original."""
    original = kind(1)
    result = original.m(1)
    assert original.number(1) == 2
    other = copied(original)
    assert type(other) is kind and other.n == 1 and other is not original
    assert original.m(1) is result
    # an equal one is entitled to the original's results
    assert (other.m(1) is result) is (other == original)
    found = other.m(2)
    assert getattr(found, "parent", other) is not original
    assert other.m(2) is found and original.m(1) is result
    assert other.number(1) == 2
    reference, held = weakref.ref(original), weakref.ref(result)
    del original, result
    full_collection()
    assert reference() is None and held() is None
    assert other.m(2) is found and other.m(1) is other.m(1)
    reference = weakref.ref(other)
    del other, found
    full_collection()
    assert reference() is None
    assert kind.m.cache_info().currsize == kind.number.cache_info().currsize == 0


@pytest.mark.parametrize("copied", COPIES)
def test_an_equal_copy_that_only_hits(copied: Callable[[Any], Any]) -> None:
    """It gets the original's results for as long as that lives, and doesn't keep it."""
    # those of other cases, which are equal, go first
    full_collection()
    original = Frozen(7)
    result = original.m(1)
    other = copied(original)
    assert other.m(1) is result is original.m(1)
    assert vars(other).get(NAME) is not vars(original)[NAME]
    # one that is equal and no copy gets nothing into its attributes
    equal = Frozen(7)
    assert equal.m(1) is result and vars(equal) == {"n": 7}
    reference, held = weakref.ref(original), weakref.ref(result)
    del original, result
    full_collection()
    assert reference() is None and held() is None and Frozen.m.cache_info().currsize == 0
    assert other.m(1).parent is other


@pytest.mark.parametrize("copied", COPIES)
@pytest.mark.parametrize("kind", CLASSES)
def test_copies_that_were_never_called(kind: Any, copied: Callable[[Any], Any]) -> None:
    """They don't keep the original. But a shallow one shares what the dict holds, results that
    refer to the original too, until it has one of its own, or is gone.
    """
    original = kind(1)
    held = weakref.ref(original.m(1))
    copies = [copied(original)]
    reference = weakref.ref(original)
    del original
    if copied is copy.copy and kind is not Reduced:
        copies.clear()
    full_collection()
    assert reference() is None and held() is None


@pytest.mark.parametrize("kind", [Ordinary, Frozen])
def test_a_shallow_copy_is_no_reason_to_keep_results(kind: Any) -> None:
    """Where they don't refer to the original, it and they are freed at once."""
    with without_collections():
        original = kind(1)
        held = [weakref.ref(original.fresh(1)), weakref.ref(original)]
        other = copy.copy(original)
        assert other.n == 1
        del original
        assert [one() for one in held] == [None, None]
        assert other.fresh(1) is other.fresh(1)


@pytest.mark.parametrize("copied", COPIES)
def test_unpicklable_results_are_no_obstacle(copied: Callable[[Any], Any]) -> None:
    original = Ordinary(1)
    result = original.unpicklable()
    other = copied(original)
    assert original.unpicklable() is result and other.unpicklable() is not result


@shares_a_class
def test_replace_of_a_dataclass() -> None:
    one = Frozen(1)
    one.m(1)
    other = dataclasses.replace(one, n=2)
    assert other.m(1).parent is other and one.m(1).parent is one
    assert dataclasses.asdict(one) == {"n": 1} and dataclasses.astuple(one) == (1,)
    assert one == Frozen(1) and hash(one) == hash(Frozen(1)) and "n=1" in repr(one)
    assert repr(one).endswith("Frozen(n=1)")


def test_vars_of_an_instance() -> None:
    one = Ordinary(1)
    before = dict(vars(one))
    assert one.number(1) == 2
    assert vars(one) == before
    one.m(1)
    assert vars(one).keys() - before.keys() == {NAME}
    assert {name: vars(one)[name] for name in before} == before
    repr(vars(one)), str(vars(one)[NAME])
    # one place for all results of an instance
    one.m(2), one.unpicklable()
    assert vars(one).keys() - before.keys() == {NAME}
    # seen by whoever asks who holds the results
    assert NAME in dir(one)
    itself = method(ITSELF["itself"])
    instance = plain(itself)(1)
    assert instance.m(1) is instance and vars(instance) == {"n": 1}


def test_instances_that_compare_by_their_attributes() -> None:
    """What is cached of them is none: once it was, they are equal, and hashed, as before."""

    class ByAttributes:
        def __init__(self, n: int) -> None:
            self.n = n

        def __eq__(self, other: object) -> bool:
            return isinstance(other, ByAttributes) and vars(self) == vars(other)

        def __hash__(self) -> int:
            return hash(frozenset(vars(self).items()))

        @lru_cache
        def m(self, x: int) -> list[int]:
            return [self.n, x]

    one, other, third = ByAttributes(1), ByAttributes(1), ByAttributes(2)
    for instance in (one, other, third):
        for x in (1, 2, 1, 2):
            assert instance.m(x) == [instance.n, x]
    assert one == other != third
    assert hash(one) == hash(other)
    assert len({one, other, third}) == 2
    references = [weakref.ref(instance) for instance in (one, other, third)]
    del one, other, third, instance
    assert [reference() for reference in references] == [None] * 3
    assert ByAttributes.m.cache_info().currsize == 0


def reachable(start: object) -> list[Any]:
    """Whatever this holds, by way of what it holds, short of classes and functions."""
    seen: dict[int, Any] = {}
    waiting = [start]
    while waiting:
        one = waiting.pop()
        if id(one) not in seen and not isinstance(one, type | FunctionType | ModuleType):
            seen[id(one)] = one
            waiting += gc.get_referents(one)
    return list(seen.values())


def test_the_results_are_as_empty_wherever_they_are_copied_to() -> None:
    one = Ordinary(1)
    result = one.m(1)
    results = vars(one)[NAME]
    assert any(held is result for held in reachable(results))
    for copied in COPIES:
        other = copied(results)
        assert type(other) is type(results) and other is not results
        assert not any(held is result or held is one for held in reachable(other))


def test_an_instance_without_its_results() -> None:
    """Whoever clears, replaces or meddles with the dict makes misses, and nothing worse."""
    for meddle in (
        lambda one: vars(one).pop(NAME),  # type: ignore[attr-defined]
        lambda one: vars(one).clear(),  # type: ignore[attr-defined]
        lambda one: setattr(one, "__dict__", {}),
        lambda one: vars(one).__setitem__(NAME, None),  # type: ignore[index]
        lambda one: vars(one).__setitem__(NAME, {}),  # type: ignore[index]
        lambda one: vars(one).__setitem__(NAME, "text"),  # type: ignore[index]
        lambda one: vars(one).__setitem__(NAME, vars(another)[NAME]),  # type: ignore[has-type, index]
    ):
        another, one = Ordinary(7), Ordinary(7)
        another.m(1), one.m(1)
        meddle(one)
        for _ in range(2):
            found = one.m(1)
            assert found.parent is one
            assert another.m(1).parent is another
        assert one.m(1) is found
        references = [weakref.ref(one), weakref.ref(another)]
        del one, another, found
        full_collection()
        assert [reference() for reference in references] == [None, None]
        assert Ordinary.m.cache_info().currsize == 0


def test_results_set_aside_outlive_nothing() -> None:
    """Whoever keeps the results of an instance that died keeps no more than that."""
    one = Ordinary(1)
    one.m(1)
    kept = vars(one)[NAME]
    vars(one).clear()
    reference = weakref.ref(one)
    del one
    Ordinary.m.cache_clear()
    full_collection()
    assert reference() is None
    repr(kept)


def test_cached_once_for_all_instances() -> None:
    """cache, on a method, has no bound but the lives of its instances."""

    class Class:
        @cache
        def m(self, x: int) -> list[int]:
            return [x]

    with without_collections():
        instances = [Class() for _ in range(100)]
        for instance in instances:
            for x in range(10):
                instance.m(x)
        assert Class.m.cache_info() == (0, 1_000, None, 1_000)
        del instances[10:], instance
        assert Class.m.cache_info().currsize == 100
        instances.clear()
        assert Class.m.cache_info().currsize == 0
