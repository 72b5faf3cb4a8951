"""What goes wrong with caches elsewhere: none of it with ours."""

from __future__ import annotations

import pytest
from safety.__main__ import CASES, FINE, PAGE, tried
from safety.contestants import CONTESTANTS

OURS = CONTESTANTS[0]
NAMES = sorted(CASES)


@pytest.mark.parametrize("case", NAMES)
def test_nothing_of_it_happens_here(case: str) -> None:
    assert tried(case, OURS) == FINE


def test_the_page_tells_of_every_case() -> None:
    rows = [row.split(" | ") for row in PAGE.read_text().splitlines() if row.startswith("| ")][1:]
    assert [row[0].removeprefix("| ") for row in rows] == [case.__doc__ for case in CASES.values()]
    assert {row[1] for row in rows} == {FINE}
