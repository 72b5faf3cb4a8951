"""Classes of all sorts, each made around a cached method, and the sorts of results it has."""

from __future__ import annotations

import abc
import dataclasses
import functools
import gc
import typing
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from leaksafe import lru_cache

# As their users write them: over whatever there is.
OURS: Any = lru_cache
THEIRS: Any = functools.lru_cache

NAME = "__leaksafe_results__"


@contextmanager
def without_collections() -> Iterator[None]:
    """What is freed in here is freed by reference counts alone."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


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


def gone_at_once(instance_in: list[Any]) -> bool:
    """Whether the one instance in this list dies when it is taken out of it."""
    reference = weakref.ref(instance_in[0])
    instance_in.clear()
    return reference() is None


shares_a_class = pytest.mark.thread_unsafe(reason="counts the calls of a class of the module")
