"""`pytest --leaks`: each test until it is sure whether it leaks."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import replace
from typing import Any, cast

import pytest
from _pytest import runner

from leaksafe.leaks._check import check, collect
from leaksafe.leaks._repeat import ERROR, classes
from leaksafe.leaks._report import Group, Report

_SUSPICIOUS = 2
_PYTESTS = ("_pytest", "pluggy", "pytest", "xdist", "execnet", "hypothesis")


class LeakPlugin:
    """Runs each test again, with its fixtures, for as long as something grows in each round.

    A round that leaves no class of objects with more than before ends it: the test is clean. A test
    where a class grows in every one of so many rounds that chance would do that in less than one of
    a thousand such tests fails, if the objects are held by anything but pytest itself.
    """

    def __init__(self, config: pytest.Config) -> None:
        self._warm_up: int = config.getoption("--leaks-warmup")
        self._runs: int = config.getoption("--leaks-runs")
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
        if not isinstance(item, pytest.Function) or allow is True:
            return None
        item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
        # The parent as what comes next: what is made for the whole class or module stays.
        reports = runner.runtestprotocol(item, log=False, nextitem=cast("Any", item.parent))
        found: Report | None = None
        if _passed(reports):
            self.tests += 1
            found = self._judge(item, allow)
        for report in reports:
            if found is not None and report.when == "call":
                report.outcome = "failed"
                report.longrepr = f"the test leaks:\n{found}"
                self.leaking += 1
            item.ihook.pytest_runtest_logreport(report=report)
        # What was made for the whole class or module goes, if this was the last of its tests.
        last = runner.call_and_report(item, "teardown", log=False, nextitem=nextitem)
        if not last.passed:
            item.ihook.pytest_runtest_logreport(report=last)
        item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
        return True

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
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
        """What a test leaks, if that is sure. A test that can't be run twice isn't judged."""
        _forget(item)
        if not self._again(item, self._warm_up - 1):
            return None
        collect()
        last = classes()
        growing: set[str] | None = None
        rounds = 0
        while growing is None or growing:
            if rounds == _SUSPICIOUS:
                # What a cache still takes in has an end: as many runs again as it has had by the time it is sure.
                if not self._again(item, 10 * self._runs):
                    return None
                collect()
                last = classes()
            if growing and rounds > _SUSPICIOUS and _chance(rounds - _SUSPICIOUS, len(last)) < ERROR:
                return self._report(item, allow)
            if not self._again(item, self._runs if rounds >= _SUSPICIOUS else 1):
                return None
            collect()
            now = classes()
            growing = {
                name
                for name in (now if growing is None else growing)
                if now.get(name, 0) > last.get(name, 0)
            }
            last = now
            rounds += 1
        # Numbers and text in a container that was there are not among the objects.
        return self._report(item, allow)

    def _report(self, item: pytest.Item, allow: Iterable[str]) -> Report | None:
        """What outlives more runs, each time, and who holds it."""
        runs = self._runs
        with check() as found:
            if not self._again(item, runs):
                return None
        groups = _leaking(found.report().groups, runs, allow)
        if not groups:
            return None
        # Once more, for a longer time: what a cache of so many entries takes in isn't a leak.
        if not self._again(item, 128):
            return None
        with check() as found:
            if not self._again(item, runs):
                return None
        groups = _leaking(found.report().groups, runs, allow)
        return Report(groups, [], []) if groups else None


def _chance(rounds: int, looked_at: int) -> float:
    return looked_at / math.factorial(rounds + 1)


def _leaking(groups: list[Group], runs: int, allow: Iterable[str]) -> list[Group]:
    """The groups that have something of each run, without what pytest itself or the mark keeps."""
    allowed = set(allow)
    return [
        replace(group, growth=group.count / runs)
        for group in groups
        if group.count >= runs
        and not set(group.types) <= allowed
        and not all(name.partition(".")[0] in _PYTESTS for name in group.types)
        and not any(f"{name} global" in group.path for name in _PYTESTS)
        and not any(one in group.path for one in _HOLDERS)
    ]


_HOLDERS = ("TerminalReporter.", "WarningMessage", "_HookCaller", "PytestPluginManager", "Session.", "Config.")


def _passed(reports: list[pytest.TestReport]) -> bool:
    return all(report.passed and not hasattr(report, "wasxfail") for report in reports)


def _forget(item: pytest.Item) -> None:
    """Drop what pytest notes at each run of a test."""
    item._report_sections.clear()  # noqa: SLF001  # no public way
    item.user_properties.clear()


def _allowed(item: pytest.Item) -> bool | list[str]:
    mark = item.get_closest_marker("leaks")
    if mark is None:
        return []
    allow = mark.kwargs.get("allow")
    if allow is None or isinstance(allow, bool):
        return bool(allow) or []
    return [allow] if isinstance(allow, str) else list(allow)
