"""lru_cache and cache as decorators of functions: what functools' do, and what they don't offer."""

from __future__ import annotations

import copy
import decimal
import enum
import fractions
import functools
import gc
import inspect
import math
import pickle
import sys
import typing
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Boom, in_threads
from leaksafe import cache, lru_cache

# As their users write them: with whatever arguments.
OURS: Any = lru_cache
OUR_CACHE: Any = cache
THEIRS: Any = functools.lru_cache


class Text(str):
    pass


class Number(int):
    pass


class One(enum.IntEnum):
    ONE = 1


NAN = math.nan
# Many are equal and of different types; of some, only the hashes are equal.
VALUES: list[Any] = [
    0,
    False,
    0.0,
    -0.0,
    1,
    True,
    1.0,
    1 + 0j,
    decimal.Decimal(1),
    fractions.Fraction(1),
    Number(1),
    One.ONE,
    -1,
    -2,
    2**61 - 1,
    10**20,
    1e20,
    "a",
    Text("a"),
    b"a",
    "",
    None,
    NAN,
    float("nan"),
    (),
    (1,),
    (1.0,),
    (True,),
    ("a",),
    ((1,), (2,)),
    frozenset({1}),
    int,
    float,
    Ellipsis,
]
UNHASHABLE: list[Any] = [[], {}, {1}, ([],), bytearray(b"a")]

values = st.sampled_from(VALUES)
few_values = st.sampled_from([1, 1.0, True, 2, "a", (1,)])


@st.composite
def calls(draw: st.DrawFn, element: st.SearchStrategy[Any] = values) -> tuple[Any, Any]:
    args = draw(st.lists(element, max_size=3))
    # in the order in which they were drawn: it is a part of the call
    names = draw(st.lists(st.sampled_from(["x", "y", "z"]), max_size=2, unique=True))
    return tuple(args), {name: draw(element) for name in names}


sizes = st.sampled_from([None, 0, 1, 2, 3, 7, 128])


def counting() -> Callable[..., Any]:
    """A function whose results tell which run of it, with which arguments, they come from."""
    runs = 0

    def function(*args: Any, **kwargs: Any) -> Any:
        nonlocal runs
        runs += 1
        if "a" in args:
            raise Boom(runs)
        return runs, args, tuple(kwargs.items())

    return function


def told(function: Callable[..., Any], *args: Any, **kwargs: Any) -> str:
    """The result, or the error, with its types: 1, 1.0 and True are not the same."""
    try:
        return repr(function(*args, **kwargs))
    except (TypeError, Boom) as error:
        return f"{type(error).__name__}: {error}"


@given(sizes, st.booleans(), st.lists(calls() | st.just("clear"), max_size=60))
def test_any_calls(maxsize: int | None, typed: bool, steps: list[Any]) -> None:
    ours = OURS(maxsize, typed)(counting())
    theirs = THEIRS(maxsize, typed)(counting())
    for step in steps:
        if step == "clear":
            assert ours.cache_clear() is theirs.cache_clear() is None
        else:
            args, kwargs = step
            assert told(ours, *args, **kwargs) == told(theirs, *args, **kwargs)
        assert ours.cache_info() == theirs.cache_info()


@given(sizes, st.booleans(), st.lists(calls(few_values), max_size=60))
def test_calls_that_often_hit(maxsize: int | None, typed: bool, steps: list[Any]) -> None:
    ours = OURS(maxsize, typed)(counting())
    theirs = THEIRS(maxsize, typed)(counting())
    for args, kwargs in steps:
        assert told(ours, *args, **kwargs) == told(theirs, *args, **kwargs)
        assert ours.cache_info() == theirs.cache_info()


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("maxsize", [None, 0, 3, 500])
def test_each_value_after_each_other(maxsize: int | None, typed: bool) -> None:
    """Which pairs are one entry: alone, beside another argument, and by keyword."""
    ours = OURS(maxsize, typed)(lambda *args, **kwargs: (args, kwargs))
    theirs = THEIRS(maxsize, typed)(lambda *args, **kwargs: (args, kwargs))
    for first in VALUES:
        for second in VALUES:
            for function in (ours, theirs):
                function.cache_clear()
                function(first)
                function(second)
                function(first, 5)
                function(second, 5)
                function(x=first)
                function(x=second)
            assert ours.cache_info() == theirs.cache_info(), f"{first!r} and {second!r}"


WRITTEN: list[Callable[[Any], Any]] = [
    lambda f: f(),
    lambda f: f(1),
    lambda f: f(1, 2),
    lambda f: f(1, 2, 3),
    lambda f: f(1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
    lambda f: f(x=1),
    lambda f: f(1, x=1),
    lambda f: f(x=1, y=2),
    lambda f: f(y=2, x=1),
    lambda f: f(1, **{}),  # noqa: PIE804
    lambda f: f(*(1, 2)),
    lambda f: f(*[], **{"x": 1}),  # noqa: PIE804
    lambda f: f(**{Text("x"): 1}),
    lambda f: f(**{"not a name": 1}),
    lambda f: f("x", 1),
    lambda f: f(("x", 1)),
    lambda f: f(1, "x", 1),
    lambda f: f.__call__(1),
    lambda f: f.__call__(1, x=1),
    lambda f: type(f).__call__(f, 1),
    lambda f: functools.partial(f, 1)(2),
    lambda f: functools.partial(f, x=1)(),
    lambda f: list(map(f, [1, 2, 1])),
    lambda f: list(map(f, [1, 2], [3, 4])),
    lambda f: sorted([2, 1], key=lambda one: f(one)[0]),
    lambda f: functools.reduce(f, [1, 2]),
]


@pytest.mark.parametrize("typed", [False, True])
@pytest.mark.parametrize("maxsize", [None, 0, 3, 128])
def test_however_it_is_called(maxsize: int | None, typed: bool) -> None:
    def function(*args: Any, **kwargs: Any) -> Any:
        return args, tuple(kwargs.items())

    ours, theirs = OURS(maxsize, typed)(function), THEIRS(maxsize, typed)(function)
    for number, call in enumerate(WRITTEN * 2):
        assert call(ours) == call(theirs), number
        assert ours.cache_info() == theirs.cache_info(), number


@pytest.mark.parametrize("value", UNHASHABLE, ids=repr)
@pytest.mark.parametrize("maxsize", [None, 0, 3])
def test_unhashable(maxsize: int | None, value: Any) -> None:
    ours, theirs = OURS(maxsize)(lambda *a, **k: 1), THEIRS(maxsize)(lambda *a, **k: 1)
    ours(1), theirs(1)
    for args, kwargs in [
        ((value,), {}),
        ((1, value), {}),
        ((), {"x": value}),
        ((1,), {"x": value}),
    ]:
        assert told(ours, *args, **kwargs) == told(theirs, *args, **kwargs)
        assert ours.cache_info() == theirs.cache_info()
        if maxsize != 0:
            for asked in (ours.cache_discard, ours.cache_contains):
                with pytest.raises(TypeError, match="unhashable"):
                    asked(*args, **kwargs)


def test_errors_of_wrong_arguments_are_the_functions_own() -> None:
    def function(x: int) -> int:
        return x

    ours, theirs = OURS(function), THEIRS(function)
    for args, kwargs in [((), {}), ((1, 2), {}), ((), {"y": 1}), ((1,), {"x": 1})]:
        assert told(ours, *args, **kwargs) == told(theirs, *args, **kwargs)
    assert ours.cache_info() == theirs.cache_info()


def plain(x: Any) -> Any:
    """What plain says."""
    return x


class Index:
    def __index__(self) -> int:
        return 3


# Each is given lru_cache and ends with a decorated function, or an error.
MAKERS: list[Callable[[Any], Any]] = [
    lambda lru: lru(plain),
    lambda lru: lru()(plain),
    lambda lru: lru(3)(plain),
    lambda lru: lru(maxsize=3)(plain),
    lambda lru: lru(3, True)(plain),
    lambda lru: lru(maxsize=3, typed=True)(plain),
    lambda lru: lru(typed=True)(plain),
    lambda lru: lru(None)(plain),
    lambda lru: lru(None, typed=1)(plain),
    lambda lru: lru(0)(plain),
    lambda lru: lru(-1)(plain),
    lambda lru: lru(-(10**30))(plain),
    lambda lru: lru(True)(plain),
    lambda lru: lru(False)(plain),
    lambda lru: lru(Number(3))(plain),
    lambda lru: lru(plain, True),
    lambda lru: lru(plain, typed=True),
    lambda lru: lru(plain, 5),
    lambda lru: lru(maxsize=plain),
    lambda lru: lru(sys.maxsize)(plain),
    lambda lru: lru(sys.maxsize + 1)(plain),
    lambda lru: lru(10**30)(plain),
    lambda lru: lru(1.5),
    lambda lru: lru(math.inf),
    lambda lru: lru("3"),
    lambda lru: lru([]),
    lambda lru: lru(Index()),
    lambda lru: lru(3, True, True),
    lambda lru: lru(size=3),
    lambda lru: lru(3)(5),
    lambda lru: lru(3)(None),
    lambda lru: lru(3)(),
    lambda lru: lru(3)(plain, plain),
    lambda lru: lru(3)(property(plain)),
    lambda lru: lru(property(plain)),
    lambda lru: lru(3)(classmethod(plain)),
    lambda lru: lru(classmethod(plain)),
    lambda lru: lru(3)(staticmethod(plain)),
    lambda lru: lru(staticmethod(plain)),
    lambda lru: lru(functools.partial(plain, 1)),
    lambda lru: lru(len),
    lambda lru: lru(int),
    lambda lru: lru(3)(Number),
    lambda lru: lru("text".upper),
    lambda lru: lru(lru(plain)),
]


def made(make: Callable[[Any], Any], lru: Any) -> Any:
    try:
        wrapper = make(lru)
    except (TypeError, OverflowError) as error:
        return type(error)
    info, parameters = wrapper.cache_info(), wrapper.cache_parameters()
    assert type(parameters) is dict
    wrapped = wrapper.__wrapped__
    return info, parameters, getattr(wrapped, "__name__", None), wrapper.__doc__


@pytest.mark.parametrize("number", range(len(MAKERS)))
def test_argument_rules(number: int) -> None:
    assert made(MAKERS[number], OURS) == made(MAKERS[number], THEIRS)


def test_what_is_said_of_wrong_arguments() -> None:
    with pytest.raises(TypeError, match="callable, or None"):
        OURS("3")
    with pytest.raises(TypeError, match="callable"):
        OURS(3)(5)


def test_over_what_is_no_function_but_stands_in_a_class() -> None:
    """As functools: what can be called is cached, the others are refused. They go above."""

    def function(*args: object) -> int:
        return len(args)

    for over in (property, classmethod, staticmethod, functools.partialmethod):
        answers: list[object] = []
        for decorate in (OURS, THEIRS, OURS(), THEIRS()):
            try:
                answers.append(decorate(over(function))(1, 2))
            except TypeError:
                answers.append(TypeError)
        assert answers == [2 if over is staticmethod else TypeError] * 4, over


def test_a_key_is_made_for_a_miss_only() -> None:
    """A hit hashes and compares the arguments where they are, each once."""

    class Argument:
        def __hash__(self) -> int:
            asked.append("hash")
            held.append(holders(self))
            return 7

        def __eq__(self, other: object) -> bool:
            asked.append("eq")
            held.append(holders(self if other is stored else other))
            return True

    def holders(one: object) -> int:
        return sum(type(holder) is tuple for holder in gc.get_referrers(one))

    asked: list[str] = []
    held: list[int] = []
    stored = Argument()
    calls: list[Callable[[Any, Any], Any]] = [
        lambda function, x: function(x, 1),
        lambda function, x: function(1, x, 2, 3, 4, 5, 6, 7, 8, 9),
        lambda function, x: function(x=x),
        lambda function, x: function(1, 2, y=3, x=x),
    ]
    for typed in (False, True):
        for call in calls:
            function = OURS(typed=typed)(lambda *args, **kwargs: [args])
            result = call(function, stored)
            asked.clear()
            assert call(function, stored) is result and asked == ["hash"]
            asked.clear(), held.clear()
            equal = Argument()
            assert call(function, equal) is result and asked == ["hash", "eq"]
            assert held == [0, 0]


def test_cache() -> None:
    ours, theirs = OUR_CACHE(plain), functools.cache(plain)
    for number in [*range(500), *range(500)]:
        assert ours(number) == theirs(number)
    assert ours.cache_info() == theirs.cache_info() == (500, 500, None, 500)
    assert ours.cache_parameters() == theirs.cache_parameters() == {"maxsize": None, "typed": False}
    assert ours.cache_discard(7) and not ours.cache_contains(7)
    for wrong in [
        lambda: OUR_CACHE(),
        lambda: OUR_CACHE(5),
        lambda: OUR_CACHE(user_function=plain),
    ]:
        with pytest.raises(TypeError):
            wrong()  # type: ignore[no-untyped-call]


def test_cache_info_is_functools_own() -> None:
    info = OURS(plain).cache_info()
    assert type(info) is type(THEIRS(plain).cache_info())
    assert repr(info) == "CacheInfo(hits=0, misses=0, maxsize=128, currsize=0)"
    assert info._asdict() == {"hits": 0, "misses": 0, "maxsize": 128, "currsize": 0}


def test_cache_parameters_are_the_callers_to_change() -> None:
    wrapper = OURS(3)(plain)
    wrapper.cache_parameters()["maxsize"] = 5
    assert wrapper.cache_parameters() == {"maxsize": 3, "typed": False}
    assert wrapper.cache_info().maxsize == 3


def test_what_update_wrapper_does() -> None:
    def function(x: int, /, y: str = "y", *, z: bytes = b"z") -> list[int]:
        """What it says."""
        return [x]

    function.tag = "tag"  # type: ignore[attr-defined]
    ours, theirs = OURS(function), THEIRS(function)
    names = [*functools.WRAPPER_ASSIGNMENTS, "tag"]
    assert len(names) >= 6
    for name in names:
        assert getattr(ours, name) == getattr(theirs, name) == getattr(function, name), name
    assert ours.__wrapped__ is theirs.__wrapped__ is function
    assert vars(ours).keys() >= {"tag", "__wrapped__"}
    for wrapper in (ours, OURS()(function)):
        assert inspect.signature(wrapper) == inspect.signature(function)
        assert inspect.unwrap(wrapper) is function
        assert typing.get_type_hints(wrapper) == typing.get_type_hints(function)
        assert inspect.getdoc(wrapper) == "What it says."
        assert inspect.isroutine(wrapper) == inspect.isroutine(theirs)
    assert inspect.getsource(ours) == inspect.getsource(function)


def test_attributes_of_its_own() -> None:
    wrapper = OURS(plain)
    wrapper.tag = [1]
    assert wrapper.tag == [1] and "tag" not in vars(plain)
    wrapper.__doc__ = "another"
    assert wrapper.__doc__ == "another" and plain.__doc__ == "What plain says."
    del wrapper.tag
    with pytest.raises(AttributeError):
        wrapper.tag
    assert {wrapper: 1}[wrapper] == 1 and wrapper == wrapper and wrapper != OURS(plain)
    assert callable(wrapper) and isinstance(wrapper, Callable)  # type: ignore[arg-type]
    assert "plain" in repr(wrapper) or "lru_cache" in repr(wrapper)


@pytest.mark.parametrize(
    "callee",
    [
        len,
        "text".count,
        functools.partial(max, 2),
        Text,
        functools.lru_cache(plain),
        Number(3).__add__,
    ],
    ids=lambda callee: type(callee).__name__,
)
def test_over_any_callable(callee: Any) -> None:
    ours, theirs = OURS(callee), THEIRS(callee)
    for argument in ("t", "x", (1, 2), 5, "t"):
        assert told(ours, argument) == told(theirs, argument)
        assert ours.cache_info() == theirs.cache_info()


@lru_cache
def by_name(x: int) -> int:
    return x


@lru_cache(maxsize=3, typed=True)
def by_name_too(x: int) -> int:
    return x


class Outer:
    class Inner:
        @lru_cache
        def method(self, x: int) -> int:
            return x

        @staticmethod
        @lru_cache
        def static(x: int) -> int:
            return x


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickled_by_name(protocol: int) -> None:
    for wrapper in (by_name, by_name_too, Outer.Inner.method, Outer.Inner.static):
        assert pickle.loads(pickle.dumps(wrapper, protocol)) is wrapper
        assert pickle.loads(pickle.dumps([wrapper], protocol)) == [wrapper]


def test_what_has_no_name_to_pickle_it_by() -> None:
    @lru_cache
    def local(x: int) -> int:
        return x

    for wrapper in (local, OURS(functools.partial(plain, 1)), OURS(lambda: 1)):
        with pytest.raises((pickle.PicklingError, AttributeError)):
            pickle.dumps(wrapper)


def test_copies_are_itself() -> None:
    for wrapper in (by_name, OURS(lambda: 1), OURS(functools.partial(plain, 1))):
        assert copy.copy(wrapper) is wrapper
        assert copy.deepcopy(wrapper) is wrapper
        assert copy.deepcopy({"f": [wrapper]})["f"][0] is wrapper


def test_weakly_referenceable() -> None:
    # What is not nested may go at a collection, where there is no GIL.
    wrapper = OURS(lambda x: x)
    wrapper(1)
    gone: list[object] = []
    reference = weakref.ref(wrapper, gone.append)
    assert reference() is wrapper
    gc.disable()
    try:
        del wrapper
        assert reference() is None and gone == [reference]
    finally:
        gc.enable()


def test_recursion_through_itself() -> None:
    @lru_cache(maxsize=None)
    def fib(n: int) -> int:
        return n if n < 2 else fib(n - 1) + fib(n - 2)

    assert fib(80) == 23416728348467685
    assert fib.cache_info() == (78, 81, None, 81)

    @lru_cache(maxsize=3)
    def steps(n: int) -> int:
        return 0 if n == 0 else steps(n - 1) + 1

    assert steps(100) == 100
    assert steps.cache_info() == (0, 101, 3, 3)


def test_one_function_decorated_twice_has_two_caches() -> None:
    one, two = OURS(plain), OURS(plain)
    one(1), one(1)
    assert one.cache_info()[:2] == (1, 1) and two.cache_info()[:2] == (0, 0)
    over = OURS(one)
    over(1), over(1)
    assert over.cache_info()[:2] == (1, 1) and one.cache_info()[:2] == (2, 1)


def test_threads_share_one_cache() -> None:
    function = OURS(64)(lambda x: [x])

    def ask() -> bool:
        return all(function(number % 50) == [number % 50] for number in range(2_000))

    assert in_threads(ask, ask, ask, ask) == [True] * 4
    info = function.cache_info()
    assert info.hits + info.misses == 8_000 and info.currsize == 50


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    by_name.cache_clear()
    by_name_too.cache_clear()
