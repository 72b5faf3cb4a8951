"""Why an object is alive."""

from __future__ import annotations

import gc
import inspect
from types import FrameType
from typing import cast
from weakref import ReferenceType

from leaksafe import _core
from leaksafe.leaks import _names, _plain
from leaksafe.leaks._roots import Roots

_CHAINS = 3


class LeakError(AssertionError):
    """Something is still there that should be gone. The message says who holds it.

    >>> from leaksafe import leaks
    >>> issubclass(leaks.LeakError, AssertionError)     # so that a test fails, and no more
    True

    """


def why_alive(obj: object, /, *, chains: int = _CHAINS) -> str:
    """Say who holds an object, and who holds that, up to a root.

    Roots are the globals of modules, the variables of running functions in every thread, tasks that
    are not done, thread-locals, `atexit` callbacks, and what only C holds. Each line is the
    shortest chain by one of the holders, the nearest holder first. The variables of the caller
    count only where nothing else holds the object. No code of the objects runs.

    Args:
        obj: any object.
        chains: how many chains at most, from 1.

    Returns:
        A line for each chain, and a headline.

    Raises:
        ValueError: `chains` is less than 1.

    O(n) in all objects of the program: for a million of them some 0.2 s, and 60 bytes each.

    >>> from leaksafe import leaks
    >>> class Service:
    ...     def __init__(self):
    ...         self.handlers = []
    >>> class Handler: pass
    >>> def service_with(handler):
    ...     service = Service()
    ...     service.handlers.append(handler)
    ...     return service
    >>> def main():
    ...     handler = Handler()
    ...     service = service_with(handler)
    ...     print(leaks.why_alive(handler))
    >>> main()
    a ...Handler is alive:
      Service.handlers[0] ← local service of main() at ...

    """
    if chains < 1:
        raise ValueError(f"chains must be at least 1, not {chains}")
    frame = inspect.currentframe()
    caller = None if frame is None else frame.f_back
    del frame
    lines, local = explain(obj, caller, chains)
    head = f"a {_plain.full_name(type(obj))} is alive:"
    if not lines:
        lines = [f"only {local} holds it" if local else "nothing visible holds it"]
    return "\n  ".join([head, *lines])


def explain(
    target: object, caller: FrameType | None, most: int, *, as_variable: bool = True
) -> tuple[list[str], str | None]:
    """The chains to an object in words, and the variable by which the caller has it.

    `as_variable` says whether the caller handed over the object itself.
    """
    lines, local, unseen = _lines(target, caller, most)
    if not lines:
        # This call has references to the object too. How many depends on the version of Python: as
        # many as it has to another object, that nobody else has.
        if as_variable:
            own = object()
            unseen -= _as_why_alive(own) - (local is None)
        else:
            unseen -= _as_why_alive(object()) + (local is not None)
        if unseen > 0:
            lines.append(_names.held_by_c(unseen))
    return lines, local


def _as_why_alive(obj: object) -> int:
    return _as_explain(obj)


def _as_explain(target: object) -> int:
    return _lines(target, None, 1)[2]


def _lines(
    target: object, caller: FrameType | None, most: int
) -> tuple[list[str], str | None, int]:
    roots = Roots(caller, target)
    found, unseen = _core._chains(target, roots.objects, [], most)
    lines: list[str] = []
    for chain in found:
        line = _names.join(_names.steps(chain, roots))
        if line not in lines:
            lines.append(line)
    return lines, roots.caller_has, unseen


def expect_gone(obj: object, /) -> None:
    """Raise LeakError if an object that should be gone by now is held by anyone but the caller.

    To be called where a thing's life ends: a request was answered, a window closed. A full garbage
    collection comes first, so that what waits for one counts as gone. The idea is LeakCanary's.

    Args:
        obj: the object, or a weak reference to it. Of an object, the variables of the calling
            function don't count.

    Raises:
        LeakError: with the shortest chains of holders.

    Costs as `why_alive` and a full collection.

    >>> from leaksafe import leaks
    >>> class View: pass
    >>> shown = []
    >>> def close():
    ...     view = View()
    ...     leaks.expect_gone(view)     # only this function has it
    ...     shown.append(view)
    ...     leaks.expect_gone(view)
    >>> close()
    Traceback (most recent call last):
        ...
    leaksafe.leaks.LeakError: ...

    """
    gc.collect()
    is_reference = _plain.is_a(obj, ReferenceType)
    if is_reference:
        obj = cast("ReferenceType[object]", obj)()
        if obj is None:
            return
    frame = inspect.currentframe()
    caller = None if frame is None else frame.f_back
    del frame
    lines, local = explain(obj, caller, _CHAINS, as_variable=not is_reference)
    if is_reference and not lines:
        lines = [f"only {local} holds it" if local else "nothing visible holds it"]
    if lines:
        head = f"a {_plain.full_name(type(obj))} should be gone, and is held by:"
        raise LeakError("\n  ".join([head, *lines]))
