"""`cached`: one decorator for every function whose results are worth keeping."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast, overload

from leaksafe import _results
from leaksafe._core import (
    LRUCache,
    TTLCache,
    _LruFunction,  # pyright: ignore[reportPrivateUsage]
)
from leaksafe._functions import finish
from leaksafe._kinds import (
    is_async_generator_function,
    is_coroutine_function,
    is_generator_function,
)
from leaksafe._parameters import describe
from leaksafe._results import Keeper, Options

if TYPE_CHECKING:
    from datetime import timedelta

    from leaksafe._core import _CacheParameters  # pyright: ignore[reportPrivateUsage]

_P = ParamSpec("_P")
_R = TypeVar("_R")

_DEFAULT = 128
_UNSET: Any = ...


@overload
def cached(cache: Callable[_P, _R], /) -> _LruFunction[_P, _R]: ...
@overload
def cached(
    cache: MutableMapping[Any, Any] | None = None,
    *,
    maxsize: int | None = ...,
    max_bytes: int | str | None = None,
    ttl: float | timedelta | None = None,
    getsizeof: Callable[[Any], int] | None = None,
    key: Callable[..., Any] | None = None,
    typed: bool = False,
    normalize: bool = True,
    single_flight: bool = True,
    wait_timeout: float | timedelta | None = None,
    refresh_after: float | timedelta | None = None,
    stale_if_error: float | timedelta | None = None,
    cache_if: Callable[[Any], object] | None = None,
    copy: bool | Callable[[Any], Any] = False,
    on_remove: Callable[[Any, Any, str], object] | None = None,
    name: str | None = None,
) -> Callable[[Callable[_P, _R]], _LruFunction[_P, _R]]: ...
def cached(
    cache: Callable[..., object] | MutableMapping[Any, Any] | None = None,
    *,
    maxsize: int | None = _UNSET,
    max_bytes: int | str | None = None,
    ttl: float | timedelta | None = None,
    getsizeof: Callable[[Any], int] | None = None,
    key: Callable[..., Any] | None = None,
    typed: bool = False,
    normalize: bool = True,
    single_flight: bool = True,
    wait_timeout: float | timedelta | None = None,
    refresh_after: float | timedelta | None = None,
    stale_if_error: float | timedelta | None = None,
    cache_if: Callable[[Any], object] | None = None,
    copy: bool | Callable[[Any], Any] = False,
    on_remove: Callable[[Any, Any, str], object] | None = None,
    name: str | None = None,
) -> object:
    """Remember what a function returns, and compute it once however many threads ask at once.

    >>> @cached
    ... def double(number):
    ...     print("computing")
    ...     return 2 * number
    >>> double(4), double(number=4)
    computing
    (8, 8)

    It is for functions, methods (whose instances it doesn't keep alive), class methods and static
    methods (below `@classmethod` and `@staticmethod`). Threads that ask for what another computes
    wait for that, and get its result, or its `Exception`; of this nothing is kept. A function
    that asks for its own key runs, and so does the one that would close a circle of waiting.

    An `async def` is computed once for each key and event loop of asyncio, in a task of its own
    with the first caller's context; who asks meanwhile awaits it, whoever else is cancelled. It is
    cancelled when nobody awaits it any more. Results are kept, never coroutines, and all event
    loops share them.

    Args:
        cache: a mapping for the results: an `LRUCache`, `TTLCache` or `WeakCache`, or any
            `MutableMapping`. Functions that share one never get each other's results.
        maxsize: the results that are kept, 128 unless there is another bound; `None`: all.
        max_bytes: a bound in bytes (`"256 MiB"`) in place of `maxsize`, as `LRUCache` has it.
        ttl: for how many seconds after its computation a result is kept.
        getsizeof: what a result weighs; `maxsize` or `max_bytes` then bounds the sum.
        key: makes the key of a call: it gets the arguments, without the instance or class.
        typed: whether `f(1)` and `f(1.0)` are two calls.
        normalize: whether `f(5)`, `f(x=5)`, and a default that is left out or given, are one call.
        single_flight: whether threads wait for each other.
        wait_timeout: for how many seconds they do; a thread then computes by itself.
        refresh_after: the seconds after which a result is old: it is still answered at once, and
            computed anew behind the caller, in a pool of 4 threads that all functions share; what
            is an `async def` in a task of the caller's event loop.
        stale_if_error: for so many seconds more than `ttl`, a result is answered where its
            computation raises an `Exception`.
        cache_if: gets a result, and says whether it is to be kept.
        copy: gives each caller its own copy: `True` for `copy.deepcopy`, or what copies. Without
            it, all callers get one object.
        on_remove: called as `on_remove(key, result, cause)` when a result has left, as
            `LRUCache` calls it.
        name: what `census` calls the function.

    Returns:
        The function, with `cache_info()`, `cache_clear()`, `cache_parameters()`,
        `cache_discard(…)`, `cache_contains(…)`, `cache_peek(…)`, `cache_put(value, …)`,
        `cache_key(…)`, `cache` and `__wrapped__`; on bound methods, too.

    Raises:
        TypeError, ValueError: for arguments that are none, or don't go together; for generator
            functions, whose results can be used only once.

    A hit costs what one of `lru_cache` costs, O(1), unless one of `cache`, `max_bytes`,
    `getsizeof`, `key`, `refresh_after`, `stale_if_error`, `cache_if`, `copy` or `on_remove` is
    given: then results are kept by Python code, and a hit costs about two microseconds.
    """
    function: Callable[..., Any] | None = None
    given: MutableMapping[Any, Any] | None = None
    if isinstance(cache, MutableMapping):
        given = cache  # pyright: ignore[reportUnknownVariableType]
    elif callable(cache):
        function = cache
    elif cache is not None:
        raise TypeError(
            f"cache must be a MutableMapping, not {type(cache).__name__}: {cache!r}; the bound is "
            "given by name, as in cached(maxsize=100)"
        )
    bounds = {
        "maxsize": None if maxsize is _UNSET else maxsize,
        "max_bytes": max_bytes,
        "ttl": ttl,
        "getsizeof": getsizeof,
        "on_remove": on_remove,
        "refresh_after": refresh_after,
        "stale_if_error": stale_if_error,
    }
    _check_bounds(given, maxsize, bounds)
    seconds = _seconds(ttl, "ttl", endless=True)
    stale = _seconds(stale_if_error, "stale_if_error")
    old = _seconds(refresh_after, "refresh_after")
    wait = _seconds(wait_timeout, "wait_timeout", endless=True)
    if wait is not None:
        wait = min(wait, threading.TIMEOUT_MAX)
    if stale is not None and seconds is None:
        raise ValueError("stale_if_error begins when the ttl ends: give a ttl, too")
    if old is not None and seconds is not None and old >= seconds:
        raise ValueError(
            f"refresh_after must be less than the ttl, or a result is gone before it is old; they "
            f"are {refresh_after!r} and {ttl!r}"
        )
    if wait is not None and not single_flight:
        raise ValueError("wait_timeout has no meaning with single_flight=False: leave one out")
    if key is not None and typed:
        raise ValueError("typed=True has no meaning with a key: put the types into the key")
    for what, callback in (
        ("key", key),
        ("getsizeof", getsizeof),
        ("cache_if", cache_if),
        ("on_remove", on_remove),
    ):
        if callback is not None and not callable(callback):
            raise TypeError(f"{what} must be callable, not {type(callback).__name__}")
    check_text(name, "name")
    copier = _results.copier(copy)
    options = Options(bool(single_flight), wait, seconds, old, stale, cache_if, copier)
    bound = _DEFAULT if maxsize is _UNSET and max_bytes is None else maxsize
    plain = given is None and key is None and cache_if is None and copier is None
    plain = plain and all(bounds[what] is None for what in bounds if what not in ("maxsize", "ttl"))
    parameters: dict[str, Any] = {
        **{what: value for what, value in bounds.items() if value is not None},
        "maxsize": getattr(given, "maxsize", None) if bound is _UNSET else bound,
        "typed": bool(typed),
        "single_flight": bool(single_flight),
    }
    lifetime = None if seconds is None else seconds + (stale or 0)

    def decorate(user_function: Callable[..., Any]) -> object:
        _refuse(user_function)
        coroutine = is_coroutine_function(user_function)
        if coroutine and not single_flight:
            raise TypeError(
                f"{getattr(user_function, '__qualname__', user_function)} is an async def, whose "
                "tasks always wait for each other: single_flight=False is for plain functions"
            )
        called = name or str(getattr(user_function, "__qualname__", user_function))
        common: dict[str, Any] = {
            "cached": True,
            "signature": describe(user_function) if normalize and key is None else None,
        }
        if plain:
            common.update(single_flight=bool(single_flight), wait_timeout=wait, coroutine=coroutine)
            age: Any = () if seconds is None else (seconds,)
            wrapper = _LruFunction(user_function, bound, bool(typed), True, *age, **common)
        else:
            mapping = given
            if mapping is None:
                mapping = _results.make_cache(bound, max_bytes, lifetime, getsizeof, on_remove)
            keeper = _keeper_class(coroutine)(
                user_function, called, mapping, given is None, options
            )
            wrapper = _LruFunction(
                user_function, 0, bool(typed), True, **common, keeper=keeper, key=key
            )
        finish(wrapper, user_function, lambda: cast("_CacheParameters", dict(parameters)), name)
        return wrapper

    if not plain and given is None:
        # What is wrong with it is said at once.
        _results.make_cache(bound, max_bytes, lifetime, getsizeof, on_remove)
    elif plain:
        LRUCache(bound) if seconds is None else TTLCache(bound, seconds)
    return decorate if function is None else decorate(function)


def _check_bounds(cache: object, maxsize: object, bounds: dict[str, Any]) -> None:
    if cache is not None:
        given = [what for what, value in bounds.items() if value is not None]
        if maxsize is None:
            given.insert(0, "maxsize")
        if given:
            raise TypeError(
                f"{' and '.join(given)}: that is the business of the cache that is given, here "
                f"a {type(cache).__name__}. Give them to that (TTLCache(1000, ttl=60)), or leave "
                "it out and let cached make one"
            )
    if maxsize is not _UNSET and bounds["max_bytes"] is not None:
        raise TypeError("max_bytes stands in the place of maxsize: give one of them")


def _seconds(value: object, what: str, *, endless: bool = False) -> float | None:
    if value is None:
        return None
    if not isinstance(value, int | float):
        from datetime import timedelta  # noqa: PLC0415

        if isinstance(value, timedelta):
            value = value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(
            f"{what} must be a float or a timedelta, not {type(value).__name__}: {value!r}"
        )
    if not value > 0 or (math.isinf(value) and not endless):
        raise ValueError(f"{what} must be a number of seconds above 0, but is {value!r}")
    return float(value)


def check_text(value: object, what: str) -> None:
    """Raise for what is no string."""
    if value is not None and not isinstance(value, str):
        raise TypeError(f"{what} must be a str, not {type(value).__name__}: {value!r}")


def _refuse(function: Callable[..., object]) -> None:
    """Raise for what can't be cached, with what to do instead."""
    its_name = getattr(function, "__qualname__", repr(function))
    kind = type(function).__name__
    if kind in ("classmethod", "staticmethod", "property"):
        raise TypeError(f"cached needs a function, not a {kind}: it goes below @{kind}")
    if not callable(function):
        raise TypeError(f"cached needs a callable, not {kind}")
    if is_generator_function(function) or is_async_generator_function(function):
        raise TypeError(
            f"{its_name} is a generator function: each call makes a generator, which can be looped "
            "over only once, and cached would return the same one again. Return a list or a tuple "
            "in its place, or decorate it with leaksafe.lazy"
        )


def _keeper_class(coroutine: bool) -> type[Keeper]:
    if not coroutine:
        return Keeper
    from leaksafe._async_results import AsyncKeeper  # noqa: PLC0415  # it imports asyncio

    return AsyncKeeper


def refuse_async(function: object, decorator: str) -> None:
    """Raise for a coroutine function."""
    if is_coroutine_function(function):
        its_name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"{its_name} is an async def: each call makes a coroutine, {decorator} would return "
            "the same one again, and it can be awaited only once. Decorate a plain function"
        )


class ResultsView(Mapping[Any, Any]):
    """The results that a function keeps by itself, by the keys that `cache_key` tells.

    Looking at it counts and promotes nothing. O(1) for its length, else O(n).
    """

    __slots__ = ("_function",)

    def __init__(self, function: _LruFunction[..., Any]) -> None:
        self._function = function

    def __len__(self) -> int:
        return self._function.cache_info().currsize

    def __iter__(self) -> Iterator[Any]:
        return (key for key, _ in self._function._items())  # pyright: ignore[reportPrivateUsage]

    def __getitem__(self, key: object) -> Any:  # noqa: ANN401
        for other, result in self._function._items():  # pyright: ignore[reportPrivateUsage]
            if other is key or other == key:
                return result
        raise KeyError(key)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({dict(self.items())!r})"
