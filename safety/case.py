"""What the cases share.

A case is a function of a contestant that raises `FailsError` where something goes wrong. Each is
run in a process of its own, so it may hang, crash, and leave threads behind. Its docstring is its
row of the table.
"""

import gc
from typing import Any


class FailsError(Exception):
    """What went wrong, in a few words."""


class Thing:
    """Something that can be weakly referenced."""

    def __init__(self, held: Any = None) -> None:
        self.held = held


def must(condition: object, otherwise: str) -> None:
    """Fail with these words unless it holds."""
    if not condition:
        raise FailsError(otherwise)


def collect() -> None:
    """Collect what a first collection finalizes, too."""
    for _ in range(3):
        gc.collect()
