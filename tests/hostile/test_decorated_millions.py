"""A million of each operation on cached functions, panics, and collections at every allocation."""

from __future__ import annotations

import gc
from collections.abc import Callable
from itertools import count
from typing import Any

from decorated import OURS, Boom, Failing, Key

from growth import FEWER, MILLION, leaves_nothing
from isolated import each, isolated, run_source
from leaksafe import lru_cache

VALUE = [1]
OTHER = [2]
KEY = Key(5)
LONG = "an argument of its own"
WATCHED: list[Any] = [VALUE, OTHER, KEY, LONG]


@lru_cache(maxsize=8)
def given(*args: Any, **kwargs: Any) -> list[int]:
    return VALUE


@lru_cache(maxsize=8, typed=True)
def given_typed(*args: Any, **kwargs: Any) -> list[int]:
    return VALUE


@lru_cache(maxsize=None)
def unbounded(*args: Any) -> list[int]:
    return VALUE


@lru_cache(maxsize=0)
def never(*args: Any) -> list[int]:
    return VALUE


@lru_cache
def fails(*args: Any, **kwargs: Any) -> None:
    raise Boom


@lru_cache
def deep(n: int) -> int:
    return 0 if n == 0 else deep(n - 1)


class Owner:
    @lru_cache(maxsize=8)
    def number(self, x: Any = 0) -> int:
        return 5

    @lru_cache(maxsize=8)
    def fresh(self, x: Any = 0, **kwargs: Any) -> list[int]:
        return VALUE

    @lru_cache(maxsize=8)
    def itself(self) -> Any:
        return self

    @lru_cache(maxsize=8)
    def fails(self) -> Any:
        raise Boom

    @classmethod
    @lru_cache
    def of_class(cls) -> list[int]:
        return VALUE

    @property
    @lru_cache
    def attribute(self) -> list[int]:
        return VALUE


class SlottedOwner:
    __slots__ = ("__weakref__",)

    @lru_cache(maxsize=8)
    def fresh(self, x: Any = 0) -> list[int]:
        return VALUE


OWNER = Owner()
WATCHED += [OWNER, given.__wrapped__, fails.__wrapped__]
numbers = count(10**6)


def quietly(operation: Callable[[], object], kind: type[BaseException]) -> None:
    try:
        operation()
    except kind:
        return
    raise AssertionError("it didn't fail")


def failing(use: Any, where: str) -> None:
    use(Failing(1))
    Failing.failing = where
    quietly(lambda: use(Failing(1)), Boom)
    Failing.failing = ""


def once() -> None:
    """A function of its own, with entries, an attribute, a bound method and a cycle."""
    function = OURS(lambda x: VALUE)
    function(LONG), function(x=KEY)
    function.me = function

    class Class:
        m = function

    assert Class().m() is VALUE


OPERATIONS: dict[str, tuple[Callable[[], object], int]] = {
    "hit without arguments": (lambda: given(), FEWER),
    "hit": (lambda: given(LONG), MILLION),
    "hit with two": (lambda: given(LONG, 1), FEWER),
    "hit by keyword": (lambda: given(LONG, y=1), FEWER),
    "hit typed": (lambda: given_typed(LONG, y=1), FEWER),
    "hit with python key": (lambda: given(KEY), FEWER),
    "hit by unpacking": (lambda: given(*(1, 2), **{"x": LONG}), FEWER),  # noqa: PIE804
    "hit of a method": (lambda: OWNER.fresh(LONG), FEWER),
    "hit of a bound method": (lambda: (OWNER.fresh)(LONG, y=1), FEWER),
    "hit of a number": (lambda: OWNER.number(), FEWER),
    "hit of itself": (lambda: OWNER.itself(), FEWER),
    "hit of the class": (lambda: (Owner.of_class(), OWNER.of_class()), FEWER),
    "hit of a property": (lambda: OWNER.attribute, FEWER),
    "miss": (lambda: given(next(numbers)), MILLION),
    "miss with two": (lambda: given(LONG, next(numbers)), FEWER),
    "miss by keyword": (lambda: given(LONG, y=next(numbers)), FEWER),
    "miss typed": (lambda: given_typed(next(numbers), y=KEY), FEWER),
    "miss of a method": (lambda: OWNER.fresh(next(numbers)), FEWER),
    "miss of a number": (lambda: OWNER.number(next(numbers)), FEWER),
    "never kept": (lambda: never(LONG), FEWER),
    "a new instance": (lambda: Owner().fresh(LONG), FEWER),
    "a new instance's number": (lambda: Owner().number(LONG), FEWER),
    "a new instance itself": (lambda: Owner().itself(), FEWER),
    "a new slotted instance": (lambda: SlottedOwner().fresh(LONG), FEWER),
    "error": (lambda: quietly(lambda: fails(LONG, KEY), Boom), MILLION),
    "error by keyword": (lambda: quietly(lambda: fails(y=LONG), Boom), FEWER),
    "error of a method": (lambda: quietly(OWNER.fails, Boom), FEWER),
    "unhashable": (lambda: quietly(lambda: given(LONG, []), TypeError), FEWER),
    "hash error": (lambda: failing(given, "hash"), FEWER),
    "eq error": (lambda: failing(given, "eq"), FEWER),
    "discard": (lambda: (unbounded(LONG, KEY), unbounded.cache_discard(LONG, KEY)), FEWER),
    "discard nothing": (lambda: unbounded.cache_discard(LONG, OTHER[0]), FEWER),
    "discard of a method": (lambda: (OWNER.fresh(3), OWNER.fresh.cache_discard(3)), FEWER),
    "contains": (lambda: (given.cache_contains(LONG), OWNER.fresh.cache_contains(2)), FEWER),
    "clear": (lambda: (unbounded(LONG), unbounded(KEY), unbounded.cache_clear()), FEWER),
    "inspection": (lambda: (given.cache_info(), given.cache_parameters()), FEWER),
    "bound": (lambda: (OWNER.fresh.__name__, hash(OWNER.fresh), OWNER.fresh == 1), FEWER),  # type: ignore[comparison-overlap]
    "recursion error": (lambda: quietly(lambda: deep(10**6), RecursionError), 200),
    "decorating": (once, 5_000),
}


@each("operation", OPERATIONS)
@isolated(malloc="default", limit=60)
def test_a_million_of(operation: str) -> None:
    one, rounds = OPERATIONS[operation]
    leaves_nothing(one, rounds, WATCHED, 100, 8)


def test_a_panic_becomes_an_exception() -> None:
    """Of a slot that PyO3 doesn't guard: the process goes on, and so does the function."""
    result = run_source(
        "from leaksafe import _core, lru_cache\n"
        "@lru_cache\n"
        "def double(n): return 2 * n\n"
        "double(1)\n"
        "_core._panic_once()\n"
        "try:\n"
        "    double(2)\n"
        "except RuntimeError as error:\n"
        "    print(error)\n"
        "print(double(1), double(2), double.cache_info()[:2])\n"
    )
    assert result.code == 0, result.report("panic")
    said, after = result.stdout.splitlines()
    assert "defect" in said and "as a test asked" in said
    assert after == "2 4 (1, 2)"


def test_a_panic_in_what_others_wait_for_lets_them_go_on() -> None:
    """PyO3 resumes a panic where it meets one that has become an exception."""
    result = run_source(
        "import threading\n"
        "from leaksafe import LRUCache, Registry, cached, singleton\n"
        "try:\n"
        "    LRUCache(1).get_or_create(1, lambda: 1 // 0)\n"
        "except ZeroDivisionError:\n"
        "    pass\n"
        "subclasses = BaseException.__subclasses__()\n"
        "(Panic,) = (one for one in subclasses if one.__name__ == 'PanicException')\n"
        "first = True\n"
        "def make(*_):\n"
        "    if first:\n"
        "        raise Panic('as a test asked')\n"
        "    return 1\n"
        "@singleton\n"
        "class Single:\n"
        "    def __init__(self):\n"
        "        make()\n"
        "plain, by_key = cached(make), cached(key=lambda x: x)(make)\n"
        "cache, registry = LRUCache(2), Registry(2)\n"
        "calls = [\n"
        "    lambda: cache.get_or_create('a', make),\n"
        "    lambda: registry.get_or_create('a', make),\n"
        "    lambda: isinstance(Single(), Single),\n"
        "    lambda: plain(1),\n"
        "    lambda: by_key(1),\n"
        "]\n"
        "for call in calls:\n"
        "    try:\n"
        "        call()\n"
        "    except BaseException as error:\n"
        "        print('as a test asked' in str(error))\n"
        "first = False\n"
        "for call in calls:\n"
        "    thread = threading.Thread(target=lambda: print(int(call())), daemon=True)\n"
        "    thread.start()\n"
        "    thread.join(10)\n"
    )
    assert result.code == 0, result.report("panic")
    assert result.stdout.split() == ["True"] * 5 + ["1"] * 5


@isolated()
def test_collections_at_every_allocation() -> None:
    """A collection may find an object that is only half made."""
    gc.set_threshold(1)
    kept: list[object] = []
    for number in range(100):
        # so that the collections fall on other allocations than in the round before
        kept.extend([] for _ in range(number % 7))
        gc.collect()

        class Owner:
            @OURS(8)  # type: ignore[untyped-decorator]
            def plain(self, x: int) -> int:
                return x

            @OURS(8)  # type: ignore[untyped-decorator]
            def itself(self, x: int) -> Any:
                return [self, x]

        owner = Owner()
        assert owner.plain(number) == number
        assert owner.itself(number) == [owner, number]
        bound = owner.plain
        assert bound(number) == number
