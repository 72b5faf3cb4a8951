# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of lru_cache and cache. Not run: mypy and pyright read it.

Every `type: ignore` here is an error that both have to report.
"""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from typing import Any, Generic, Protocol, TypeVar, assert_type, overload

from leaksafe import LeakWarning, cache, lru_cache

T = TypeVar("T")
Number = TypeVar("Number", int, float)


class Repeats(Protocol):
    """What callers of the first functions below may rely on: names, kinds, defaults."""

    def __call__(self, text: str, /, times: int = 1, *, end: str = "") -> str: ...


# In each way of decorating


@lru_cache
def bare(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@lru_cache()
def called(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@lru_cache(10)
def sized(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@lru_cache(maxsize=None, typed=True, weak_self=False)
def named(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@cache
def unbounded(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


def plain(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


memoize = lru_cache(maxsize=10)
repeats: list[Repeats] = [
    *(bare, called, sized, named, unbounded),
    *(lru_cache(plain), lru_cache(plain, True), lru_cache(plain, weak_self=False), cache(plain)),
    *(lru_cache(10)(plain), lru_cache()(plain), memoize(plain)),
]


def calls() -> None:
    assert_type(bare("a"), str)
    assert_type(called("a", 2), str)
    assert_type(sized("a", times=2), str)
    assert_type(named(text="a", end="!"), str)
    assert_type(unbounded("a", 2, end="!"), str)
    assert_type(memoize(plain)("a"), str)
    assert_type(memoize(len)([]), int)
    as_callable: Callable[[str, int], str] = bare
    assert_type(list(map(bare, ["a"])), list[str])
    assert_type(functools.partial(bare, end="!")("a"), str)
    assert_type(as_callable("a", 2), str)


def refused() -> None:
    bare()  # type: ignore[call-arg]
    bare(1)  # type: ignore[arg-type]
    bare("a", "b")  # type: ignore[arg-type]
    bare("a", 1, "!")  # type: ignore[call-arg]
    bare("a", start="!")  # type: ignore[call-arg]
    called(1)  # type: ignore[arg-type]
    sized(1)  # type: ignore[arg-type]
    named(1)  # type: ignore[arg-type]
    unbounded(1)  # type: ignore[arg-type]
    memoize(plain)(1)  # type: ignore[arg-type]
    too_few: Callable[[], str] = bare  # type: ignore[assignment]
    returns_int: Callable[[str], int] = bare  # type: ignore[assignment]
    too_few()
    returns_int("a")
    lru_cache("10")  # type: ignore[call-overload]
    lru_cache(1.5)  # type: ignore[call-overload]
    lru_cache(10, False, False)  # type: ignore[call-overload]
    lru_cache(10, size=3)  # type: ignore[call-overload]
    cache(10)  # type: ignore[arg-type]
    cache()  # type: ignore[call-arg]


# What the decorated function has


def attributes() -> None:
    info = bare.cache_info()
    assert_type(info.hits, int)
    assert_type(info.misses, int)
    assert_type(info.maxsize, int | None)
    assert_type(info.currsize, int)
    assert_type(bare.cache_parameters()["maxsize"], int | None)
    assert_type(bare.cache_parameters()["typed"], bool)
    assert_type(bare.cache_clear(), None)
    assert_type(bare.cache_discard("a", 2, end="!"), bool)
    assert_type(bare.cache_contains("a", times=2), bool)
    assert_type(bare.__wrapped__("a"), str)
    assert_type(bare.__name__, str)
    assert_type(bare.__qualname__, str)
    assert_type(bare.__module__, str)
    assert_type(bare.__doc__, str | None)
    bare.cache_discard(1)  # type: ignore[arg-type]
    bare.cache_discard()  # type: ignore[call-arg]
    bare.cache_contains("a", start="!")  # type: ignore[call-arg]
    bare.cache_info("a")  # type: ignore[call-arg]
    bare.cache_info().size  # type: ignore[attr-defined]
    bare.cache_parameters()["weak_self"]  # type: ignore[typeddict-item]
    bare.__wrapped__(1)  # type: ignore[arg-type]


# Methods: `self` is given by the instance


class Page:
    @lru_cache
    def word(self, number: int, *, strip: bool = False) -> str:
        return ""

    @lru_cache(maxsize=10)
    def line(self, number: int, *, strip: bool = False) -> str:
        return ""

    @cache
    def first(self) -> str:
        # The types that a method sees of its own class
        assert_type(self.word(1), str)
        assert_type(self.line(number=1), str)
        assert_type(self.kind("a"), bytes)
        assert_type(self.title, str)
        return self.word(0)

    @classmethod
    @lru_cache
    def kind(cls, name: str) -> bytes:
        return b""

    @staticmethod
    @lru_cache
    def parse(text: str, base: int = 10) -> float:
        return 0.0

    @property
    @lru_cache
    def title(self) -> str:
        return ""

    @overload
    def get(self, key: int) -> int: ...
    @overload
    def get(self, key: str) -> str: ...
    @lru_cache
    def get(self, key: int | str) -> int | str:
        return key

    every_word = functools.partialmethod(word, 1)


def methods(page: Page) -> None:
    assert_type(page.word(1), str)
    assert_type(page.word(number=1, strip=True), str)
    assert_type(page.line(1), str)
    assert_type(page.first(), str)
    assert_type(list(map(page.word, [1])), list[str])
    as_callable: Callable[[int], str] = page.word
    assert_type(as_callable(1), str)
    assert_type(Page.word(page, 1, strip=True), str)
    assert_type(Page().word(1), str)
    page.word()  # type: ignore[call-arg]
    page.word("1")  # type: ignore[arg-type]
    page.word(page, 1)  # type: ignore[call-arg, arg-type]
    page.word(1, True)  # type: ignore[call-arg]
    page.line("1")  # type: ignore[arg-type]
    page.first(1)  # type: ignore[call-arg]
    Page.word(1)  # type: ignore[call-arg, arg-type]


def attributes_of_methods(page: Page) -> None:
    assert_type(page.word.cache_discard(1, strip=True), bool)
    assert_type(page.word.cache_contains(number=1), bool)
    assert_type(Page.word.cache_discard(page, 1), bool)
    assert_type(page.word.cache_info().hits, int)
    assert_type(Page.word.cache_info().hits, int)
    assert_type(page.word.cache_parameters()["maxsize"], int | None)
    assert_type(page.word.cache_clear(), None)
    assert_type(page.word.__wrapped__(page, 1), str)
    assert_type(page.word.__func__(page, 1), str)
    assert_type(page.word.__self__, object)
    assert_type(page.word.__name__, str)
    assert_type(page.word == page.word, bool)
    assert_type({page.word: 1}[page.word], int)
    page.word.cache_discard("1")  # type: ignore[arg-type]
    page.word.cache_discard(page, 1)  # type: ignore[call-arg, arg-type]
    page.word.cache_contains()  # type: ignore[call-arg]
    Page.word.cache_discard(1)  # type: ignore[call-arg, arg-type]


def class_methods(page: Page) -> None:
    assert_type(Page.kind("a"), bytes)
    assert_type(page.kind(name="a"), bytes)
    assert_type(Page.kind.cache_discard("a"), bool)
    assert_type(page.kind.cache_contains("a"), bool)
    assert_type(Page.kind.cache_info().hits, int)
    Page.kind()  # type: ignore[call-arg]
    Page.kind(1)  # type: ignore[arg-type]
    page.kind(1)  # type: ignore[arg-type]
    Page.kind(Page, "a")  # type: ignore[call-arg, arg-type]
    Page.kind.cache_discard(1)  # type: ignore[arg-type]


def static_methods(page: Page) -> None:
    assert_type(Page.parse("1"), float)
    assert_type(page.parse("1", base=2), float)
    assert_type(Page.parse.cache_discard("1"), bool)
    assert_type(page.parse.cache_contains("1", 2), bool)
    Page.parse()  # type: ignore[call-arg]
    Page.parse(1)  # type: ignore[arg-type]
    page.parse(1)  # type: ignore[arg-type]


def properties(page: Page) -> None:
    assert_type(page.title, str)
    page.title()  # type: ignore[operator]


def partial_methods(page: Page) -> None:
    assert_type(page.every_word(), str)


class Shelf(Page):
    # pyright takes a decorated method for an attribute, and `self` for a part of its type
    @lru_cache
    def word(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, number: int, *, strip: bool = False
    ) -> str:
        assert_type(super().word(number), str)
        assert_type(super().kind("a"), bytes)
        return super().word(number, strip=strip)


def inherited(shelf: Shelf) -> None:
    assert_type(shelf.word(1), str)
    assert_type(shelf.line(1), str)
    assert_type(Shelf.kind("a"), bytes)
    assert_type(shelf.parse("1"), float)
    assert_type(shelf.title, str)
    assert_type(Page.word(shelf, 1), str)
    shelf.line("1")  # type: ignore[arg-type]
    shelf.word("1")  # type: ignore[arg-type]


class Abstract(ABC):
    @abstractmethod
    @lru_cache
    def load(self, name: str) -> bytes: ...


class Concrete(Abstract):
    @lru_cache
    def load(  # pyright: ignore[reportIncompatibleVariableOverride]
        self, name: str
    ) -> bytes:
        return b""


def abstract(source: Abstract, concrete: Concrete) -> None:
    assert_type(source.load("a"), bytes)
    assert_type(concrete.load("a"), bytes)
    source.load(1)  # type: ignore[arg-type]
    Abstract()  # type: ignore[abstract]


# Overloads


@overload
def twice(value: int) -> int: ...
@overload
def twice(value: str) -> str: ...
@lru_cache(maxsize=10)
def twice(value: int | str) -> int | str:
    return value * 2


def overloads(page: Page) -> None:
    assert_type(twice(1), int)
    assert_type(twice("a"), str)
    assert_type(page.get(1), int)
    assert_type(page.get("a"), str)
    assert_type(Page.get(page, "a"), str)
    twice(b"a")  # type: ignore[call-overload]
    page.get(b"a")  # type: ignore[call-overload]


# Generics


@lru_cache
def pair(first: T, second: T) -> tuple[T, T]:
    return first, second


@lru_cache(maxsize=None)
def only(values: Iterable[T], default: T) -> T:
    return default


@cache
def double(number: Number) -> Number:
    return number * 2


@lru_cache
def anything(*values: Any, **more: Any) -> list[Any]:
    return []


class Box(Generic[T]):
    def __init__(self, value: T) -> None:
        self.value = value

    @lru_cache
    def get(self, other: T) -> T:
        assert_type(self.pair(self.value), tuple[T, T])
        return self.value

    @lru_cache(10)
    def pair(self, other: T) -> tuple[T, T]:
        return self.value, other


def generics(box: Box[str]) -> None:
    assert_type(pair(1, 2), tuple[int, int])
    assert_type(pair("a", "b"), tuple[str, str])
    assert_type(only([1], default=2), int)
    assert_type(double(1), int)
    assert_type(double(1.5), float)
    assert_type(anything(1, "a", b=3), list[Any])
    assert_type(box.get("a"), str)
    assert_type(box.pair("a"), tuple[str, str])
    assert_type(Box(1).get(2), int)
    assert_type(box.pair.cache_discard("a"), bool)
    double("a")  # type: ignore[type-var]
    box.get(1)  # type: ignore[arg-type]
    box.pair.cache_discard(1)  # type: ignore[arg-type]


# The warning


def warned() -> None:
    warning: UserWarning = LeakWarning("held")
    assert_type(warning.args, tuple[Any, ...])
