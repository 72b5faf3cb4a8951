"""Where chains of holders begin: modules, running functions, tasks, thread-locals, `atexit`."""

from __future__ import annotations

import atexit
import sys
import threading
from pathlib import PurePath
from types import FrameType, ModuleType
from typing import Any, cast

from leaksafe import _core
from leaksafe.leaks import _plain

_OURS = "leaksafe.leaks"


class Roots:
    """Roots, the preferred first, and what each is called.

    Args:
        caller: a frame whose variables are roots of the last resort, since they are how the one who
            asks knows an object.
        object: the object that is asked about.

    """

    __slots__ = ("_names", "caller_has", "namespaces", "objects")

    def __init__(self, caller: FrameType | None = None, target: object = None) -> None:
        self.objects: list[Any] = []
        self._names: dict[int, str] = {}
        self.caller_has: str | None = None
        for module in _modules():
            self._add(module, "")
        for task, name in _tasks():
            self._add(task, name)
        for callback in _atexit_callbacks():
            self._add(callback, f"atexit callback {_callable_name(callback)}")
        for values in _thread_local_values():
            self._add(values, "thread-local")
        last: list[tuple[Any, str]] = []
        self.namespaces: set[int] = set()
        """The globals of what runs, by id: they needn't be a module's."""
        for frame, thread in _frames():
            self.namespaces.add(id(frame.f_globals))
            if frame.f_globals.get("__name__", "").startswith(_OURS):
                continue
            for name, value in _plain.local_variables(frame):
                text = f"local {name} of {where(frame)}{thread}"
                if caller is not None and frame is caller:
                    if value is target:
                        self.caller_has = text
                        continue
                    last.append((value, text))
                else:
                    self._add(value, text)
        for value, text in last:
            self._add(value, text)

    def _add(self, root: Any, name: str) -> None:
        if id(root) not in self._names:
            self._names[id(root)] = name
            self.objects.append(root)

    def name(self, root: object) -> str | None:
        """What a root is called: empty for a module, None for what is no root."""
        return self._names.get(id(root))


def where(frame: FrameType) -> str:
    """A function that runs, with the line that it is at."""
    code = frame.f_code
    return f"{code.co_qualname}() at {PurePath(code.co_filename).name}:{frame.f_lineno}"


def module_name(module: ModuleType) -> str:
    """What a module is called in a report: its file, or its name where that says more."""
    values = _plain.attributes(module) or {}
    name = values.get("__name__")
    file = values.get("__file__")
    if type(file) is str and file.endswith(".py") and not file.endswith("__init__.py"):
        return PurePath(file).name
    return name if type(name) is str else "a module"


def _modules() -> list[ModuleType]:
    """Modules of the program first, then those of packages, then Python's own."""
    ranked: list[tuple[int, ModuleType]] = []
    for name, module in list(sys.modules.items()):
        if not _plain.is_a(module, ModuleType):
            continue
        top = name.partition(".")[0]
        if name == "__main__":
            rank = 0
        elif top == "leaksafe":
            rank = 2
        else:
            rank = 3 if top in sys.stdlib_module_names else 1
        ranked.append((rank, module))
    ranked.sort(key=lambda pair: pair[0])
    return [module for _, module in ranked]


def _frames() -> list[tuple[FrameType, str]]:
    """Every function that runs, the innermost of each thread first; and the thread but the main.

    Without the GIL those of this thread only: variables of a function that runs in another can't be
    read without a risk for the interpreter.
    """
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    main = threading.main_thread().ident
    found: list[tuple[FrameType, str]] = []
    for ident, top in sys._current_frames().items():  # pyright: ignore[reportPrivateUsage]  # it is documented
        if ident != threading.get_ident() and not _plain.has_gil():
            continue
        thread = "" if ident == main else f" in thread {names.get(ident, ident)!r}"
        frame: FrameType | None = top
        while frame is not None:
            found.append((frame, thread))
            frame = frame.f_back
    return found


def _tasks() -> list[tuple[Any, str]]:
    asyncio = sys.modules.get("asyncio")
    if asyncio is None:
        return []
    tasks = _core._instances([asyncio.tasks.Task, asyncio.tasks._PyTask])
    return [(task, f"running task {task.get_name()!r}") for task in tasks if not task.done()]


class _Probe:
    """Equal to nothing, and told what it is compared with."""

    def __init__(self) -> None:
        self.seen: list[Any] = []

    def __eq__(self, other: object) -> bool:
        self.seen.append(other)
        return False

    __hash__ = None  # type: ignore[assignment]


def _atexit_callbacks() -> list[Any]:
    """What is registered with `atexit`, which compares each with what is to be taken out."""
    probe = _Probe()
    atexit.unregister(cast("Any", probe))
    return probe.seen


def _thread_local_values() -> list[dict[str, Any]]:
    """The values of this thread in each `threading.local` that runs no code when it is asked."""
    kind = threading.local
    return [kind.__getattribute__(one, "__dict__") for one in _core._instances([kind])]


def _callable_name(thing: object) -> str:
    from leaksafe.leaks import _names  # noqa: PLC0415  # it needs this module

    return _names.callable_name(thing)
