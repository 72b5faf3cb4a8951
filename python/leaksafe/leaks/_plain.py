# Objects of any kind: what is in them isn't known.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
"""Looking at objects without running code of theirs, such as `__getattr__` and `__class__`."""

from __future__ import annotations

import sys
from collections import OrderedDict, deque
from collections.abc import Iterable, Iterator
from types import FrameType, GetSetDescriptorType, MappingProxyType, MemberDescriptorType
from typing import Any, cast

_MRO = cast("GetSetDescriptorType", type.__dict__["__mro__"])
_NAMESPACE = cast("GetSetDescriptorType", type.__dict__["__dict__"])
_QUALNAME = cast("GetSetDescriptorType", type.__dict__["__qualname__"])
_MODULE = cast("GetSetDescriptorType", type.__dict__["__module__"])
_SIMPLE = (str, bytes, int, float, bool, type(None))
_OPTIMIZED = 1  # inspect.CO_OPTIMIZED; the variables of a function, not a namespace


def is_a(thing: object, *kinds: type) -> bool:
    """Whether a thing's class is one of these or derived from one, whatever it says itself."""
    return issubclass(type(thing), kinds)


def class_name(kind: type) -> str:
    """The name of a class, as its module and the classes around it have it."""
    name = _QUALNAME.__get__(kind)
    return name if type(name) is str else "?"


def class_module(kind: type) -> str:
    """The module that a class says it is from."""
    try:
        name = _MODULE.__get__(kind)
    except AttributeError:
        return "?"
    return name if type(name) is str else "?"


def full_name(kind: type) -> str:
    """`module.Class`, and a builtin's name alone."""
    module = class_module(kind)
    name = class_name(kind)
    return name if module in ("builtins", "?") else f"{module}.{name}"


def mro(kind: type) -> tuple[type, ...]:
    """The bases of a class in order."""
    return cast("tuple[type, ...]", _MRO.__get__(kind))


def namespace(kind: type) -> MappingProxyType[str, Any]:
    """What a class defines by itself."""
    return cast("MappingProxyType[str, Any]", _NAMESPACE.__get__(kind))


def attributes(thing: object) -> dict[str, Any] | None:
    """The `__dict__` of an instance, if it has one of the usual kind."""
    for kind in mro(type(thing)):
        found = namespace(kind).get("__dict__")
        if isinstance(found, GetSetDescriptorType | MemberDescriptorType):
            try:
                values = found.__get__(thing)
            except (AttributeError, TypeError):
                return None
            return values if type(values) is dict else None
        if found is not None:
            return None
    return None


def members(thing: object) -> Iterator[tuple[str, Any]]:
    """The slots of an instance, and what C shows of it as plain fields."""
    for kind in mro(type(thing)):
        for name, member in namespace(kind).items():
            if type(member) is MemberDescriptorType:
                try:
                    yield name, member.__get__(thing)
                except (AttributeError, TypeError):
                    continue


def attribute_of(holder: object, held: object) -> str | None:
    """The name of the attribute by which an instance holds an object."""
    for name, value in members(holder):
        if value is held and name != "__dict__":
            return name
    values = attributes(holder)
    if values is not None:
        for name, value in list(values.items()):
            if value is held:
                return name if type(name) is str else "?"
    return None


def items(mapping: dict[Any, Any]) -> list[tuple[Any, Any]]:
    """The items of a dictionary, whatever its class makes of them."""
    if is_a(mapping, OrderedDict):
        return list(OrderedDict.items(cast("OrderedDict[Any, Any]", mapping)))
    return list(dict.items(mapping))


def elements(container: object) -> list[Any] | None:
    """What is in a builtin container; the values of a mapping."""
    if is_a(container, dict):
        return [value for _, value in items(cast("dict[Any, Any]", container))]
    for kind in (list, tuple, set, frozenset, deque):
        if is_a(container, kind):
            return list(cast("Iterable[Any]", kind.__iter__(cast("Any", container))))
    return None


def one_element(container: object) -> list[Any]:
    """One of what is in a builtin container, if there is any; nothing is copied."""
    for kind in (dict, list, tuple, set, frozenset, deque):
        if is_a(container, kind):
            if kind is dict:
                inside = iter(dict.values(cast("dict[Any, Any]", container)))
            else:
                inside = kind.__iter__(cast("Any", container))
            try:
                return [next(inside)]
            except (StopIteration, RuntimeError):
                # Empty, or another thread changes it.
                return []
    return []


def show_key(key: object) -> str:
    """A key in brackets: text and numbers as they are, of all else the class."""
    if type(key) in _SIMPLE:
        text = repr(key)
        return text if len(text) <= 30 else f"{text[:27]}…"
    return f"<{class_name(type(key))}>"


def has_gil() -> bool:
    """Whether one thread runs Python code at a time."""
    return bool(getattr(sys, "_is_gil_enabled", lambda: True)())


def local_variables(frame: FrameType) -> list[tuple[str, Any]]:
    """The variables of a function that runs or is kept; not those of modules and class bodies."""
    if not frame.f_code.co_flags & _OPTIMIZED:
        return []
    variables = frame.f_locals
    found = list(variables.items())
    # Up to 3.12 the frame keeps this copy, which would hold what it names. Unless the function
    # itself has it, by `locals()`, it is emptied: the frame, this variable and the argument are 3.
    if sys.version_info < (3, 13) and sys.getrefcount(variables) <= 3:
        variables.clear()
    return found


def is_container(thing: object) -> bool:
    """Whether it is a builtin container, or derived from one."""
    return is_a(thing, dict, list, tuple, set, frozenset, deque)
