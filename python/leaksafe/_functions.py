"""The decorators of functions: what their arguments mean. The caching itself is in Rust."""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, Any, ParamSpec, TypeAlias, TypeVar, overload

from leaksafe._core import (
    LRUCache,
    _defer_refcount,  # pyright: ignore[reportPrivateUsage]
    _enter,  # pyright: ignore[reportPrivateUsage]
    _LruFunction,  # pyright: ignore[reportPrivateUsage]
)
from leaksafe._kinds import is_coroutine_function

if TYPE_CHECKING:
    from datetime import timedelta

    from leaksafe._core import _CacheParameters  # pyright: ignore[reportPrivateUsage]

    _Age: TypeAlias = tuple[float | timedelta, Callable[[], float] | None]

_P = ParamSpec("_P")
_R = TypeVar("_R")


class _Unsaid(int):
    """A number that stands for itself where no other was given."""

    __slots__ = ()


_UNSAID = _Unsaid(128)


class LeakWarning(UserWarning):
    """Something is held for longer than it should be; the message says what, and the cure.

    >>> import warnings
    >>> class Circle:
    ...     __slots__ = ("radius",)  # no room for weak references: "__weakref__" is missing
    ...     @lru_cache
    ...     def area(self):
    ...         return 3
    >>> with warnings.catch_warnings(record=True) as caught:
    ...     warnings.simplefilter("always")
    ...     Circle().area()
    3
    >>> [warning.category.__name__ for warning in caught]
    ['LeakWarning']
    """

    __module__ = "leaksafe"


@overload
def lru_cache(
    maxsize: Callable[_P, _R],
    typed: bool = False,
    *,
    weak_self: bool = True,
    max_bytes: int | str | None = None,
) -> _LruFunction[_P, _R]: ...
@overload
def lru_cache(
    maxsize: int | None = 128,
    typed: bool = False,
    *,
    weak_self: bool = True,
    max_bytes: int | str | None = None,
) -> Callable[[Callable[_P, _R]], _LruFunction[_P, _R]]: ...
def lru_cache(
    maxsize: Callable[..., object] | int | None = _UNSAID,
    typed: object = False,
    *,
    weak_self: bool = True,
    max_bytes: int | str | None = None,
) -> object:
    """Remember what a function returns, for the `maxsize` calls used last.

    >>> @lru_cache(maxsize=2)
    ... def double(number):
    ...     print("computing")
    ...     return 2 * number
    >>> double(4)
    computing
    8
    >>> double(4)
    8
    >>> double.cache_info()
    CacheInfo(hits=1, misses=1, maxsize=2, currsize=1)

    It takes the place of `functools.lru_cache`: `@lru_cache` without parentheses is for 128 calls,
    `maxsize=None` for all of them, and with `typed=True` `double(4)` and `double(4.0)` are two
    calls. The arguments must be hashable. The function gets `cache_info()`, `cache_clear()`,
    `cache_parameters()` and `__wrapped__`, and more: `cache_discard(...)` forgets one call,
    `cache_contains(...)` says whether it is remembered, and `cache_peek`, `cache_put`, `cache_key`
    and `cache` are those of `cached`.

    On a method, the instance is not kept alive: what was remembered of it goes when it goes.
    `weak_self=False` keeps it, as functools does.

    `max_bytes`, an int or a str with a unit such as "64 MiB", takes the place of `maxsize`. A
    result then weighs what `deep_sizeof` counts from it and from its key (the arguments), once each
    and without a method's instance and this function, and 51 bytes for its place. One that is
    heavier than `max_bytes` is returned and not kept.

    Raises:
        TypeError, ValueError, OverflowError: for a `max_bytes` as `LRUCache` has it; TypeError
            where `maxsize` is given too.

    Of an `async def` the results are remembered, not the coroutines; in each event loop of asyncio
    one task computes for all that ask at once, and is cancelled when nobody waits for it any more.
    """
    return _decorator("lru_cache", maxsize, typed, weak_self, max_bytes)


@overload
def ttl_cache(
    maxsize: Callable[_P, _R],
    ttl: float | timedelta = 600,
    timer: Callable[[], float] | None = None,
    typed: bool = False,
    *,
    weak_self: bool = True,
    max_bytes: int | str | None = None,
) -> _LruFunction[_P, _R]: ...
@overload
def ttl_cache(
    maxsize: int | None = 128,
    ttl: float | timedelta = 600,
    timer: Callable[[], float] | None = None,
    typed: bool = False,
    *,
    weak_self: bool = True,
    max_bytes: int | str | None = None,
) -> Callable[[Callable[_P, _R]], _LruFunction[_P, _R]]: ...
def ttl_cache(
    maxsize: Callable[..., object] | int | None = _UNSAID,
    ttl: float | timedelta = 600,
    timer: Callable[[], float] | None = None,
    typed: object = False,
    *,
    weak_self: bool = True,
    max_bytes: int | str | None = None,
) -> object:
    """Remember what a function returns for `ttl` seconds, for the `maxsize` calls used last.

    >>> time = 0
    >>> @ttl_cache(maxsize=100, ttl=10, timer=lambda: time)
    ... def price(symbol):
    ...     print("asking")
    ...     return 42
    >>> price("ABC"), price("ABC")
    asking
    (42, 42)
    >>> time = 10
    >>> price("ABC")
    asking
    42

    It is `lru_cache`, methods and all, whose results also expire: `ttl` seconds (above 0, or a
    `timedelta`) after the function returned. What has expired is freed by the sweeper though the
    function is never called again. `timer` tells the time in place of the platform's cheapest
    monotonic clock, as `TTLCache` has it: asked once for a hit, and once more where the function
    had to run; what expired then goes with later calls, two at each that runs the function, and
    with `cache_info()`. A result costs 16 bytes more than `lru_cache`'s; with `max_bytes`, these
    are not in what it weighs.

    Raises:
        TypeError, ValueError: for a `ttl` that is no number, NaN, zero or negative; for a `timer`
            that can't be called; for a bound as with `lru_cache`.
    """
    return _decorator("ttl_cache", maxsize, typed, weak_self, max_bytes, (ttl, timer))


def cache(user_function: Callable[_P, _R], /) -> _LruFunction[_P, _R]:
    """Remember all that a function returns: `lru_cache(maxsize=None)`, which never forgets.

    >>> @cache
    ... def factorial(n):
    ...     return n * factorial(n - 1) if n else 1
    >>> factorial(10)
    3628800
    >>> factorial.cache_info().currsize
    11
    """
    return _cached("lru_cache", user_function, None, False, True)


def _decorator(
    name: str,
    maxsize: Callable[..., object] | int | None,
    typed: object,
    weak_self: bool,
    max_bytes: int | str | None,
    age: _Age | None = None,
) -> object:
    """Tell a bare decorator from one with arguments."""
    if callable(maxsize) and isinstance(typed, bool):
        bound = _bound(_UNSAID, max_bytes)
        return _cached(name, maxsize, bound, typed, weak_self, max_bytes is not None, age)
    if maxsize is not None and not isinstance(maxsize, int):
        raise TypeError(
            f"expected the first argument of {name} to be an integer, a callable, or None, "
            f"not {type(maxsize).__name__}"
        )
    bound, by_type = _bound(maxsize, max_bytes), bool(typed)
    if age is not None:
        _LruFunction(_decorator, 0, False, False, *age)  # what is wrong with it is said at once

    def decorate(user_function: Callable[_P, _R]) -> _LruFunction[_P, _R]:
        return _cached(name, user_function, bound, by_type, weak_self, max_bytes is not None, age)

    return decorate


def _bound(maxsize: int | None, max_bytes: int | str | None) -> int | None:
    """Return the bound, in results or in bytes."""
    if max_bytes is None:
        return None if maxsize is None else max(int(maxsize), 0)
    if maxsize is not _UNSAID:
        raise TypeError(
            "maxsize and max_bytes are two bounds, of which one is to be given, not both"
        )
    return LRUCache[object, object](max_bytes=max_bytes).maxsize


def _cached(
    name: str,
    function: Callable[_P, _R],
    maxsize: int | None,
    typed: bool,
    weak_self: bool,
    in_bytes: bool = False,
    age: _Age | None = None,
) -> _LruFunction[_P, _R]:
    if not callable(function):
        below = " (it goes below @classmethod and @property)"
        raise TypeError(
            f"{name} needs a callable, not {type(function).__name__}"
            + (below if isinstance(function, classmethod | property) else "")
        )
    coroutine = is_coroutine_function(function)
    weakly = bool(weak_self)
    if age is None:
        wrapper = _LruFunction(
            function, maxsize, typed, weakly, in_bytes=in_bytes, coroutine=coroutine
        )
    else:
        wrapper = _LruFunction(
            function, maxsize, typed, weakly, *age, in_bytes=in_bytes, coroutine=coroutine
        )
    parameters: _CacheParameters = {"maxsize": maxsize, "typed": typed}
    if in_bytes:
        parameters["max_bytes"] = maxsize
    if age is not None:
        parameters["ttl"], parameters["timer"] = age
    finish(wrapper, function, parameters.copy)
    return wrapper


def finish(
    wrapper: _LruFunction[_P, _R],
    function: Callable[_P, _R],
    parameters: Callable[[], _CacheParameters],
    name: str | None = None,
) -> None:
    """Give a wrapper what it has from its function, and note that it lives."""
    update_wrapper(wrapper, function)
    if is_coroutine_function(function):
        _mark_coroutine_function(wrapper)
    # After update_wrapper: that copies the attributes of what may be a cached function, too.
    wrapper.cache_parameters = parameters
    if name is not None:
        wrapper.__dict__["__leaksafe_name__"] = name
    # What lives as long as its module or class anyway; an inner function goes when it is dropped.
    if "<locals>" not in getattr(wrapper, "__qualname__", "<locals>"):
        _defer_refcount(wrapper)
    _enter(wrapper)


def _mark_coroutine_function(wrapper: Any) -> None:  # noqa: ANN401  # it gets attributes
    """Have `inspect` and `asyncio` see that calls make coroutines."""
    import inspect  # noqa: PLC0415

    if sys.version_info >= (3, 12):
        inspect.markcoroutinefunction(wrapper)
        return
    # 3.11 has no mark, but asks the code of whatever has the attributes of a function.
    wrapper.__code__ = _as_coroutine.__code__
    wrapper.__defaults__ = wrapper.__kwdefaults__ = None
    if not hasattr(wrapper, "__name__"):  # of a partial
        wrapper.__name__ = type(inspect.unwrap(wrapper)).__name__


async def _as_coroutine() -> None:
    """Lend its code's flags."""
