"""The logger `leaksafe`, whose level reaches the Rust side the moment it is set."""

import logging

from leaksafe import _core

OFF = logging.CRITICAL + 1


class _Logger(logging.Logger):
    def setLevel(self, level: int | str) -> None:  # noqa: N802 (logging's name)
        super().setLevel(level)
        _core.set_log_level(self.getEffectiveLevel())


logger = logging.getLogger("leaksafe")
if not isinstance(logger, _Logger):
    logger.__class__ = _Logger
    # Off unless asked for: the level of the root logger doesn't turn it on.
    logger.setLevel(logger.level or OFF)
