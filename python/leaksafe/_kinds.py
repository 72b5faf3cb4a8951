"""What kind a function is of, told by its code where that says all.

`inspect`, which is asked about the others, takes longer to import than leaksafe.
"""

from __future__ import annotations

from collections.abc import Awaitable
from types import FunctionType, GeneratorType
from typing import Any, TypeGuard

# As `inspect` has them.
_CO_GENERATOR = 0x20
_CO_COROUTINE = 0x80
_CO_ITERABLE_COROUTINE = 0x100
_CO_ASYNC_GENERATOR = 0x200


def is_coroutine_function(function: object) -> bool:
    """Return what `inspect.iscoroutinefunction` returns."""
    # One with attributes may have the mark that says that it returns a coroutine.
    if isinstance(function, FunctionType) and not function.__dict__:
        return bool(function.__code__.co_flags & _CO_COROUTINE)
    import inspect  # noqa: PLC0415

    return inspect.iscoroutinefunction(function)


def is_generator_function(function: object) -> bool:
    """Return what `inspect.isgeneratorfunction` returns."""
    if isinstance(function, FunctionType):
        return bool(function.__code__.co_flags & _CO_GENERATOR)
    import inspect  # noqa: PLC0415

    return inspect.isgeneratorfunction(function)


def is_async_generator_function(function: object) -> bool:
    """Return what `inspect.isasyncgenfunction` returns."""
    if isinstance(function, FunctionType):
        return bool(function.__code__.co_flags & _CO_ASYNC_GENERATOR)
    import inspect  # noqa: PLC0415

    return inspect.isasyncgenfunction(function)


def is_awaitable(result: object) -> TypeGuard[Awaitable[Any]]:
    """Return what `inspect.isawaitable` returns."""
    if isinstance(result, GeneratorType):
        # Of `types.coroutine`.
        return bool(result.gi_code.co_flags & _CO_ITERABLE_COROUTINE)
    return isinstance(result, Awaitable)
