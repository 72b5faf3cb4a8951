"""Functions that make a key of a call's arguments.

>>> hashkey(1, 2) == hashkey(1, 2), hashkey(1) == hashkey(1.0), typedkey(1) == typedkey(1.0)
(True, True, False)
"""

from __future__ import annotations

from collections.abc import Hashable

__all__ = ("hashkey", "methodkey", "typedkey", "typedmethodkey")


class _Keywords:
    """Stands between positional arguments and keywords. The class itself, which pickles by name."""


def hashkey(*args: Hashable, **kwargs: Hashable) -> tuple[Hashable, ...]:
    """Return a key for a call: arguments that are equal make keys that are equal."""
    return (*args, _Keywords, *sorted(kwargs.items())) if kwargs else args


def methodkey(self: object, /, *args: Hashable, **kwargs: Hashable) -> tuple[Hashable, ...]:
    """Return `hashkey` without the first argument: for methods whose instance has the cache."""
    return hashkey(*args, **kwargs)


def typedkey(*args: Hashable, **kwargs: Hashable) -> tuple[Hashable, ...]:
    """Return a key for a call that tells arguments of different types apart."""
    keywords = sorted(kwargs.items())
    types = (*(type(value) for _, value in keywords), *map(type, args))
    return (*hashkey(*args, **kwargs), *types)


def typedmethodkey(self: object, /, *args: Hashable, **kwargs: Hashable) -> tuple[Hashable, ...]:
    """Return `typedkey` without the first argument."""
    return typedkey(*args, **kwargs)
