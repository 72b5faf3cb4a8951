"""Leaks that were planted are found, and what is said about them helps."""

from __future__ import annotations

import planted
from isolated import isolated
from leaksafe import leaks


def test_there_are_enough() -> None:
    assert len(planted.PLANTS) >= 40
    assert len({plant.kind for plant in planted.PLANTS}) >= 12


@isolated(limit=120, malloc="default")
def test_planted_leaks_are_found_and_nine_of_ten_with_the_right_advice() -> None:
    missed, without_advice = [], []
    for plant in planted.PLANTS:
        with leaks.check() as found:
            plant.leak()
        groups = found.report().groups
        if not groups:
            missed.append(plant.name)
        elif not any(plant.wanted in group.advice for group in groups):
            without_advice.append(plant.name)
    planted.STOP.set()
    assert not missed, missed
    assert 10 * len(without_advice) <= len(planted.PLANTS), without_advice
