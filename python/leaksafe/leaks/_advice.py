"""What to use instead, judged by who holds what."""

from __future__ import annotations

import functools
import sys
import threading
from types import (
    BuiltinFunctionType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
    TracebackType,
)
from typing import Any, cast
from weakref import ReferenceType

from leaksafe.leaks import _plain
from leaksafe.leaks._names import Step, callable_name

_CALLABLE: tuple[type, ...] = (FunctionType, MethodType, BuiltinFunctionType, functools.partial)
_VARIABLE = "a variable of a function that still runs: del it when it is no longer needed"
_LRU = type(functools.lru_cache(maxsize=None)(lambda: None))


def advise(held: list[Any], chain: list[Any], steps: list[Step]) -> str:
    """Say what to do about objects that the first of a chain of holders holds.

    Args:
        held: some of the objects.
        chain: the holders, from the nearest to the root.
        steps: the same in words.

    """
    first = held[0] if held else None
    for judge in (
        _exception,
        _lru_cache,
        _task,
        _weak_reference,
        _thread,
        _listener,
        _one_instance,
    ):
        advice = judge(held, chain, steps)
        if advice:
            return advice
    kinds = {step.kind for step in steps}
    if steps and steps[-1].kind == "unknown":
        return (
            "a reference that only C code holds: look for an extension that gives a "
            "reference back once too seldom; "
            "leaks.repeat(…) tells how many it keeps a call"
        )
    advice = _parent(first, chain, steps)
    if advice:
        return advice
    if "atexit" in kinds:
        return (
            "atexit.unregister(…) when the object's time is over, or register a function "
            "that has it weakly"
        )
    if "generator" in kinds or type(first) is GeneratorType:
        return "exhaust the generator or close() it: until then it keeps its variables"
    if "thread-local" in kinds:
        return (
            "a thread-local lives as long as its thread: delete the attribute when the work "
            "is done, or use a `with`"
        )
    if not chain:
        return _VARIABLE
    container = chain[0]
    if _plain.is_a(container, dict) and is_data(container, chain):
        return (
            "a dict that only grows: leaksafe.LRUCache(maxsize), or TTLCache(maxsize, ttl) "
            "where entries age"
        )
    if "default" in kinds and _plain.elements(container) is not None:
        return (
            "a mutable default argument is made once and kept: default to None, and make a "
            "new one in the body"
        )
    if "closure" in kinds:
        return (
            "a closure keeps its variables as long as the function: hand in what it needs, "
            "or hold it weakly (weakref)"
        )
    if "default" in kinds:
        return "a default argument lives as long as the function: make the object in the body"
    if _plain.is_a(container, list, tuple) or type(container).__name__ == "deque":
        if "class" in kinds or "global" in kinds or "attribute" in kinds:
            return (
                "a list that only grows: leaksafe.LazyObjects where its objects are walked "
                "over, WeakList where others own "
                "them, deque(maxlen=…) for the last few"
            )
        return "leaksafe.LazyObjects makes the objects when they are looked at, and keeps none"
    if _plain.is_a(container, set, frozenset):
        return (
            "a set that only grows: leaksafe.WeakSet where others own its members, "
            "LRUCache(maxsize) else"
        )
    if "attribute" in kinds:
        return (
            "leaksafe.weakattr for an attribute that isn't to own, or set it to None when "
            "the object's time is over"
        )
    if "frame" in kinds or "local" in kinds:
        return _VARIABLE
    return (
        "drop the reference when the object's time is over, or hold it weakly (weakref, "
        "leaksafe.weakattr)"
    )


def is_data(container: Any, chain: list[Any]) -> bool:
    """Whether a dictionary isn't a module's, class's, function's or instance's namespace."""
    if len(chain) < 2:
        return True
    owner = chain[1]
    if _plain.is_a(owner, ModuleType, type):
        return False
    if _plain.is_a(owner, FunctionType):
        function = cast("FunctionType", owner)
        return container is not function.__globals__ and container is not function.__dict__
    return _plain.attributes(owner) is not container


def _exception(held: list[Any], chain: list[Any], steps: list[Step]) -> str | None:
    if not any(_plain.is_a(one, BaseException, TracebackType) for one in [*held[:1], *chain]):
        return None
    frames = [step.text for step in steps if step.kind == "frame"]
    what = f" ({frames[0]})" if frames else ""
    kept = steps[-1].text if steps else "C"
    return (
        f"an exception is kept with its frames{what} by {kept}: keep str(error), or "
        "traceback.clear_frames(error.__traceback__), or error.with_traceback(None)"
    )


def _lru_cache(held: list[Any], chain: list[Any], _steps: list[Step]) -> str | None:
    for holder in chain:
        if type(holder) is not _LRU:
            continue
        name = callable_name(holder)
        is_method = "." in name.rpartition("<locals>.")[2]
        bound = cast("Any", holder).cache_parameters()["maxsize"]
        if is_method:
            return (
                f"functools.lru_cache on the method {name} holds its instances: "
                "leaksafe.lru_cache doesn't hold self"
            )
        if bound is None:
            return (
                f"{name} has a cache without a bound: leaksafe.lru_cache(maxsize), or "
                "ttl_cache where results age"
            )
        return (
            f"the cache of {name} keeps up to {bound} results: a smaller maxsize, or cache_clear()"
        )
    return None


def _one_instance(held: list[Any], chain: list[Any], _steps: list[Step]) -> str | None:
    first = held[0] if held else None
    # The namespace of a class may be seen between it and what it holds.
    if not any(holder is type(first) for holder in chain[:2]):
        return None
    return (
        "a class that keeps its own instance: leaksafe.singleton builds it once, whatever thread "
        "asks, resets and closes it"
    )


def _task(held: list[Any], chain: list[Any], steps: list[Step]) -> str | None:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return None
    future = cast("type", asyncio.Future)
    if any(_plain.is_a(one, future) for one in held[:1]):
        return "tasks are kept after they are done: task.add_done_callback(tasks.discard)"
    if any(_plain.is_a(one, future) for one in chain):
        if steps[-1].kind == "task":
            return (
                "a task that still runs has it: await or cancel() the task, "
                "asyncio.timeout(…) bounds it"
            )
        return "tasks are kept after they are done: task.add_done_callback(tasks.discard)"
    if any(type(one) is CoroutineType for one in held[:1]):
        return "a coroutine that was never finished: await it, or close() it"
    return None


def _weak_reference(held: list[Any], chain: list[Any], _steps: list[Step]) -> str | None:
    import weakref  # noqa: PLC0415  # its internals are looked at here alone

    for holder in chain:
        if _plain.is_a(holder, ReferenceType):
            return (
                "the callback of a weak reference keeps it: leaksafe.weak_callback, or a "
                "function that doesn't have it"
            )
        if (
            _plain.is_a(holder, weakref.finalize)
            or holder is cast("Any", weakref.finalize)._registry
        ):
            return (
                "weakref.finalize holds its function and arguments until the object dies: "
                "they must not refer to it; "
                "leaksafe.weak_callback has them weakly"
            )
    if any(_plain.is_a(one, ReferenceType) for one in held[:1]):
        return (
            "weak references stay in the container when their objects have died: "
            "leaksafe.WeakList, WeakSet or WeakValueDictionary drop them"
        )
    return None


def _thread(held: list[Any], chain: list[Any], steps: list[Step]) -> str | None:
    if any(_plain.is_a(one, threading.Thread) for one in [*held[:1], *chain]):
        return (
            "a thread that is still there keeps what it was given: end it and join() it, or "
            "give it a weak reference"
        )
    if steps and " in thread " in steps[-1].text:
        return "a thread that still runs has it: end it and join() it"
    return None


def _listener(held: list[Any], chain: list[Any], _steps: list[Step]) -> str | None:
    container = chain[0] if chain else None
    some = _plain.elements(container) if container is not None else None
    if some is None or not held or not is_data(container, chain):
        return None
    if _plain.is_a(held[0], *_CALLABLE):
        return (
            "a list of listeners keeps them and their objects: leaksafe.WeakList, with "
            "leaksafe.weak_callback for methods"
        )
    return None


def _parent(first: Any, chain: list[Any], steps: list[Step]) -> str | None:
    """Whether a survivor is held by an attribute of what it holds itself: a link to the parent."""
    if first is None or not steps or steps[0].kind != "attribute":
        return None
    owner = next((one for one in chain[:2] if type(one) is not dict), None)
    if owner is None or not _holds(first, owner):
        return None
    return (
        f"{steps[0].text} is a link to the parent, which lives as long as its child: "
        "leaksafe.weakattr for that attribute"
    )


def _holds(owner: Any, wanted: Any) -> bool:
    """Whether an object refers to another by an attribute, or by a container in one."""
    values = [value for _, value in _plain.members(owner)]
    values += (_plain.attributes(owner) or {}).values()
    for value in values:
        if value is wanted:
            return True
        if any(one is wanted for one in _plain.elements(value) or ()):
            return True
    return False


def late(attribute: str | None) -> str:
    """What to do about objects that only a collection frees."""
    if attribute is None:
        return "that wait for the collector"
    return f"in cycles through `{attribute}`; weakattr frees them at once"
