# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of leaksafe.leaks. Not run: mypy and pyright read it.

Every `type: ignore` here is an error that both have to report.
"""

from __future__ import annotations

from typing import assert_type

from leaksafe import leaks

assert_type(leaks.why_alive(object(), chains=2), str)
assert_type(leaks.expect_gone(object()), None)
with leaks.check() as found:
    pass
assert_type(found, leaks.check)
assert_type(found.leaked, bool)
text: str = found.report()
assert_type(found.report().groups, list[leaks.Group])
assert_type(found.report().groups[0].line, str | None)
assert_type(found.report().late, list[leaks.Late])
assert_type(found.report().to_json(), str)
verdict = leaks.repeat(lambda: 1, max_calls=100)
assert_type(verdict, leaks.Verdict)
assert_type(verdict.growth, tuple[leaks.Growth, ...])
assert_type(verdict.report, leaks.Report)


def told(report: leaks.GrowthReport) -> None:
    assert_type(report.containers, tuple[leaks.GrowingContainer, ...])


with leaks.watch(every=1.5, on_growth=told) as watching:
    assert_type(watching.closed, bool)
leaks.watch("60")  # type: ignore[arg-type]
leaks.repeat(text)  # type: ignore[arg-type]
