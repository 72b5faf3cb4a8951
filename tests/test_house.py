"""The house, as docs/design.md draws it: what may use what, and how long a file may be."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "python" / "leaksafe"

if not (ROOT / "src").is_dir():  # the tests of an installed package
    pytest.skip("the sources are not here", allow_module_level=True)


def code(path: Path) -> str:
    """A file of Rust without comments, and without what is in quotes."""
    text = re.sub(r"//[^\n]*", "", path.read_text(encoding="utf-8"))
    return re.sub(r'"(?:\\.|[^"\\])*"', '""', text)


def rust(folder: str) -> list[Path]:
    found = sorted((ROOT / "src" / folder).rglob("*.rs"))
    assert found
    return found


@pytest.mark.parametrize(
    ("folder", "others"),
    [
        ("core", r"\bpyo3\b|\blibc\b|\bffi\b|\bunsafe\b|\b(?:interop|types)::"),
        ("interop", r"\bcrate::types\b"),
        ("types", r"\bunsafe\b"),
    ],
)
def test_no_arrow_points_back(folder: str, others: str) -> None:
    found = [
        f"{path.relative_to(ROOT)}: {match[0]}"
        for path in rust(folder)
        for match in re.finditer(others, code(path).replace("forbid(unsafe_code)", ""))
    ]
    assert not found


def test_core_forbids_unsafe_to_the_compiler_too() -> None:
    assert "#![forbid(unsafe_code)]" in (ROOT / "src" / "core" / "mod.rs").read_text()


def test_each_unsafe_block_is_argued() -> None:
    """A comment with SAFETY stands above the statement that has the block."""
    unargued: list[str] = []
    count = 0
    for path in rust("interop"):
        lines = path.read_text(encoding="utf-8").splitlines()
        for number, line in enumerate(lines):
            if not re.search(r"\bunsafe (\{|impl\b)", line.partition("//")[0]):
                continue
            count += 1
            if not any("// SAFETY: " in above for above in _statement(lines, number)):
                unargued.append(f"{path.relative_to(ROOT)}:{number + 1}: {line.strip()}")
    assert count > 50
    assert not unargued


def _statement(lines: list[str], number: int) -> Iterator[str]:
    """The lines above one, up to the end of the statement before and of its comment."""
    comment = False
    while number:
        number -= 1
        line = lines[number].strip()
        if line.startswith("//"):
            comment = True
        elif comment or not line or line.endswith(("}", ";")):
            return
        yield line


# What modules of the package may import of it. The others are what users run, and may use all.
LAYERS = {
    # The containers and decorators: of those who look at them, nothing, and each other by name.
    r"leaksafe(\._(?!scan|pytest|_main)\w+)?": r"leaksafe\._(?!scan|pytest|_main)\w+",
    # Reads code, and knows nothing of what it is about.
    r"leaksafe\._scan\b.*": r"leaksafe\._scan\b.*",
    # Looks at any object.
    r"leaksafe\.leaks\b.*": r"leaksafe(\.leaks\b.*|\._core)?",
    # Stands on what users have, too.
    r"leaksafe\.compat\b.*": r"leaksafe(\.compat\b.*|\._core)?",
}


def imports(path: Path) -> Iterator[str]:
    """The modules of this package that a module of it imports, wherever it does so."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: a relative import"
            module = node.module or ""
            below = PACKAGE.joinpath(*module.split(".")[1:])
            for alias in node.names:
                inside = any(below.glob(f"{alias.name}.py*")) or (below / alias.name).is_dir()
                yield f"{module}.{alias.name}" if inside else module
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("layer", LAYERS)
def test_pythons_layers(layer: str) -> None:
    found: list[str] = []
    modules = 0
    for path in sorted(PACKAGE.rglob("*.py")):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        module = ".".join(part for part in parts if part != "__init__")
        if re.fullmatch(layer, module):
            modules += 1
            found += [
                f"{module} imports {other}"
                for other in imports(path)
                if re.match(r"leaksafe\b", other) and not re.fullmatch(LAYERS[layer], other)
            ]
    assert modules > 3
    assert not found


LONGEST = 600
# One class after the other, without code: nowhere to cut.
LONG = {"python/leaksafe/_core.pyi"}


def test_no_file_is_too_long() -> None:
    folders = ("src", "python", "tests", "benches", "examples", "safety", "tools")
    files = [path for folder in folders for path in (ROOT / folder).rglob("*") if path.is_file()]
    lengths = {
        path.relative_to(ROOT).as_posix(): path.read_text(encoding="utf-8").count("\n")
        for path in files
        if path.suffix in (".rs", ".py", ".pyi", ".sh", "") and "__pycache__" not in path.parts
    }
    assert len(lengths) > 150
    assert {path for path, length in lengths.items() if length > LONGEST} == LONG
