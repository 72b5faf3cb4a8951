"""The decorators of functions: what their arguments mean. The caching itself is in Rust."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import TYPE_CHECKING, ParamSpec, TypeVar, overload

from leaksafe._core import (
    _defer_refcount,  # pyright: ignore[reportPrivateUsage]
    _LruFunction,  # pyright: ignore[reportPrivateUsage]
)

if TYPE_CHECKING:
    from leaksafe._core import _CacheParameters  # pyright: ignore[reportPrivateUsage]

_P = ParamSpec("_P")
_R = TypeVar("_R")


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
    maxsize: Callable[_P, _R], typed: bool = False, *, weak_self: bool = True
) -> _LruFunction[_P, _R]: ...
@overload
def lru_cache(
    maxsize: int | None = 128, typed: bool = False, *, weak_self: bool = True
) -> Callable[[Callable[_P, _R]], _LruFunction[_P, _R]]: ...
def lru_cache(
    maxsize: Callable[..., object] | int | None = 128,
    typed: object = False,
    *,
    weak_self: bool = True,
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
    `cache_parameters()` and `__wrapped__`, and two more: `cache_discard(...)` forgets one call, and
    `cache_contains(...)` says whether it is remembered.

    On a method, the instance is not kept alive: what was remembered of it goes when it goes.
    `weak_self=False` keeps it, as functools does.
    """
    if isinstance(maxsize, int):
        maxsize = max(maxsize, 0)
    elif callable(maxsize) and isinstance(typed, bool):
        return _cached(maxsize, 128, typed, weak_self)
    elif maxsize is not None:
        raise TypeError(
            "expected the first argument of lru_cache to be an integer, a callable, or None, "
            f"not {type(maxsize).__name__}"
        )
    bound, by_type = maxsize, bool(typed)

    def decorate(user_function: Callable[_P, _R]) -> _LruFunction[_P, _R]:
        return _cached(user_function, bound, by_type, weak_self)

    return decorate


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
    return _cached(user_function, None, False, True)


def _cached(
    function: Callable[_P, _R], maxsize: int | None, typed: bool, weak_self: bool
) -> _LruFunction[_P, _R]:
    if not callable(function):
        below = " (it goes below @classmethod and @property)"
        raise TypeError(
            f"lru_cache needs a callable, not {type(function).__name__}"
            + (below if isinstance(function, classmethod | property) else "")
        )
    if inspect.iscoroutinefunction(function):
        name = getattr(function, "__qualname__", repr(function))
        raise TypeError(
            f"{name} is an async def: each call makes a coroutine, lru_cache would return the same "
            "one again, and it can be awaited only once. Keep what it returns in an LRUCache, or "
            "decorate a plain function"
        )
    wrapper = _LruFunction(function, maxsize, typed, bool(weak_self))
    update_wrapper(wrapper, function)

    def cache_parameters() -> _CacheParameters:
        return {"maxsize": maxsize, "typed": typed}

    # After update_wrapper: that copies the attributes of what may be a cached function, too.
    wrapper.cache_parameters = cache_parameters
    # What lives as long as its module or class anyway; an inner function goes when it is dropped.
    if "<locals>" not in getattr(wrapper, "__qualname__", "<locals>"):
        _defer_refcount(wrapper)
    return wrapper
