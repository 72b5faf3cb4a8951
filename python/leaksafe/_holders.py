"""Who holds objects, in words."""

from __future__ import annotations

import gc
import inspect
import sys
from collections.abc import Iterator, Sized
from types import FrameType, ModuleType
from typing import Any

_LOOKED_AT = 100
_NAMED = 3


def holders(objects: list[Any]) -> str:
    """Say what refers to some objects: as the collector knows, and by the names in the stack."""
    # Handed on as it is, so that it is known for one of ours.
    some = tuple(objects[:_LOOKED_AT])
    ours = {id(objects), id(some)}
    wanted = {id(one) for one in some}
    found: dict[int, tuple[int, str]] = {}
    for holder in gc.get_referrers(*some):
        if id(holder) in ours or isinstance(holder, FrameType):
            continue
        held = sum(id(one) in wanted for one in gc.get_referents(holder))
        names = [f"{name!r} in {where}" for name, where in _names(holder)]
        found[id(holder)] = held, " ".join([_describe(holder), *names[:1]])
    most = sorted(found.values(), reverse=True)[:_NAMED]
    del some
    if not most:
        return "what holds them is unknown to the collector, such as local variables"
    return "they are held by " + ", ".join(text for _, text in most)


def _describe(holder: object) -> str:
    kind = type(holder)
    if isinstance(holder, ModuleType):
        return f"the module {holder.__name__}"
    if kind.__module__ in ("builtins", "collections") and isinstance(holder, Sized):
        return f"a {kind.__name__} of {len(holder)}"
    return f"a {kind.__module__}.{kind.__qualname__}"


def _names(holder: object) -> Iterator[tuple[str, str]]:
    """The variables that refer to an object: of functions that run in this thread, of modules."""
    frame = inspect.currentframe()
    while frame is not None:
        if frame.f_globals.get("__package__") != __package__:
            yield from _locals(frame, holder)
        frame = frame.f_back
    for module in list(sys.modules.values()):
        for name, value in list(getattr(module, "__dict__", {}).items()):
            if value is holder:
                yield name, f"the module {module.__name__}"


def _locals(frame: FrameType, holder: object) -> Iterator[tuple[str, str]]:
    code = frame.f_code
    if not code.co_flags & inspect.CO_OPTIMIZED:
        return
    variables = frame.f_locals
    names = [name for name, value in variables.items() if value is holder]
    if sys.version_info < (3, 13):
        # A copy, which the frame keeps, and which would hold what it names.
        variables.clear()
    for name in names:
        yield name, f"{code.co_qualname}()"
