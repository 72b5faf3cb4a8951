"""`pytest --leaks`, the mark and the fixture, each run of pytest in a process of its own."""

from __future__ import annotations

import textwrap
from pathlib import Path

import pytest

from isolated import Result, run

pytestmark = pytest.mark.thread_unsafe(reason="runs in processes of their own")

SUITE = """
import asyncio, functools
import pytest

KEPT = []
COUNTS = {}
MADE = []

class Thing:
    pass

def test_clean():
    [Thing() for _ in range(10)]

def test_garbage():
    thing = Thing()
    thing.itself = thing

def test_leak():
    KEPT.append(Thing())

def test_numbers():
    COUNTS[f"n{len(COUNTS)}"] = len(COUNTS) + 1000

@pytest.mark.leaks(allow=True)
def test_allowed():
    KEPT.append(Thing())

@pytest.mark.leaks(allow="test_suite.Thing")
def test_allowed_by_name():
    KEPT.append(Thing())

@functools.lru_cache(maxsize=100)
def cached(thing):
    return 1

def test_a_cache_that_is_filled():
    cached(Thing())

@pytest.mark.parametrize("number", [1, 2])
def test_parametrised(number, tmp_path, monkeypatch):
    monkeypatch.setenv("NUMBER", str(number))
    (tmp_path / "file").write_text("text")

@pytest.fixture(scope="class")
def shared():
    MADE.append("made")
    yield Thing()
    MADE.append("gone")

class TestClass:
    def test_one(self, shared, capsys):
        print("captured")

    def test_two(self, shared, caplog):
        assert MADE == ["made"]

def test_the_class_is_torn_down_once():
    assert MADE == ["made", "gone"]

def test_asyncio():
    async def main():
        await asyncio.sleep(0)
    asyncio.run(main())

def test_skipped():
    pytest.skip("not today")

def test_failing():
    assert 1 == 2

@pytest.mark.xfail(strict=True)
def test_expected_to_fail():
    raise ValueError

def test_once_only(pytestconfig):
    assert "once" not in globals()
    globals()["once"] = True
"""

FIXTURE = """
KEPT = []

def test_clean(leaks):
    [object() for _ in range(10)]

def test_leak(leaks):
    KEPT.append([1])
"""


def pytest_in(directory: Path, suite: str, *arguments: str) -> Result:
    (directory / "test_suite.py").write_text(textwrap.dedent(suite))
    (directory / "pytest.ini").write_text("[pytest]\n")
    return run(
        [
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            "--rootdir",
            str(directory),
            *arguments,
            str(directory),
        ],
        limit=100,
    )


def outcomes(result: Result, outcome: str) -> set[str]:
    lines = result.stdout.splitlines()
    found = [line for line in lines if line.startswith(f"{outcome} ") and "::" in line]
    return {line.split("::", 1)[1].split(" ")[0] for line in found}


def test_leaking_tests_fail_and_no_others(tmp_path: Path) -> None:
    result = pytest_in(tmp_path, SUITE, "--leaks", "-rA")
    assert outcomes(result, "FAILED") == {"test_leak", "test_numbers", "test_failing"}, result
    assert outcomes(result, "PASSED") == {
        "test_clean",
        "test_garbage",
        "test_allowed",
        "test_allowed_by_name",
        "test_a_cache_that_is_filled",
        "test_parametrised[1]",
        "test_parametrised[2]",
        "TestClass::test_one",
        "TestClass::test_two",
        "test_the_class_is_torn_down_once",
        "test_asyncio",
        "test_once_only",
    }, result
    assert outcomes(result, "ERROR") == set()
    assert "test_suite.py global KEPT[…]" in result.stdout
    assert "LazyObjects" in result.stdout
    assert "leaks: 2 of " in result.stdout


def test_nothing_is_judged_unless_asked_for(tmp_path: Path) -> None:
    result = pytest_in(tmp_path, SUITE, "-rA")
    assert outcomes(result, "FAILED") == {"test_failing"}, result
    assert "leaks:" not in result.stdout


def test_the_fixture(tmp_path: Path) -> None:
    result = pytest_in(tmp_path, FIXTURE, "-rA")
    assert outcomes(result, "ERROR") == {"test_leak"}, result
    assert "test_suite.py global KEPT[…]" in result.stdout


@pytest.mark.parametrize("option", ["--leaks-runs=0", "--leaks-warmup=0"])
def test_senseless_counts_are_refused(tmp_path: Path, option: str) -> None:
    result = pytest_in(tmp_path, FIXTURE, "--leaks", option)
    assert result.code == pytest.ExitCode.USAGE_ERROR, result
    assert "must be at least 1" in result.stderr
