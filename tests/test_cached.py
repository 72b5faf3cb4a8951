"""cached: what it decorates, which calls are one, what the wrapper offers, what it refuses."""

from __future__ import annotations

import functools
import gc
import inspect
import math
import weakref
from collections import OrderedDict
from collections.abc import Callable, MutableMapping
from typing import Any

import cachetools
import pytest

from leaksafe import LRUCache, TTLCache, WeakCache, cached, lru_cache


def counted(**options: Any) -> tuple[Any, list[Any]]:
    """A cached function of `x, y=2, *, z=3`, and the calls that ran it."""
    calls: list[Any] = []

    @cached(**options)
    def f(x: Any, y: Any = 2, *, z: Any = 3) -> Any:
        calls.append((x, y, z))
        return [x, y, z]

    return f, calls


# Both ways of keeping results: by the function itself, and in a mapping.
WAYS: list[dict[str, Any]] = [
    {},
    {"ttl": 600},
    {"max_bytes": "1 MiB"},
    {"cache_if": lambda _: True},
]
both = pytest.mark.parametrize("options", WAYS, ids=lambda options: "+".join(options) or "plain")


@both
def test_the_same_call_runs_once(options: dict[str, Any]) -> None:
    f, calls = counted(**options)
    assert f(1) is f(1)
    assert f(2) is not f(1)
    assert calls == [(1, 2, 3), (2, 2, 3)]
    assert (f.cache_info().hits, f.cache_info().misses, f.cache_info().currsize) == (2, 2, 2)


@both
def test_calls_that_mean_the_same_are_one(options: dict[str, Any]) -> None:
    f, calls = counted(**options)
    one = f(5)
    for other in (f(x=5), f(5, 2), f(5, y=2), f(y=2, x=5), f(5, z=3), f(z=3, x=5, y=2)):
        assert other is one
    assert calls == [(5, 2, 3)]
    assert f(5, z=4) == [5, 2, 4]
    assert f(z=5, y=1, x=0) == [0, 1, 5]


@both
def test_without_normalize_they_are_as_in_functools(options: dict[str, Any]) -> None:
    f, calls = counted(normalize=False, **options)
    f(5), f(x=5), f(5, 2)
    assert len(calls) == 3


def test_more_positional_arguments_and_keywords_are_told_apart() -> None:
    @cached
    def f(x: int, *rest: int, flag: bool = False, **more: int) -> Any:
        return x, rest, flag, more

    assert f(1, 2, 3, a=4) == (1, (2, 3), False, {"a": 4})
    assert f(1, 2, 3, a=4, flag=False) is f(1, 2, 3, a=4)
    assert f(x=1) is f(1)
    assert f(1, 2) == (1, (2,), False, {})
    assert f(1, flag=True) == (1, (), True, {})
    assert f(1, x2=3, flag=True) == (1, (), True, {"x2": 3})


def test_positional_only_names_may_come_again_as_keywords() -> None:
    @cached
    def f(x: int, /, **more: int) -> Any:
        return x, more

    assert f(1, x=2) == (1, {"x": 2})
    assert f(1) == (1, {})


@pytest.mark.parametrize(
    "wrong", [lambda f: f(), lambda f: f(1, 2, 3), lambda f: f(1, x=1), lambda f: f(1, q=1)]
)
def test_a_wrong_call_raises_what_the_function_raises(wrong: Callable[[Any], Any]) -> None:
    f, calls = counted()
    with pytest.raises(TypeError, match=r"f\(\)"):
        wrong(f)
    assert not calls
    assert f.cache_info().currsize == 0


@both
def test_typed_tells_types_apart(options: dict[str, Any]) -> None:
    f, calls = counted(typed=True, **options)
    f(1), f(1.0), f(1)
    assert len(calls) == 2
    g, calls = counted(**options)
    g((1,)), g((1.0,))
    assert len(calls) == 1


def test_bounded_by_default() -> None:
    @cached
    def f(x: int) -> int:
        return x

    for number in range(1_000):
        f(number)
    assert f.cache_info() == (0, 1_000, 128, 128)
    assert cached(maxsize=None)(lambda x: x).cache_parameters()["maxsize"] is None


# The wrapper


@both
def test_what_the_wrapper_offers(options: dict[str, Any]) -> None:
    f, calls = counted(**options)
    one = f(1)
    assert f.cache_contains(x=1)
    assert f.cache_peek(1, 2) is one
    assert f.cache_peek(9) is None
    assert not f.cache_contains(9)
    assert f.cache_info().hits == 0
    assert f.cache[f.cache_key(1)] is one
    assert list(f.cache) == [f.cache_key(1)]
    f.cache_put("put", 1)
    assert f(1) == "put"
    f.cache_put("another", 7)
    assert f(7) == "another"
    assert f.cache_discard(x=7)
    assert not f.cache_discard(7)
    assert f(7) == [7, 2, 3]
    f.cache_clear()
    assert f.cache_info().currsize == 0
    assert f(1) == [1, 2, 3]
    assert len(calls) == 3
    assert f.cache_parameters()["single_flight"] is True
    assert f.__wrapped__(1) == [1, 2, 3]
    assert f.__name__ == "f"
    assert str(inspect.signature(f)).startswith("(x")


def test_the_view_of_a_functions_own_results() -> None:
    f, _ = counted()
    f(1), f(2)
    assert len(f.cache) == 2
    assert list(f.cache.values()) == [[1, 2, 3], [2, 2, 3]]
    with pytest.raises(KeyError):
        f.cache["absent"]


@both
def test_methods(options: dict[str, Any]) -> None:
    class Text:
        def __init__(self, text: str) -> None:
            self.text = text

        @cached(**options)
        def count(self, word: str, start: int = 0) -> list[int]:
            return [self.text.count(word, start)]

        @classmethod
        @cached(**options)
        def named(cls, name: str) -> list[Any]:
            return [cls, name]

        @staticmethod
        @cached(**options)
        def double(number: int) -> list[int]:
            return [2 * number]

    class Longer(Text):
        pass

    one, other = Text("to be or not to be"), Text("be")
    assert one.count("be") == [2]
    assert one.count("be") is one.count(word="be", start=0)
    assert other.count("be") == [1]
    assert one.count.cache_contains("be")
    assert not one.count.cache_contains("or")
    assert one.count.cache_peek("be") == [2]
    one.count.cache_put([99], "or")
    assert one.count("or") == [99]
    assert one.count.cache_discard("be")
    assert other.count.cache_contains("be")
    assert Text.count.cache[one.count.cache_key("or")] is not None
    assert Text.named("a") is Text.named("a")
    assert Longer.named("a") == [Longer, "a"]
    assert Text.named("a") == [Text, "a"]
    assert Text.double(2) is one.double(2)
    assert one.count.cache_info().currsize == 2
    one.count.cache_clear()
    assert Text.count.cache_info().currsize == 0


@pytest.mark.parametrize(
    "options", [*WAYS, {"key": str}, {"cache": {}}, {"cache": OrderedDict()}], ids=str
)
def test_a_method_does_not_keep_its_instance(options: dict[str, Any]) -> None:
    class Owner:
        @cached(**options)
        def me_too(self, x: int) -> Any:
            return [self, x]

        @cached(**options)
        def number(self, x: int) -> int:
            return x

    owner = Owner()
    owner.me_too(1), owner.number(1)
    assert owner.me_too(1) is owner.me_too(1)
    assert Owner.number(owner, 1) == 1
    gone = weakref.ref(owner)
    del owner
    gc.collect()
    assert gone() is None
    assert Owner.me_too.cache_info().currsize == 0
    assert Owner.number.cache_info().currsize == 0


def test_a_method_forgets_what_has_left_the_mapping() -> None:
    class Owner:
        @cached(LRUCache(4))
        def number(self, x: int) -> int:
            return x

    owner = Owner()
    for number in range(1_000):
        owner.number(number)
    (keeper,) = (k for k in gc.get_referrers(Owner.number.cache) if type(k).__name__ == "Keeper")
    assert sum(len(one.keys) for one in vars(keeper)["_owners"].values()) < 100


# Mappings of one's own

MAPPINGS: list[Callable[[], Any]] = [
    dict,
    OrderedDict,
    lambda: LRUCache(100),
    lambda: TTLCache(100, 600),
    lambda: WeakCache(100),
    lambda: cachetools.LRUCache(100),
]


@pytest.mark.parametrize("make", MAPPINGS)
def test_functions_that_share_a_cache_never_get_each_others_results(
    make: Callable[[], MutableMapping[Any, Any]],
) -> None:
    cache = make()

    @cached(cache)
    def one(x: int) -> tuple[str, int]:
        return "one", x

    @cached(cache=cache)
    def other(x: int) -> tuple[str, int]:
        return "other", x

    cache["mine"] = "untouched"
    assert (one(1), other(1)) == (("one", 1), ("other", 1))
    assert one(1) is one(1)
    assert one.cache is cache
    assert len(cache) == 3
    assert (one.cache_info().currsize, other.cache_info().currsize) == (1, 1)
    one.cache_clear()
    assert not one.cache_contains(1)
    assert other.cache_contains(1)
    assert cache["mine"] == "untouched"


def test_a_result_too_heavy_for_the_cache_is_handed_out() -> None:
    @cached(max_bytes=2_000)
    def f(size: int) -> bytes:
        return bytes(size)

    assert len(f(100_000)) == 100_000
    assert not f.cache_contains(100_000)
    f(10)
    assert f.cache_contains(10)


def test_results_weigh_what_getsizeof_says() -> None:
    @cached(maxsize=10, getsizeof=len)
    def f(text: str) -> str:
        return text

    f("aaaa"), f("bbbb"), f("cccc")
    assert not f.cache_contains("aaaa")
    assert isinstance(f.cache, LRUCache)
    assert f.cache.currsize == 8


def test_on_remove_is_told_the_key_and_the_result() -> None:
    seen: list[Any] = []

    @cached(maxsize=1, key=lambda x: x * 10, on_remove=lambda *gone: seen.append(gone))
    def f(x: int) -> list[int]:
        return [x]

    f(1), f(2)
    assert seen == [(10, [1], "size")]
    f.cache_discard(2)
    assert seen[1:] == [(20, [2], "explicit")]


# key, cache_if, copy


def test_key_gets_the_arguments_without_the_instance() -> None:
    seen: list[Any] = []

    def key(*args: Any, **kwargs: Any) -> Any:
        seen.append((args, kwargs))
        return args[0]["id"]

    class Client:
        @cached(key=key)
        def fetch(self, request: dict[str, Any], timeout: int = 1) -> Any:
            return [request["id"]]

        @classmethod
        @cached(key=key)
        def get(cls, request: dict[str, Any]) -> Any:
            return [cls, request["id"]]

    client = Client()
    assert client.fetch({"id": 1}) is client.fetch({"id": 1, "more": 2}, timeout=5)
    assert seen == [(({"id": 1},), {}), (({"id": 1, "more": 2},), {"timeout": 5})]
    assert Client().fetch({"id": 1}) is not client.fetch({"id": 1})
    assert Client.get({"id": 2}) is Client.get({"id": 2})


def test_cache_if_decides_what_is_kept() -> None:
    calls = []

    @cached(cache_if=lambda result: result is not None)
    def f(x: int) -> int | None:
        calls.append(x)
        return x or None

    assert [f(0), f(0), f(1), f(1)] == [None, None, 1, 1]
    assert calls == [0, 0, 1]


def test_each_caller_gets_a_copy_of_its_own() -> None:
    @cached(copy=True)
    def deep() -> list[list[int]]:
        return [[1]]

    @cached(copy=list)
    def shallow() -> list[int]:
        return [1]

    deep()[0].append(2)
    assert deep() == [[1]]
    deep()[0].append(2)
    assert deep() == deep.cache_peek() == [[1]]
    shallow().append(2)
    assert shallow() == [1]


# What is refused


def test_unhashable_arguments_are_named() -> None:
    f, _ = counted()
    with pytest.raises(TypeError, match=r"'y' of .*f\(\) can't be hashed.*list.*key=") as caught:
        f(1, [2])
    assert caught.value.__cause__ is not None
    g, _ = counted(cache_if=bool)
    with pytest.raises(TypeError, match=r"'z' of .*f\(\) can't be hashed.*dict.*key="):
        g(1, z={})

    @cached
    def h(*numbers: Any, **named: Any) -> None: ...

    with pytest.raises(TypeError, match=r"numbers\[1\]"):
        h(1, [])
    with pytest.raises(TypeError, match="'word'"):
        h(1, word=[])


def test_an_error_of_the_function_itself_stays_as_it_is() -> None:
    error = TypeError("unhashable type: 'mine'")

    @cached
    def f(x: int) -> None:
        raise error

    with pytest.raises(TypeError) as caught:
        f(1)
    assert caught.value is error


def generator() -> Any:
    yield 1


async def agenerator() -> Any:
    yield 1


@pytest.mark.parametrize(
    ("function", "words"),
    [
        (generator, "generator.*list or a tuple"),
        (agenerator, "generator"),
        (classmethod(str), "below @classmethod"),
        (staticmethod(len), "below @staticmethod"),
        (property(len), "below @property"),
    ],
)
def test_what_cannot_be_cached_is_refused(function: Any, words: str) -> None:
    with pytest.raises(TypeError, match=words):
        cached()(function)


@pytest.mark.parametrize(
    ("options", "error", "words"),
    [
        ({"cache": 5}, TypeError, "MutableMapping.*maxsize=100"),
        ({"cache": {}, "ttl": 5}, TypeError, "ttl.*TTLCache"),
        ({"cache": {}, "maxsize": None}, TypeError, "maxsize"),
        ({"cache": {}, "on_remove": print}, TypeError, "on_remove"),
        ({"cache": {}, "refresh_after": 1}, TypeError, "refresh_after"),
        ({"maxsize": 1, "max_bytes": 1}, TypeError, "in the place of maxsize"),
        ({"stale_if_error": 1}, ValueError, "give a ttl"),
        ({"ttl": 5, "refresh_after": 5}, ValueError, "less than the ttl"),
        ({"wait_timeout": 1, "single_flight": False}, ValueError, "leave one out"),
        ({"key": str, "typed": True}, ValueError, "types into the key"),
        ({"key": 5}, TypeError, "key must be callable"),
        ({"cache_if": 5}, TypeError, "cache_if must be callable"),
        ({"copy": 5}, TypeError, "copy must be"),
        ({"name": 5}, TypeError, "name must be a str"),
        ({"ttl": 0}, ValueError, "ttl must be"),
        ({"ttl": math.nan}, ValueError, "ttl must be"),
        ({"ttl": True}, TypeError, "ttl must be"),
        ({"wait_timeout": -1}, ValueError, "wait_timeout must be"),
        ({"refresh_after": math.inf}, ValueError, "refresh_after must be"),
        ({"maxsize": -1}, ValueError, "negative"),
        ({"maxsize": 1.5}, TypeError, "maxsize must be"),
        ({"max_bytes": "many"}, ValueError, "max_bytes"),
    ],
    ids=str,
)
def test_wrong_arguments_raise_when_decorating(
    options: dict[str, Any], error: type[Exception], words: str
) -> None:
    with pytest.raises(error, match=f"(?s){words}"):
        cached(**options)


def test_infinite_lifetime() -> None:
    f, calls = counted(ttl=math.inf)
    f(1), f(1)
    assert len(calls) == 1


def test_a_size_of_zero_keeps_nothing() -> None:
    f, calls = counted(maxsize=0)
    f(1), f(1)
    assert len(calls) == 2


# Recursion


@pytest.mark.parametrize(
    "decorate", [cached, cached(ttl=60), lru_cache], ids=["cached", "ttl", "lru"]
)
def test_recursion_is_as_deep_as_functools(decorate: Any) -> None:
    def depth(decorator: Any) -> int:
        deepest = 0

        def ask(n: int) -> Any:
            nonlocal deepest
            deepest = max(deepest, n)
            return f(n + 1)

        f = decorator(ask)
        with pytest.raises(RecursionError):
            f(0)
        return deepest

    assert depth(decorate) >= depth(functools.lru_cache(None)) * 0.95
