"""Every example in the documentation runs, and everything public has one."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import leaksafe
from leaksafe import _core, leaks

pytestmark = pytest.mark.thread_unsafe(reason="the examples' output goes to the one sys.stdout")

ROOT = Path(__file__).resolve().parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE | doctest.IGNORE_EXCEPTION_DETAIL


def run(text: str, name: str, where: str | None, names: dict[str, Any]) -> int:
    """Run the examples of a text; how many there were."""
    # The end of a fenced block is no expected output.
    text = re.sub(r"(?m)^[ \t]*```.*$", "", text)
    test = doctest.DocTestParser().get_doctest(text, dict(names), name, where, 0)
    report: list[str] = []
    runner = doctest.DocTestRunner(optionflags=FLAGS, verbose=False)
    results = runner.run(test, out=report.append)
    assert results.failed == 0, "".join(report)
    return results.attempted


def public() -> Iterator[tuple[str, Any]]:
    """All that a user is to use, by its name: classes, functions, and what classes define."""
    for name in leaksafe.__all__:
        thing = getattr(leaksafe, name)
        if name.startswith("_"):
            continue
        yield name, thing
        if inspect.isclass(thing):
            fields = getattr(thing, "_fields", ())
            for member, value in vars(thing).items():
                if not member.startswith("_") and member not in fields:
                    yield f"{name}.{member}", getattr(value, "__func__", value)


def from_the_extension() -> Iterator[tuple[str, Any]]:
    """What the extension module itself defines, and what its classes do."""
    for name, thing in vars(_core).items():
        if name.startswith("_") or not callable(thing):
            continue
        yield name, thing
        if inspect.isclass(thing):
            for member, value in vars(thing).items():
                yield f"{name}.{member}", value


PUBLIC = dict(public())
EXTENSION = {name: thing for name, thing in from_the_extension() if getattr(thing, "__doc__", None)}
NAMES = {name: getattr(leaksafe, name) for name in leaksafe.__all__}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_examples_of_a_page(page: Path) -> None:
    run(page.read_text(encoding="utf-8"), page.name, str(page), {"__name__": "__main__"})


@pytest.mark.parametrize("page", [*PAGES, ROOT / "CHANGELOG.md"], ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    text = re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        other = page.parent / path if path else page
        assert other.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", other.read_text(encoding="utf-8"), re.MULTILINE)
            anchors = {re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings}
            assert anchor in anchors, f"{page.name} links to {target}"


def test_the_readme_has_examples() -> None:
    assert ">>> " in (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("name", PUBLIC)
def test_everything_public_is_documented_by_example(name: str) -> None:
    thing = PUBLIC[name]
    text = inspect.getdoc(thing)
    assert text, f"{name} has no docstring"
    if callable(thing):
        assert ">>> " in text, f"the docstring of {name} has no example"
    run(text, name, None, NAMES)


@pytest.mark.parametrize("name", EXTENSION)
def test_examples_of_the_extension(name: str) -> None:
    text = inspect.getdoc(EXTENSION[name])
    assert text
    run(text, name, None, NAMES)


def test_the_package_says_what_it_is() -> None:
    assert leaksafe.__doc__
    run(leaksafe.__doc__, "leaksafe", None, NAMES)


@pytest.mark.parametrize("name", leaks.__all__)
def test_examples_of_leaks(name: str) -> None:
    thing = getattr(leaks, name)
    assert ">>> " in thing.__doc__, f"the docstring of {name} has no example"
    methods = {f"{name}.{one}": member for one, member in vars(thing).items() if one[0] != "_"}
    for where, one in {name: thing, **methods}.items():
        text = inspect.getdoc(one)
        if text and ">>> " in text:
            run(text, where, None, {"__name__": "__main__"})


@pytest.mark.parametrize("name", ["cachetools", "cachetools.keys", "cachetools.func"])
def test_examples_of_the_stand_ins(name: str) -> None:
    module = importlib.import_module(f"leaksafe.compat.{name}")
    assert module.__doc__
    assert run(module.__doc__, name, None, vars(module))


def test_signatures_can_be_inspected() -> None:
    assert list(inspect.signature(leaksafe.LRUCache).parameters) == [
        "maxsize",
        "getsizeof",
        "max_bytes",
        "on_remove",
    ]
    signatures = {
        "get": ["self", "key", "default"],
        "peek": ["self", "key", "default"],
        "setdefault": ["self", "key", "default"],
        "get_or_create": ["self", "key", "factory"],
        "resize": ["self", "maxsize"],
        "popitem": ["self"],
        "clear": ["self"],
        "close": ["self"],
        "stats": ["self"],
    }
    for name, parameters in signatures.items():
        assert list(inspect.signature(getattr(leaksafe.LRUCache, name)).parameters) == parameters


def test_every_page_is_in_the_site() -> None:
    def targets(part: Any) -> Iterator[str]:
        if isinstance(part, str):
            yield part
        else:
            for one in part.values() if isinstance(part, dict) else part:
                yield from targets(one)

    config = tomllib.loads((ROOT / "docs" / "zensical.toml").read_text(encoding="utf-8"))
    listed = list(targets(config["project"]["nav"]))
    assert len(listed) == len(set(listed))
    # Those that tools/build_docs.py makes.
    made = {"readme.md", "changelog.md"} | {one for one in listed if one.startswith("reference/")}
    assert set(listed) - made == {page.name for page in PAGES if page.parent.name == "docs"}


def test_the_drawing_of_the_house_is_true() -> None:
    text = (ROOT / "docs" / "contributing.md").read_text(encoding="utf-8")
    drawing = text.split("```text\n")[1].split("```")[0]
    where, seen = ROOT, 0
    for line in drawing.splitlines():
        # What is drawn ends where two spaces and words begin that name no file.
        for name in re.findall(r"(?<!\S)[\w./]+(?:/|\.rs|\.pyi?)(?!\S)", line):
            if name.startswith(("python/", "src/")):
                where = ROOT / name
            assert (where if where == ROOT / name else where / name).exists(), name
            seen += 1
    assert seen > 30


def test_the_pages_of_leaks_are_complete() -> None:
    """Each says what the pattern is, why it leaks, the cure, and how to see it."""
    pages = sorted((ROOT / "docs").glob("leak-*.md"))
    assert len(pages) == 5
    for page in pages:
        text = page.read_text(encoding="utf-8")
        headings = re.findall(r"^## (.*)$", text, re.MULTILINE)
        assert [one for one in headings if not one.startswith("The usual cure")] == [
            "The pattern",
            "Why it leaks",
            "The cure",
            "How to see it",
        ], page.name
