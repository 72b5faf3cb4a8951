"""The logger `leaksafe`, whose level reaches the Rust side the moment it is set.

It is connected once the program has imported `logging`, which leaksafe does not by itself.
"""

from __future__ import annotations

import logging
from collections.abc import Callable

OFF = logging.CRITICAL + 1


class _Logger(logging.Logger):
    tell: Callable[[int], None]

    def setLevel(self, level: int | str) -> None:  # noqa: N802 (logging's name)
        super().setLevel(level)
        self.tell(self.getEffectiveLevel())


def connect(tell: Callable[[int], None]) -> None:
    """Have the level told from now on."""
    logger = logging.getLogger("leaksafe")
    logger.__class__ = _Logger
    assert isinstance(logger, _Logger)
    logger.tell = tell
    # Off unless asked for: the level of the root logger doesn't turn it on.
    logger.setLevel(logger.level or OFF)
