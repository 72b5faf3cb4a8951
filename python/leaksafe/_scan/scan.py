"""Scans sources, files and trees of files."""

from __future__ import annotations

import ast
import io
import re
import tokenize
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path

from leaksafe._scan.containers import Containers
from leaksafe._scan.finding import UNREADABLE, Finding, Suspicion
from leaksafe._scan.module import Module, last_name, let_go
from leaksafe._scan.rules import ALL

_NOQA = re.compile(r"#\s*noqa(?P<codes>\s*:\s*[A-Z]+[0-9]+(?:[\s,]+[A-Z]+[0-9]+)*)?", re.IGNORECASE)


@dataclass
class Scanned:
    """What one file says by itself, and what it says about others."""

    path: str
    errors: list[Finding] = field(default_factory=list[Finding])
    suspicions: list[Suspicion] = field(default_factory=list[Suspicion])
    emptied: set[str] = field(default_factory=set[str])
    """Names of containers, made elsewhere, that this file takes from."""
    let_go: set[str] = field(default_factory=set[str])
    """Attributes that it sets to None or to something empty."""
    called_at_import: set[str] = field(default_factory=set[str])
    silenced: dict[int, frozenset[str] | None] = field(
        default_factory=dict[int, frozenset[str] | None]
    )
    """The codes that a comment silences by line, None for all."""


def scan_source(source: bytes, path: str) -> Scanned:
    """Look at one module; nothing of it is run."""
    scanned = Scanned(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of the scanned code: not what was asked
            tree = ast.parse(source)
    except SyntaxError as error:
        line, column = error.lineno or 1, error.offset or 1
        scanned.errors.append(_unreadable(path, f"can't be parsed: {error.msg}", line, column))
    except (ValueError, RecursionError, MemoryError) as error:
        reason = str(error) or "it is nested too deeply"
        scanned.errors.append(_unreadable(path, f"can't be parsed: {reason}"))
    else:
        module = Module(tree)
        containers = Containers(module)
        for rule in ALL:
            scanned.suspicions.extend(rule(module, containers))
        scanned.emptied = containers.emptied_elsewhere
        scanned.let_go = let_go(module)
        scanned.called_at_import = _called_at_import(module)
        scanned.silenced = _silenced(source)
    return scanned


def scan_file(path: Path) -> Scanned:
    """Look at one file."""
    name = path.as_posix()
    try:
        source = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        return Scanned(name, [_unreadable(name, f"can't be read: {reason}")])
    return scan_source(source, name)


def scan(
    files: Iterable[Path], wanted: Callable[[str], bool], progress: Callable[[str], None]
) -> list[Finding]:
    """Look at files together: what one suspects, another may clear."""
    all_scanned: list[Scanned] = []
    for file in files:
        progress(file.as_posix())
        all_scanned.append(scan_file(file))
    return judge(all_scanned, wanted)


def judge(all_scanned: list[Scanned], wanted: Callable[[str], bool]) -> list[Finding]:
    """Return what remains when all files are known and comments are heard."""
    emptied = {name for one in all_scanned for name in one.emptied}
    gone = {name for one in all_scanned for name in one.let_go}
    called = {name for one in all_scanned for name in one.called_at_import}
    found: list[Finding] = []
    for one in all_scanned:
        found += one.errors
        for suspicion in one.suspicions:
            if not wanted(suspicion.rule.code):
                continue
            if suspicion.emptied_as & emptied or suspicion.let_go_as & gone:
                continue
            if suspicion.functions & called:
                continue
            if not _is_silenced(one, suspicion):
                found.append(suspicion.at(one.path))
    return sorted(found, key=lambda one: (one.path, one.line, one.column, one.rule.code))


def _unreadable(path: str, what: str, line: int = 1, column: int = 1) -> Finding:
    return Finding(UNREADABLE, path, line, column, what, "it was not scanned", "")


def _called_at_import(module: Module) -> set[str]:
    """Return the names of functions and classes called or used as decorators by an import."""
    called: set[str] = set()
    for call in module.all(ast.Call):
        if module.scopes[call].at_import:
            called.add(_called_name(module, call.func))
    for made in (*module.functions, *module.all(ast.ClassDef)):
        if made.decorator_list and module.scopes[made].at_import:
            called.update(_called_name(module, decorator) for decorator in made.decorator_list)
    return called


def _called_name(module: Module, function: ast.expr) -> str:
    """Return the name of a function, with a dot before it if it is a method of some object."""
    while isinstance(function, ast.Call):
        function = function.func
    match function:
        case ast.Attribute(ast.Name(base), name) if base in module.imported:
            return name
        case ast.Attribute(_, name):
            return f".{name}"
        case _:
            pass
    return last_name(function)


def _silenced(source: bytes) -> dict[int, frozenset[str] | None]:
    if b"noqa" not in source.lower():
        return {}
    encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    # as the parser counts them: a form feed ends no line
    lines = re.split(r"\r\n|\r|\n", source.decode(encoding, errors="replace"))
    silenced: dict[int, frozenset[str] | None] = {}
    for number, line in enumerate(lines, 1):
        found = _NOQA.search(line)
        if found:
            codes = found["codes"]
            every = re.findall(r"[A-Z]+[0-9]+", codes.upper()) if codes else None
            silenced[number] = None if every is None else frozenset(every)
    return silenced


def _is_silenced(scanned: Scanned, suspicion: Suspicion) -> bool:
    # a comment stands behind the last line of what takes several
    node = suspicion.node
    simple = not hasattr(node, "body")
    last = (node.end_lineno or node.lineno) if simple else node.lineno
    for line in {node.lineno, last}:
        if line in scanned.silenced:
            codes = scanned.silenced[line]
            if codes is None or suspicion.rule.code in codes:
                return True
    return False
