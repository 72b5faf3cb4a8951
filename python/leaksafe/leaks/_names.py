# Objects of any kind: what is in them isn't known.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Chains of holders in words: `Service.handlers[3] ← app.py global SERVICE`."""

from __future__ import annotations

import functools
from collections import deque
from dataclasses import dataclass
from types import (
    BuiltinFunctionType,
    CellType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any, cast
from weakref import ReferenceType

from leaksafe.leaks import _plain
from leaksafe.leaks._roots import Roots, module_name

ARROW = " ← "
UNKNOWN = "C holder: unknown"
_CACHED = type(functools.lru_cache(maxsize=None)(lambda: None))


@dataclass(frozen=True)
class Step:
    """One holder of a chain by its name, and what kind of holder it is."""

    kind: str
    """`global`, `class`, `attribute`, `item`, `closure`, `default`, `function`, `local`, `frame`,
    `exception`, `task`, `thread-local`, `atexit`, `unknown`, and the like, or `other`."""
    text: str
    general: str
    """The same for all items of a container."""


ITEM = Step("item", "[…]", "[…]")


def callable_name(thing: object) -> str:
    """The name of something that can be called."""
    if _plain.is_a(thing, FunctionType):
        return f"{cast('FunctionType', thing).__qualname__}()"
    if _plain.is_a(thing, MethodType):
        return callable_name(cast("MethodType", thing).__func__)
    if _plain.is_a(thing, BuiltinFunctionType):
        return f"{cast('BuiltinFunctionType', thing).__name__}()"
    if _plain.is_a(thing, functools.partial):
        return f"partial of {callable_name(cast('functools.partial[Any]', thing).func)}"
    if _plain.is_a(thing, type):
        return _plain.class_name(cast("type", thing))
    wrapped = (_plain.attributes(thing) or {}).get("__wrapped__")
    if wrapped is not None:
        return callable_name(wrapped)
    return f"a {_plain.class_name(type(thing))}"


def steps(chain: list[Any], roots: Roots, unseen: int = 0) -> list[Step]:
    """Name the holders of the first object of a chain, from the nearest to the root.

    `unseen` is the number of references to the last that nothing visible holds, if that is no root.
    """
    found: list[Step] = []
    at = 0
    while at + 1 < len(chain):
        used, step = _step(chain[at], chain[at + 1 :])
        found.append(step)
        at += used
    last = chain[-1] if chain else None
    name = roots.name(last) if chain else None
    if name:
        kind = name.partition(" ")[0]
        kind = {"running": "task"}.get(kind, kind)
        found.append(Step(kind, name, name))
    elif name is None:
        text = held_by_c(unseen)
        if len(chain) > 1:
            text += f" to a {_plain.full_name(type(last))}"
        found.append(Step("unknown", text, text))
    return found


def held_by_c(references: int) -> str:
    """Say that nothing visible holds an object."""
    if not references or references >= 1 << 28:
        return UNKNOWN
    return f"{UNKNOWN}, {references} reference{'s' if references > 1 else ''}"


def join(some: list[Step], *, general: bool = False) -> str:
    """Write the steps of a chain in one line; items go with the name of their container."""
    parts: list[str] = []
    suffix = ""
    for step in some:
        text = step.general if general else step.text
        if step.kind == "item":
            suffix = text + suffix
        else:
            # `local x[3] of f()` rather than `local x of f()[3]`.
            head, of, rest = text.partition(" of ")
            parts.append(f"{head}{suffix}{of}{rest}" if suffix else text)
            suffix = ""
    if suffix:
        parts.append(f"a container{suffix}")
    return ARROW.join(parts)


def _step(held: Any, holders: list[Any]) -> tuple[int, Step]:
    """Name the holder of an object, and say how many objects of the chain that name covers."""
    holder = holders[0]
    above = holders[1] if len(holders) > 1 else None
    if type(holder) is dict:
        step = _namespace(held, holder, above)
        if step is not None:
            return 2, step
    if type(holder) is tuple or type(holder) is dict:
        step = _of_function(held, holder, above)
        if step is not None:
            return 2, step
    if type(holder) is CellType:
        return _cell(held, holders)
    return 1, _direct(held, holder)


def _key_of(held: Any, values: dict[Any, Any]) -> str | None:
    for key, value in _plain.items(values):
        if value is held:
            return key if type(key) is str else _plain.show_key(key)
    return None


def _same(kind: str, text: str) -> Step:
    return Step(kind, text, text)


def _namespace(held: Any, values: dict[Any, Any], owner: Any) -> Step | None:
    """A dictionary that is a module's, a class's or an instance's."""
    if owner is None:
        return None
    if _plain.is_a(owner, ModuleType):
        if _plain.attributes(owner) is values:
            key = _key_of(held, values) or "?"
            return _same("global", f"{module_name(owner)} global {key}")
        return None
    if _plain.is_a(owner, type):
        name = _key_of(held, values)
        return (
            _same("class", f"class attribute {_plain.class_name(owner)}.{name}") if name else None
        )
    if _plain.is_a(owner, FunctionType):
        function = cast("FunctionType", owner)
        if function.__globals__ is values:
            module = values.get("__name__")
            key = _key_of(held, values) or "?"
            return _same("global", f"{module} global {key} (a module that is gone)")
        if function.__kwdefaults__ is values:
            return _same(
                "default", f"default argument {_key_of(held, values)} of {callable_name(owner)}"
            )
        return _same("function", f"{callable_name(owner)} attribute {_key_of(held, values)}")
    if _plain.attributes(owner) is values:
        key = _key_of(held, values) or "?"
        return _attribute(owner, key)
    return None


def _attribute(owner: object, name: str) -> Step:
    kind = "exception" if _plain.is_a(owner, BaseException) else "attribute"
    return _same(kind, f"{_plain.class_name(type(owner))}.{name}")


def _of_function(held: Any, holder: Any, owner: Any) -> Step | None:
    """A default argument."""
    if not _plain.is_a(owner, FunctionType):
        return None
    function = cast("FunctionType", owner)
    values = function.__defaults__
    if values is not None and values is holder:
        code = function.__code__
        names = code.co_varnames[: code.co_argcount][-len(values) :]
        for name, value in zip(names, values, strict=False):
            if value is held:
                return _same("default", f"default argument {name} of {callable_name(owner)}")
    return None


def _cell(held: Any, holders: list[Any]) -> tuple[int, Step]:
    cell = holders[0]
    for place, function in enumerate(holders[1:3], 1):
        if _plain.is_a(function, FunctionType):
            closure = cast("FunctionType", function).__closure__ or ()
            for name, one in zip(function.__code__.co_freevars, closure, strict=False):
                if one is cell:
                    text = f"closure variable {name} of {callable_name(function)}"
                    return place + 1, _same("closure", text)
    return 1, _same("closure", "closure variable")


def _direct(held: Any, holder: Any) -> Step:
    """An object that holds another without a namespace between them."""
    item = _item(held, holder)
    if item is not None:
        return item
    name = _plain.class_name(type(holder))
    if type(holder) is FrameType:
        for variable, value in _plain.local_variables(holder):
            if value is held:
                return _same("frame", f"variable {variable} of the kept frame of {_code(holder)}")
        return _same("frame", f"the kept frame of {_code(holder)}")
    if type(holder) is TracebackType:
        return _same("exception", "traceback")
    if _plain.is_a(holder, GeneratorType, CoroutineType):
        one: Any = holder
        if type(holder) is GeneratorType:
            kind, frame, runs = "generator", one.gi_frame, one.gi_running
        else:
            kind, frame, runs = "coroutine", one.cr_frame, one.cr_running
        # One that runs may do so in another thread, where nobody can read its variables safely.
        if frame is None or (runs and not _plain.has_gil()):
            return _same("generator", f"{kind} {holder.__qualname__}()")
        for variable, value in _plain.local_variables(frame):
            if value is held:
                return _same("generator", f"variable {variable} of {kind} {holder.__qualname__}()")
        return _same("generator", f"{kind} {holder.__qualname__}()")
    if _plain.is_a(holder, MethodType):
        return _same("method", f"bound method {callable_name(holder)}")
    if _plain.is_a(holder, FunctionType):
        return _same("function", f"function {callable_name(holder)}")
    if type(holder) is _CACHED:
        return _same("lru_cache", f"functools.lru_cache of {callable_name(holder)}")
    if type(holder) is functools.partial:
        return _same("function", callable_name(holder))
    if _plain.is_a(holder, ReferenceType):
        return _same("weakref", "callback of a weak reference")
    if _plain.is_a(holder, type):
        key = _key_of(held, dict(_plain.namespace(holder)))
        return _same(
            "class", f"class attribute {name if key is None else _plain.class_name(holder)}.{key}"
        )
    if type(held) is type and type(holder) is held:
        return _same("other", f"instance of {name}")
    attribute = _special(holder, held) or _plain.attribute_of(holder, held)
    if attribute is not None:
        return _attribute(holder, attribute)
    return _same("other", f"a {_plain.full_name(type(holder))}")


def _special(holder: object, held: object) -> str | None:
    if _plain.is_a(holder, BaseException):
        error = cast("BaseException", holder)
        for name in ("__traceback__", "__context__", "__cause__", "args"):
            if BaseException.__getattribute__(error, name) is held:
                return name
    return None


def _code(frame: FrameType) -> str:
    return f"{frame.f_code.co_qualname}()"


def _item(held: Any, holder: Any) -> Step | None:
    if _plain.is_a(holder, dict):
        for key, value in _plain.items(holder):
            if value is held:
                return Step("item", f"[{_plain.show_key(key)}]", "[…]")
            if key is held:
                return Step("item", f" key {_plain.show_key(key)}", " keys")
        return None
    if _plain.is_a(holder, list, tuple):
        for place, value in enumerate(_plain.elements(holder) or ()):
            if value is held:
                return Step("item", f"[{place}]", "[…]")
        return None
    if _plain.is_a(holder, set, frozenset, deque):
        if any(value is held for value in _plain.elements(holder) or ()):
            return Step("item", "{…}" if not _plain.is_a(holder, deque) else "[…]", "[…]")
        return None
    if _plain.class_module(type(holder)) == "leaksafe._core":
        return Step(
            "item", f" ({_plain.class_name(type(holder))})", f" ({_plain.class_name(type(holder))})"
        )
    return None
