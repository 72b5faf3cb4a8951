"""Running a program in this process, as `python` would."""

from __future__ import annotations

import ast
import importlib.util
import os
import sys
import threading
import time
from collections.abc import Callable, Sequence
from importlib.abc import InspectLoader
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from pathlib import Path
from types import ModuleType
from typing import Any, cast

_BEGIN = "__leaksafe_begin__"
_DEFINITIONS = (
    ast.Import,
    ast.ImportFrom,
    ast.FunctionDef,
    ast.AsyncFunctionDef,
    ast.ClassDef,
)
_INTERRUPTED = 130


class ProgramError(Exception):
    """There is no such program, or its source isn't there."""


class Program:
    """A script, a directory or archive with a `__main__`, or a module, to be run as `__main__`.

    Args:
        path: a file, directory or archive, where no `module` is given.
        module: the name of a module or package.
        arguments: what `sys.argv` is to have after the program's name.

    Raises:
        ProgramError: there is none, or it has no source.
        SyntaxError: it has a source that isn't Python.

    """

    def __init__(self, path: str | None, module: str | None, arguments: Sequence[str]) -> None:
        self.main = ModuleType("__main__")
        spec: ModuleSpec | None
        if module is not None:
            _set_path(str(Path.cwd()))
            spec = _spec_of(module)
        else:
            path = path or ""
            # What the program imports is looked up beside it.
            whole = Path(path).is_dir() or not path.endswith((".py", ".pyw"))
            spec = PathFinder.find_spec("__main__", [path]) if whole else None
            if spec is None and Path(path).is_dir():
                raise ProgramError(f"{path} has no __main__.py")
            beside = str(Path(os.path.realpath(path)).parent)
            _set_path(beside if spec is None else path)
        if spec is None:
            file = cast("str", path)
            self.main.__loader__ = SourceFileLoader("__main__", file)
            try:
                source: str | bytes = Path(file).read_bytes()
            except OSError as error:
                raise ProgramError(f"can't read {file}: {error.strerror}") from None
        else:
            file, source = _source(spec)
            self.main.__spec__ = spec
            self.main.__loader__ = spec.loader
            self.main.__package__ = spec.parent
        self.main.__file__ = file
        vars(self.main)["__builtins__"] = sys.modules["builtins"]
        tree = ast.parse(source, file)
        at = _main_part(tree)
        begin = ast.Expr(ast.Call(ast.Name(_BEGIN, ast.Load()), [], []))
        ast.copy_location(begin, tree.body[at] if at < len(tree.body) else ast.Pass())
        tree.body.insert(at, begin)
        self._code = compile(ast.fix_missing_locations(tree), file, "exec", dont_inherit=True)
        sys.argv = [file if module is not None else cast("str", path), *arguments]

    def run(self, begin: Callable[[], object]) -> int:
        """Run it, and wait for its threads but the daemons; return the exit status.

        `begin` is called before its main part: what comes after its last import and definition.
        """
        values = vars(self.main)

        def begin_once() -> None:
            values.pop(_BEGIN, None)
            begin()

        values[_BEGIN] = begin_once
        sys.modules["__main__"] = self.main
        status = _status(self._code, values)
        try:
            _wait_for_threads()
        except KeyboardInterrupt:
            status = _INTERRUPTED
        sys.stdout.flush()
        return status


def _set_path(first: str) -> None:
    if not sys.flags.safe_path:
        sys.path[0] = first


def _spec_of(module: str) -> ModuleSpec:
    try:
        spec = importlib.util.find_spec(module)
        if spec is not None and spec.submodule_search_locations is not None:
            module += ".__main__"
            spec = importlib.util.find_spec(module)
    except (ImportError, ValueError) as error:
        raise ProgramError(f"can't find the module {module}: {error}") from None
    if spec is None:
        raise ProgramError(f"there is no module {module}")
    return spec


def _source(spec: ModuleSpec) -> tuple[str, str]:
    loader = spec.loader
    source = loader.get_source(spec.name) if isinstance(loader, InspectLoader) else None
    # That of an archive is registered as none.
    if source is None and hasattr(loader, "get_source"):
        source = cast("Any", loader).get_source(spec.name)
    if source is None:
        raise ProgramError(f"the module {spec.name} has no source")
    return spec.origin or spec.name, source


def _main_part(tree: ast.Module) -> int:
    """Where the first statement after all definitions is; 0 if there is none."""
    after = 1 + max(
        (at for at, one in enumerate(tree.body) if isinstance(one, _DEFINITIONS)), default=-1
    )
    if after < len(tree.body):
        # With no definition at all, what must come first stays there: the docstring.
        return after or int(ast.get_docstring(tree) is not None)
    futures = [
        at
        for at, one in enumerate(tree.body)
        if isinstance(one, ast.ImportFrom) and one.module == "__future__"
    ]
    return 1 + max(futures, default=-1 if ast.get_docstring(tree) is None else 0)


def _status(code: Any, values: dict[str, Any]) -> int:
    """Run the code; return what `python` would exit with."""
    try:
        exec(code, values)
    except SystemExit as ended:
        if ended.code is None or isinstance(ended.code, int):
            return ended.code or 0
        print(ended.code, file=sys.stderr)
        return 1
    except BaseException as error:  # noqa: BLE001  # all that ends a program
        below = error.__traceback__ and error.__traceback__.tb_next
        sys.excepthook(type(error), error.with_traceback(below), below)
        del below  # whose frames know this one
        return _INTERRUPTED if isinstance(error, KeyboardInterrupt) else 1
    return 0


def _wait_for_threads() -> None:
    due = time.monotonic() + 1
    while True:
        threads = [
            one
            for one in threading.enumerate()
            if not one.daemon and one is not threading.current_thread()
        ]
        if not threads:
            return
        threads[0].join(0.1)
        if time.monotonic() > due:
            due = float("inf")
            names = ", ".join(one.name for one in threads)
            note(f"waiting for threads: {names} (Ctrl-C: report now)")


def note(text: str) -> None:
    """Say on a terminal what takes its time."""
    if sys.stderr.isatty():
        print(f"leaksafe: {text}", file=sys.stderr, flush=True)
