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


# Each run has new objects in the place of old ones, and never more.
REPLACING = """
import functools

LAST = []
RING = []

class Thing:
    pass

@functools.lru_cache(maxsize=20)
def cached(thing):
    return [thing]

def test_the_last_ones():
    LAST[:] = [Thing() for _ in range(5)]

def test_a_ring():
    RING.append(Thing())
    del RING[:-40]

def test_a_full_cache():
    for _ in range(7):
        cached(Thing())

def test_constants():
    RING.append(None)
"""

WORKERS = """
import asyncio
import unittest

import pytest
from hypothesis import given, settings, strategies

KEPT = []
UP = []

class Thing:
    pass

@pytest.fixture(scope="class")
def shared():
    UP.append(1)
    return Thing()

@pytest.mark.xdist_group("class")
class TestClass:
    @pytest.mark.parametrize("number", [1, 2])
    def test_clean(self, shared, number):
        assert UP == [1]

    def test_leak(self, shared):
        KEPT.append(Thing())

class TestCase(unittest.TestCase):
    def setUp(self):
        self.thing = Thing()

    def test_clean(self):
        with self.subTest(one=1):
            self.assertTrue(self.thing)

    def test_leak(self):
        KEPT.append(self.thing)

@settings(max_examples=5)
@given(strategies.integers())
def test_hypothesis(number):
    Thing()

STRATEGY = strategies.integers()

def test_what_hypothesis_keeps():
    vars(STRATEGY).setdefault("kept", []).append([1])

def test_output(capfd, monkeypatch):
    monkeypatch.setattr("sys.stdin", Thing())
    print("text")
    assert capfd.readouterr().out == "text\\n"

RUNS = []

def test_flaky():
    RUNS.append(KEPT)
    assert len(RUNS) != 3
"""

ASYNC = """
import asyncio
import pytest
import pytest_asyncio

KEPT = set()

class Thing:
    pass

@pytest_asyncio.fixture
async def thing():
    yield Thing()
    await asyncio.sleep(0)

MARK
async def test_clean(thing):
    await asyncio.create_task(asyncio.sleep(0))

MARK
async def test_leak(thing):
    KEPT.add(thing)

@pytest.mark.asyncio(loop_scope="module")
async def test_with_the_modules_loop(thing):
    await asyncio.sleep(0)
"""
# Also shows that the plugin needs neither.
ALONE = ("-p", "no:xdist", "-p", "no:asyncio")


def pytest_in(
    directory: Path, suite: str, *arguments: str, plugins: tuple[str, ...] = ALONE
) -> Result:
    (directory / "test_suite.py").write_text(textwrap.dedent(suite))
    (directory / "pytest.ini").write_text("[pytest]\n")
    return run(
        [
            "-m",
            "pytest",
            "-p",
            "no:cacheprovider",
            *plugins,
            "--rootdir",
            str(directory),
            *arguments,
            str(directory),
        ],
        limit=250,
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


def test_what_replaces_is_no_leak(tmp_path: Path) -> None:
    result = pytest_in(tmp_path, REPLACING, "--leaks", "-rA")
    assert outcomes(result, "FAILED") == {"test_constants"}, result
    assert outcomes(result, "PASSED") == {"test_the_last_ones", "test_a_ring", "test_a_full_cache"}


def test_with_xdist(tmp_path: Path) -> None:
    arguments = ("--leaks", "-rA", "-n2", "--dist=loadgroup")
    result = pytest_in(tmp_path, WORKERS, *arguments, plugins=("-p", "no:asyncio"))
    failed = {name.removesuffix("@class") for name in outcomes(result, "FAILED")}
    assert failed == {"TestClass::test_leak", "TestCase::test_leak"}, result
    passed = {name.removesuffix("@class") for name in outcomes(result, "PASSED")}
    assert passed == {
        "TestClass::test_clean[1]",
        "TestClass::test_clean[2]",
        "TestCase::test_clean",
        "test_hypothesis",
        "test_what_hypothesis_keeps",
        "test_output",
        "test_flaky",
    }, result
    assert "leaks: 2 of 9 tests leak" in result.stdout, result


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_with_pytest_asyncio(tmp_path: Path, mode: str) -> None:
    suite = ASYNC.replace("MARK", "@pytest.mark.asyncio" if mode == "strict" else "")
    options = ("-o", "asyncio_default_fixture_loop_scope=function", f"--asyncio-mode={mode}")
    arguments = ("--leaks", "-rA", *options)
    result = pytest_in(tmp_path, suite, *arguments, plugins=("-p", "no:xdist"))
    assert outcomes(result, "FAILED") == {"test_leak"}, result
    assert outcomes(result, "PASSED") == {"test_clean", "test_with_the_modules_loop"}, result
    assert "leaks: 1 of 3 tests leak" in result.stdout, result


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
