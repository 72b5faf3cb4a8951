"""The parameters of a function, and the arguments of its calls by their names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any


def describe(function: Callable[..., Any]) -> tuple[object, ...] | None:
    """Describe a function's parameters, for calls that mean the same; None if they aren't known."""
    import inspect  # noqa: PLC0415

    try:
        # What wraps a function has its own.
        parameters = inspect.signature(function, follow_wrapped=False).parameters.values()
    except (TypeError, ValueError):
        return None
    kinds = inspect.Parameter
    positional = [p for p in parameters if p.kind <= kinds.POSITIONAL_OR_KEYWORD]
    named = [p for p in parameters if p.kind is kinds.KEYWORD_ONLY]
    return (
        [p.name for p in positional],
        sum(p.kind is kinds.POSITIONAL_ONLY for p in positional),
        [p.default for p in positional if p.default is not kinds.empty],
        tuple(p.name for p in named),
        {p.name: p.default for p in named if p.default is not kinds.empty},
        any(p.kind is kinds.VAR_POSITIONAL for p in parameters),
        any(p.kind is kinds.VAR_KEYWORD for p in parameters),
    )


def unhashable(
    function: Callable[..., Any],
    args: tuple[Any, ...],
    kwargs: dict[str, Any],
    error: BaseException,
) -> BaseException:
    """Return the error for a call whose arguments can't be hashed: it names the first of them."""
    its_name = getattr(function, "__qualname__", repr(function))
    for where, value in _named(function, args, kwargs):
        try:
            hash(value)
        except TypeError as reason:
            better = TypeError(
                f"{where} of {its_name}() can't be hashed ({reason}), and so be no part of a key: "
                f"tell cached what identifies a call, as in @cached(key=lambda …: …), or pass "
                "something hashable, such as a tuple in place of a list"
            )
            better.__cause__ = reason.with_traceback(None)
            return better
    return error


def _named(
    function: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> Iterator[tuple[str, Any]]:
    """The arguments of a call with what they are called."""
    import inspect  # noqa: PLC0415

    try:
        bound = inspect.signature(function, follow_wrapped=False).bind(*args, **kwargs)
    except (TypeError, ValueError):
        yield from ((f"positional argument {at}", value) for at, value in enumerate(args, 1))
        yield from ((f"the argument {name!r}", value) for name, value in kwargs.items())
        return
    for name, value in bound.arguments.items():
        kind = bound.signature.parameters[name].kind
        if kind is inspect.Parameter.VAR_POSITIONAL:
            yield from ((f"the argument {name}[{at}]", item) for at, item in enumerate(value))
        elif kind is inspect.Parameter.VAR_KEYWORD:
            yield from ((f"the argument {each!r}", item) for each, item in value.items())
        else:
            yield f"the argument {name!r}", value
