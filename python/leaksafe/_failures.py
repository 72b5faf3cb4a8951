"""Errors that several callers get."""

from __future__ import annotations

import copy
from types import TracebackType
from typing import TypeVar

_E = TypeVar("_E", bound=BaseException)


def twin(error: _E, traceback: TracebackType | None) -> _E:
    """Return a copy of an error for one more caller, or the same where it can't be copied.

    `traceback` is the one that the error had when it was caught: raising it adds frames, and those
    are of one caller only.
    """
    return (_copied(error) or error).with_traceback(traceback)


def _copied(error: _E) -> _E | None:
    # BaseException.__reduce__ knows of args and __dict__ only.
    if any(vars(base).get("__slots__") for base in type(error).__mro__):
        return None
    try:
        copied = copy.copy(error)
        same = type(copied) is type(error) and copied is not error
        same = same and len(copied.args) == len(error.args)
        # A constructor with arguments of its own makes other args of them, if it takes them at all.
        same = same and all(a is b for a, b in zip(copied.args, error.args, strict=True))
        if not same:
            return None
        notes: list[str] | None = getattr(error, "__notes__", None)
        if notes is not None:
            copied.__notes__ = list(notes)
        copied.__cause__ = error.__cause__
        copied.__context__ = error.__context__
        copied.__suppress_context__ = error.__suppress_context__
    except Exception:  # noqa: BLE001  # a __copy__ or a constructor may raise anything
        return None
    return copied
