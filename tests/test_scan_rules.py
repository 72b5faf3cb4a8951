"""What `leaksafe scan` finds in source, and what it leaves alone."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest

from leaksafe._scan.finding import RULES
from leaksafe._scan.scan import judge, scan_source
from scan_harmless import HARMLESS
from scan_leaks import CACHE, LEAKS


def found(*sources: str) -> list[tuple[str, int]]:
    """Code and line of each finding in files that are scanned together."""
    scanned = [
        scan_source(dedent(source).encode(), f"{number}.py")
        for number, source in enumerate(sources)
    ]
    return [(one.rule.code, one.line) for one in judge(scanned, lambda code: True)]


@pytest.mark.parametrize("name", LEAKS)
def test_leaks_are_found(name: str) -> None:
    source, expected = LEAKS[name]
    assert found(source) == expected


@pytest.mark.parametrize("name", HARMLESS)
def test_what_does_not_leak_is_left_alone(name: str) -> None:
    assert found(HARMLESS[name]) == []


def test_a_finding_says_what_why_and_how_to_cure_it() -> None:
    scanned = scan_source(dedent(CACHE).encode(), "app.py")
    (finding,) = judge([scanned], lambda code: True)
    assert (finding.path, finding.line, finding.column) == ("app.py", 2, 1)
    assert "_cache" in finding.what
    assert "look_up (line 4)" in finding.why
    assert "LRUCache" in finding.cure


@pytest.mark.parametrize(
    "emptying",
    [
        "from app import _cache\ndef reset():\n    _cache.clear()\n",
        "import app\ndef reset():\n    app._cache.clear()\n",
        "import app\ndef reset(key):\n    del app._cache[key]\n",
        "import app\ndef reset():\n    app._cache = {}\n",
    ],
)
def test_another_file_may_empty_a_cache(emptying: str) -> None:
    assert found(CACHE, emptying) == []
    assert found(CACHE, "import app\nprint(app._cache)\n") == [("LS001", 2)]


def test_another_file_may_let_go() -> None:
    owned = """
        class Person:
            def add_car(self, car):
                self.cars.append(car)
                car.owner = self
    """
    kept = """
        class Job:
            def run(self):
                try:
                    self.work()
                except Exception as error:
                    self.failure = error
    """
    assert found(owned, kept) == [("LS008", 5), ("LS007", 7)]
    assert found(owned, "def sell(car):\n    car.owner = None\n") == []
    assert found(kept, "def report(job):\n    del job.failure\n") == []
    assert found(kept, "def report(job):\n    failure = None\n") == [("LS007", 7)]


def test_another_file_may_fill_a_list_when_it_is_imported() -> None:
    registry = """
        plugins = []

        def add(plugin):
            plugins.append(plugin)
    """
    assert found(registry) == [("LS004", 2)]
    assert found(registry, "import plugins\nplugins.add(print)\n") == []
    assert found(registry, "def main():\n    plugins.add(print)\n") == [("LS004", 2)]


@pytest.mark.parametrize(
    ("comment", "expected"),
    [
        ("# noqa", []),
        ("# NOQA : ls001", []),
        ("# noqa: E501, LS001", []),
        ("# noqa: E501 LS001  # because", []),
        ("# type: ignore  # noqa:LS001", []),
        ("# noqa: LS004", [("LS001", 1)]),
        ("# noqa: E501", [("LS001", 1)]),
        ("# cache", [("LS001", 1)]),
    ],
)
def test_a_comment_silences_a_finding(comment: str, expected: list[tuple[str, int]]) -> None:
    source = dedent(CACHE).lstrip().replace("_cache = {}", f"_cache = {{}}  {comment}")
    assert found(source) == expected


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [("# noqa", "", []), ("", "# noqa", []), ("", "", [("LS001", 1)])],
)
def test_a_comment_stands_on_the_first_line_or_the_last(
    first: str, last: str, expected: list[tuple[str, int]]
) -> None:
    several = f"_cache = {{  {first}\n}}  {last}"
    assert found(dedent(CACHE).lstrip().replace("_cache = {}", several)) == expected


def test_a_comment_is_found_in_the_encoding_of_the_file() -> None:
    source = "# coding: latin-1\nname = 'ü'\n" + dedent(CACHE)
    silent = source.replace("_cache = {}", "_cache = {}  # ü # noqa: LS001")
    for text, count in ((source, 1), (silent, 0)):
        scanned = scan_source(text.encode("latin-1"), "app.py")
        assert len(judge([scanned], lambda code: True)) == count


GUIDE = (Path(__file__).parent.parent / "docs" / "scan.md").read_text(encoding="utf-8")
SECTIONS = re.findall(r"^### (LS\d+)\n(.*?)(?=^##)", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_guide_describes_every_rule() -> None:
    assert [code for code, _ in SECTIONS] == [code for code in RULES if code != "LS000"]


@pytest.mark.parametrize(("code", "section"), SECTIONS, ids=[code for code, _ in SECTIONS])
def test_the_guide_shows_what_a_rule_finds_and_a_cure(code: str, section: str) -> None:
    leak, cure = re.findall(r"```python\n(.*?)```", section, re.DOTALL)
    assert [found_code for found_code, _ in found(leak)] == [code]
    assert found(cure) == []
