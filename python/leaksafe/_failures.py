"""The error of one computation, for each of those who waited for it."""

from __future__ import annotations

import copy
from types import TracebackType


def own_copy(error: BaseException, traceback: TracebackType | None) -> BaseException:
    """Return an error for one waiter: a copy with the traceback that the error had at first.

    An exception that can't be copied, or not without a difference, is handed out itself, its
    traceback set back: so that it doesn't grow with each one that it is raised to.
    """
    own = _copy(error)
    if own is None:
        return error.with_traceback(traceback)
    own.__cause__ = error.__cause__
    own.__context__ = error.__context__
    own.__suppress_context__ = error.__suppress_context__
    if hasattr(error, "__notes__"):
        own.__notes__ = list(error.__notes__)
    return own.with_traceback(traceback)


def _copy(error: BaseException) -> BaseException | None:
    # BaseException.__reduce__ knows of args and __dict__ only.
    if any(vars(base).get("__slots__") for base in type(error).__mro__):
        return None
    try:
        own = copy.copy(error)
    except Exception:  # noqa: BLE001  # what its constructor or its __reduce__ raises is not ours
        return None
    same = (
        type(own) is type(error)
        and own is not error
        and len(own.args) == len(error.args)
        and all(mine is its for mine, its in zip(own.args, error.args, strict=True))
        and own.__dict__.keys() == error.__dict__.keys()
    )
    return own if same else None
