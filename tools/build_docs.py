"""Builds the site of the documentation into `target/docs/html`, and fails at any warning.

The pages are those of `docs/`, as they are read in the repository. Added to them are what lies
beside `docs/` (the README, the changelog, the licences) and a reference, made from the docstrings.
"""

import importlib
import inspect
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "docs"
PAGES = WORK / "source"
# What lies beside docs/, and the name that it has in the site.
BESIDE = {
    "README.md": "readme.md",
    "CHANGELOG.md": "changelog.md",
    "CONTRIBUTING.md": "contribute.md",
    "SECURITY.md": "security.md",
    "LICENSE-MIT": "LICENSE-MIT.txt",
    "LICENSE-APACHE": "LICENSE-APACHE.txt",
}
REFERENCE = ["leaksafe", "leaksafe.leaks", "leaksafe.sweeper"]
SECTIONS = {"Args:": "Arguments", "Returns:": "Returns", "Raises:": "Raises", "Yields:": "Yields"}


def moved(text: str, *, beside: bool) -> str:
    """Return a page whose links are right in the site, where all pages lie in one directory."""
    for name, here in BESIDE.items():
        there = name if beside else f"../{name}"
        text = re.sub(rf"\]\({re.escape(there)}(?=[)#])", f"]({here}", text)
    return re.sub(r"\]\(docs/", "](", text) if beside else text


def as_markdown(docstring: str) -> Iterator[str]:
    """Yield the lines of a docstring: its examples fenced, its sections as lists."""
    fenced = section = False
    for line in docstring.splitlines():
        text = line.strip()
        if fenced and not text:
            yield "```"
            fenced = False
        if not fenced and text.startswith(">>> "):
            yield from ("", "```python")
            fenced = True
        if fenced:
            yield line.removeprefix("    ") if section else line
        elif text in SECTIONS and line == text:
            yield from ("", f"**{SECTIONS[text]}**", "")
            section = True
        elif section and text and not line.startswith("    "):
            section = False
            yield from ("", text)
        elif section and text:
            name, colon, rest = text.partition(": ")
            starts = not line.startswith("     ")
            item = f"- `{name}`: {rest}" if colon and "`" not in name else f"- {text}"
            yield item if starts else f"  {text}"
        else:
            yield line
    if fenced:
        yield "```"


def signature(thing: object) -> str:
    """Return how it is called, without types, which the stubs have."""
    if not callable(thing):
        return ""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return ""
    plain = [one.replace(annotation=one.empty) for one in found.parameters.values()]
    text = str(found.replace(parameters=plain, return_annotation=found.empty))
    text = re.sub(r"\((?:self|cls)(?:, /)?(?:, )?", "(", text).replace("=Ellipsis", "=...")
    return text if len(text) < 60 else text.replace("(", "(\n    ", 1).replace(", ", ",\n    ")


def described(name: str, thing: object, level: int) -> Iterator[str]:
    """Yield the lines of what is public, and of what its class defines."""
    text = inspect.getdoc(thing) if not isinstance(thing, str) else None
    if not text:
        return
    yield from ("", f"{'#' * level} {name}", "")
    if how := signature(thing):
        yield from ("```python", f"{name}{how}", "```", "")
    yield from as_markdown(text)
    if inspect.isclass(thing):
        for member, value in sorted(vars(thing).items()):
            if not member.startswith("_") and member not in getattr(thing, "_fields", ()):
                inner = getattr(value, "__func__", value)
                yield from described(f"{name}.{member}", inner, level + 1)


def reference(module: ModuleType) -> str:
    """Return the page about a module."""
    lines = [f"# {module.__name__}", "", *as_markdown(inspect.getdoc(module) or "")]
    for name in sorted(module.__all__, key=str.lower):
        lines += described(name, getattr(module, name), 2)
    return "\n".join(lines) + "\n"


def main() -> int:
    """Put the pages together, have them built, and return what that returned."""
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.copytree(ROOT / "docs", PAGES)
    shutil.move(PAGES / "zensical.toml", WORK)
    for page in PAGES.rglob("*.md"):
        page.write_text(moved(page.read_text("utf-8"), beside=False), "utf-8")
    for name, here in BESIDE.items():
        (PAGES / here).write_text(moved((ROOT / name).read_text("utf-8"), beside=True), "utf-8")
    (PAGES / "reference").mkdir()
    for name in REFERENCE:
        page = PAGES / "reference" / f"{name}.md"
        page.write_text(reference(importlib.import_module(name)), "utf-8")
    command = ["build", "--strict", "--clean", "--config-file", str(WORK / "zensical.toml")]
    ended = subprocess.run([sys.executable, "-m", "zensical", *command], check=False)
    if ended.returncode == 0:
        print("built:", (WORK / "html" / "index.html").relative_to(ROOT))
    return ended.returncode


if __name__ == "__main__":
    sys.exit(main())
