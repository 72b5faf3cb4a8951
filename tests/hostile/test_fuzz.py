"""A short run of `make fuzz`, with the same cases at every run."""

from __future__ import annotations

from pathlib import Path

import pytest

from fuzz import others
from isolated import FREE_THREADED, run

SECONDS = 15 if FREE_THREADED else 30


def test_every_public_name_is_driven() -> None:
    assert others.unnamed() == set()


@pytest.mark.thread_unsafe(reason="runs processes of its own")
def test_hostile_objects_against_every_name() -> None:
    result = run(
        ["-m", "fuzz", "--repeatable", "--seconds", f"{SECONDS}"],
        limit=SECONDS + 200,
        env={"PYTHONPATH": str(Path(__file__).parents[1])},
    )
    assert result.code == 0, result.report("fuzz")
