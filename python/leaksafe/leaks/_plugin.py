"""`pytest --leaks`: each test until it is sure whether it leaks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import pytest
from _pytest import runner

from leaksafe import _core
from leaksafe.leaks._check import check, collect
from leaksafe.leaks._names import ARROW, UNKNOWN
from leaksafe.leaks._repeat import ERROR, classes
from leaksafe.leaks._report import Group, Report

_LEAKS = "leaksafe_leaks"
_FIRST_ROUNDS = 3
_FILLING = 150
_UNTRACKED = "objects that the collector doesn't track"
_PYTESTS = ("_pytest", "pluggy", "pytest", "xdist", "execnet", "hypothesis")
# What else it fills: where it catches records, and the width of what it prints.
_FILLED = ("RootLogger.handlers", "functools.lru_cache of wcwidth()")


class LeakPlugin:
    """Runs each test again, with its fixtures, for as long as something grows in each round.

    A round after which there is no more of what grew in those before ends it: the test is clean. A
    test fails where there is more of a class after every one of so many rounds that chance would do
    that in less than one of a thousand tests, and where objects of it outlive two rounds by the
    same path, held by anything but pytest itself.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._warm_up: int = cast("int", config.getoption("--leaks-warmup"))
        self._runs: int = cast("int", config.getoption("--leaks-runs"))
        if self._warm_up < 1 or self._runs < 1:
            raise pytest.UsageError("--leaks-warmup and --leaks-runs must be at least 1")
        self.tests = 0
        self.leaking = 0

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_protocol(
        self, item: pytest.Item, nextitem: pytest.Item | None
    ) -> bool | None:
        """Run a test, and again on the side, and let it fail where it leaks."""
        allow = _allowed(item)
        if not isinstance(item, pytest.Function) or allow is None:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        # The parent as what comes next: what is made for the whole class or module stays.
        reports = runner.runtestprotocol(item, log=False, nextitem=cast("Any", item.parent))
        found: Report | None = None
        judged = _passed(reports)
        if judged:
            found = self._judge(item, allow)
        for report in reports:
            if judged and report.when == "call":
                # An attribute goes along to the process that xdist reports from.
                setattr(report, _LEAKS, found is not None)
            if found is not None and report.when == "call":
                report.outcome = "failed"
                report.longrepr = f"the test leaks:\n{found}"
            item.ihook.pytest_runtest_logreport(report=report)
        # What was made for the whole class or module goes, if this was the last of its tests.
        call = runner.CallInfo[None].from_call(
            lambda: item.session._setupstate.teardown_exact(nextitem),  # pyright: ignore[reportPrivateUsage]
            when="teardown",
            reraise=(KeyboardInterrupt, pytest.exit.Exception),
        )
        if call.excinfo is not None:
            last = pytest.TestReport.from_item_and_call(item, cast("Any", call))
            item.ihook.pytest_runtest_logreport(report=last)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count what was judged, here or by a worker."""
        leaks = getattr(report, _LEAKS, None)
        if leaks is not None:
            self.tests += 1
            self.leaking += leaks

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Say how many tests were judged."""
        terminalreporter.write_line(f"leaks: {self.leaking} of {self.tests} tests leak")

    def _again(self, item: pytest.Item, times: int) -> bool:
        """Run a test so often on the side; whether it passed each time."""
        for _ in range(times):
            reports = runner.runtestprotocol(item, log=False, nextitem=cast("Any", item.parent))
            _forget(item)
            if not _passed(reports):
                return False
        return True

    def _judge(self, item: pytest.Item, allow: Iterable[str]) -> Report | None:
        """What a test leaks, if that is sure. A test that can't be run again isn't judged."""
        _forget(item)
        if not self._again(item, self._warm_up - 1):
            return None
        suspects = self._grows(item, _FIRST_ROUNDS)
        # What a cache of a usual size still takes in has an end.
        if not suspects or not self._again(item, _FILLING):
            return None
        # Only what was suspected before counts, so that so many are looked at, and not all classes.
        grown = suspects & self._grows(item, _rounds(len(suspects)))
        if not grown:
            return None
        found = self._survivors(item, allow, grown)
        again = self._survivors(item, allow, grown) if found else {}
        groups = [group for path, group in again.items() if path in found]
        return Report(groups, [], []) if groups else None

    def _grows(self, item: pytest.Item, rounds: int) -> set[str]:
        """The classes of which there are more after each of so many rounds, one a run at least.

        What is new in the place of what went, as in a full cache, adds up to nothing. `_UNTRACKED`
        is among them where a container has more in it each time.
        """
        grown: set[str] | None = None
        for _ in range(rounds):
            collect()
            before = classes()
            snapshot = _core._HeapSnapshot()
            if not self._again(item, self._runs):
                return set()
            collect()
            now = {
                name
                for name, count in classes().items()
                if count - before.get(name, 0) >= self._runs
            }
            if any(most - then >= self._runs for _, then, most in snapshot.compare()[1]):
                now.add(_UNTRACKED)
            grown = now if grown is None else grown & now
            if not grown:
                break
        return grown or set()

    def _survivors(
        self, item: pytest.Item, allow: Iterable[str], grown: set[str]
    ) -> dict[str, Group]:
        """What outlives some runs, at least one object of each, by who holds it."""
        with check() as found:
            if not self._again(item, self._runs):
                return {}
        counted = classes()
        groups = not_pytests(found.report().groups, allow)
        return {
            group.path: replace(group, growth=group.count / self._runs)
            for group in groups
            if group.count >= self._runs
            and any(
                name in grown if name in counted else _UNTRACKED in grown for name in group.types
            )
        }


def _rounds(looked_at: int) -> int:
    """After how many rounds chance alone lets something grow each time in fewer tests than `ERROR`.

    With nothing that grows, n + 1 measurements are in rising order with probability 1/(n + 1)!.
    """
    rounds = 1
    while looked_at / math.factorial(rounds + 1) >= ERROR:
        rounds += 1
    return rounds


def outside_calls(groups: list[Group]) -> list[Group]:
    """The groups without what running functions and C hold: others run before a test and after."""
    return [
        group for group in groups if not group.path.split(ARROW)[-1].startswith(("local ", UNKNOWN))
    ]


def not_pytests(groups: list[Group], allow: Iterable[str] = ()) -> list[Group]:
    """The groups without what pytest itself keeps, and the classes that are allowed."""
    allowed = set(allow)
    return [
        group
        for group in groups
        if not set(group.types) <= allowed
        and not all(_is_pytests(name) for name in group.types)
        and not _is_pytests(group.holder or "")
        and not group.path.startswith(_FILLED)
    ]


def _is_pytests(name: str) -> bool:
    return name.partition(".")[0] in _PYTESTS


def _passed(reports: list[pytest.TestReport]) -> bool:
    return all(report.passed and not hasattr(report, "wasxfail") for report in reports)


def _forget(item: pytest.Item) -> None:
    """Drop what pytest notes at each run of a test."""
    item._report_sections.clear()  # pyright: ignore[reportPrivateUsage]  # no public way
    item.user_properties.clear()


def _allowed(item: pytest.Item) -> list[str] | None:
    """The classes that a test may leave behind; None for all."""
    mark = item.get_closest_marker("leaks")
    allow = None if mark is None else mark.kwargs.get("allow")
    if allow is True:
        return None
    if isinstance(allow, str):
        return [allow]
    return list(allow or ())
