"""The error of one computation, for each of those who waited for it."""

from __future__ import annotations

import copy
from types import TracebackType


def own_copy(error: BaseException, traceback: TracebackType | None) -> BaseException:
    """Return an error for one waiter: a copy with the traceback that the error had at first.

    An exception that can't be copied, or not without a difference, is handed out itself, its
    traceback set back: so that it doesn't grow with each one that it is raised to.
    """
    try:
        own = copy.copy(error)
        faithful = (
            type(own) is type(error)
            and own is not error
            and len(own.args) == len(error.args)
            and all(mine is its for mine, its in zip(own.args, error.args, strict=True))
            and own.__dict__.keys() == error.__dict__.keys()
        )
    except Exception:  # noqa: BLE001  # what a constructor or a __reduce__ makes of it is its own
        faithful = False
    if not faithful:
        return error.with_traceback(traceback)
    own.__cause__ = error.__cause__
    own.__context__ = error.__context__
    own.__suppress_context__ = error.__suppress_context__
    notes = getattr(error, "__notes__", None)
    if isinstance(notes, list):
        own.__notes__ = list(notes)
    return own.with_traceback(traceback)
