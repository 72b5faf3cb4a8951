"""No source stops a scan: what parses is scanned, and what doesn't is said not to."""

from __future__ import annotations

import ast
import sys
import sysconfig
import warnings
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from leaksafe._scan.scan import Scanned, judge, scan_source
from scan_harmless import HARMLESS
from scan_leaks import LEAKS

pytestmark = pytest.mark.thread_unsafe(reason="what to do with warnings is the process's")

SNIPPETS = [*(source for source, _ in LEAKS.values()), *HARMLESS.values()]
NAMES = st.sampled_from(["self", "cls", "key", "error", "_cache", "log", "Report", "lru_cache"])


def parses(source: bytes) -> bool:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    return True


def check(source: bytes) -> Scanned:
    """Scan; what can't be parsed is the one finding then."""
    scanned = scan_source(source, "any.py")
    findings = judge([scanned], lambda code: True)
    codes = [one.rule.code for one in findings]
    if parses(source):
        assert "LS000" not in codes
        last = source.count(b"\n") + source.count(b"\r") + 1
        assert all(1 <= one.line <= last and one.column >= 1 for one in findings)
    else:
        assert codes == ["LS000"]
    return scanned


@given(st.binary() | st.text().map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_anything(source: bytes) -> None:
    check(source)


@st.composite
def shuffled(draw: st.DrawFn) -> str:
    """Lines of our examples, mixed, cut and with names changed: much of it is still Python."""
    lines = []
    for snippet in draw(st.lists(st.sampled_from(SNIPPETS), min_size=1, max_size=3)):
        chosen = snippet.splitlines()
        for _ in range(draw(st.integers(0, 3))):
            del chosen[draw(st.integers(0, len(chosen) - 1))]
            if not chosen:
                break
        lines += chosen
    text = "\n".join(line.removeprefix("    ") for line in lines)
    for old, new in draw(st.lists(st.tuples(NAMES, NAMES), max_size=3)):
        text = text.replace(old, new)
    return text


@given(shuffled())
def test_what_is_like_our_examples(source: str) -> None:
    check(source.encode())


def larger(smaller: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    pairs = st.tuples(smaller, smaller)
    return st.one_of(
        pairs.map(lambda pair: f"{pair[0]}[{pair[1]}]"),
        pairs.map(lambda pair: f"{pair[0]}.append({pair[1]})"),
        pairs.map(lambda pair: f"{pair[0]}.setdefault({pair[1]}, *{pair[0]}, **{pair[1]})"),
        pairs.map(lambda pair: f"({pair[0]}, *{pair[1]})"),
        pairs.map(lambda pair: f"{{{pair[0]}: {pair[1]}}}"),
        pairs.map(lambda pair: f"[{pair[0]} for self in {pair[1]}]"),
        pairs.map(lambda pair: f"(lambda key={pair[0]}, *_, **log: {pair[1]})"),
        pairs.map(lambda pair: f"(error := {pair[0]} if {pair[1]} else None)"),
        pairs.map(lambda pair: f'f"{{{pair[0]}!r:>{{{pair[1]}}}}}"'),
        smaller.map(lambda one: f"({one}).error"),
        smaller.map(lambda one: f"type({one}).log"),
    )


EXPRESSIONS = st.recursive(NAMES | st.sampled_from(["1", "None", "...", "{}", "[]"]), larger)
FORMS = [
    "{a} = {b}",
    "del {a}",
    "_cache = {b}",
    "self.log: {a} = {b}",
    "log += {b}",
    "global log, error",
    "return {a}",
    "raise {a} from {b}",
    "from functools import lru_cache as key, cache",
    "for log in {a}:\n    key({b})",
    "with {a} as self.log:\n    {b}",
    "if {a}:\n    {b}",
    "try:\n    {a}\nexcept {b} as error:\n    self.log = error",
    "try:\n    {a}\nexcept* OSError as log:\n    log.append(log)",
    "match {a}:\n    case {{'a': self, **log}} | Report(key=[*error]):\n        {b}",
    "@{a}\ndef __new__(*, key={b}, **log):\n    {b}",
    "@{a}\nclass Report({b}, log={b}):\n    _cache = {{}}\n    def log(): {a}",
    "async def __init__(self, key: {a} = {b}, /) -> {a}:\n    self._cache = []\n    {a}",
]


@st.composite
def programs(draw: st.DrawFn) -> str:
    """Statements of every kind, within classes and functions, with any expressions in them."""
    parts = []
    for _ in range(draw(st.integers(1, 5))):
        form = draw(st.sampled_from(FORMS))
        text = form.format(a=draw(EXPRESSIONS), b=draw(EXPRESSIONS))
        for head in draw(st.lists(st.sampled_from(["class Report:", "def log(self, key):"]))):
            text = head + "\n" + "\n".join("    " + line for line in text.splitlines())
        parts.append(text)
    return "\n".join(parts)


@settings(max_examples=60)
@given(programs())
def test_any_program(source: str) -> None:
    check(source.encode())


@pytest.mark.parametrize(
    "source",
    [
        "",
        "\ufeff_cache = {}",
        "x = " + " + ".join(["1"] * 3_000),
        "self" + ".error" * 3_000 + " = 1",
        "try: ...\nexcept OSError as e:\n    self" + ".error" * 3_000 + " = e",
        "x = " + "[" * 150 + "]" * 150,
        "x = " + "-" * 2_000 + "1",
        "if 1: ...\n" + "elif 1: ...\n" * 1_000,
        "c = {}\ndef f(k):\n    c[k, 0x" + "f" * 20_000 + "] = k.x\n"
        "    return c[k, 0x" + "f" * 20_000 + "]",
        "class A(A):\n    x = {}\n    def f(self, k): return self.y[k]\n",
        "class A(B): ...\nclass B(A):\n    x = {}\n    def f(self, k): self.x[k] = self.x[k]",
        "def __new__(): ...\nclass A:\n    def __new__(): ...\n    def f(): ...\n",
        "x\f = {}\r\ny = 1\r# noqa\n",
        "# coding: utf-8 # noqa\n",
    ],
    ids=lambda source: source[:20] or "nothing",
)
def test_odd_sources(source: str) -> None:
    check(source.encode())


def test_the_standard_library() -> None:
    """Some fifty modules that nobody wrote for this."""
    library = Path(sysconfig.get_path("stdlib"))
    files = sorted(library.glob("*.py"))
    assert len(files) > 100
    depth = sys.getrecursionlimit()
    for file in files[::4]:
        check(file.read_bytes())
    assert sys.getrecursionlimit() == depth
