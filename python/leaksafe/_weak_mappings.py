"""The weak dictionaries: what is better said in Python of what weakref's offer."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from copy import deepcopy
from typing import Any, Protocol, Self, TypeAlias, TypeVar, cast
from weakref import ref

from leaksafe._core import (
    _adopt,  # pyright: ignore[reportPrivateUsage]
    _WeakKeys,  # pyright: ignore[reportPrivateUsage]
    _WeakValues,  # pyright: ignore[reportPrivateUsage]
)

_K = TypeVar("_K")
_V = TypeVar("_V")
_K2 = TypeVar("_K2")
_V2 = TypeVar("_V2")
_K_co = TypeVar("_K_co", covariant=True)
_V_co = TypeVar("_V_co", covariant=True)


class _HasItems(Protocol[_K_co, _V_co]):
    def items(self) -> Iterable[tuple[_K_co, _V_co]]: ...


_Source: TypeAlias = _HasItems[_K, _V] | Iterable[tuple[_K, _V]]


def _is_mapping(other: object) -> bool:
    return isinstance(other, Mapping)


def _pairs(source: _Source[_K, _V], *, hashable: bool = True) -> Iterable[tuple[_K, _V]]:
    """What a dictionary is made from or updated with, as pairs."""
    items = getattr(source, "items", None)
    if items is not None:
        return cast("Iterable[tuple[_K, _V]]", items())
    pairs = cast("Iterable[tuple[_K, _V]]", source)
    return dict(pairs).items() if hashable else pairs


class WeakValueDictionary(_WeakValues[_K, _V]):
    """A mapping that holds its values weakly: an entry leaves at the moment its value dies.

    It takes the place of `weakref.WeakValueDictionary`, with the same constructor and methods.

    Args:
        other: a mapping, or pairs; keyword arguments become entries as well.

    Raises:
        TypeError: when a value is set that can't be weakly referenced (an `int`, a `str`, a tuple).

    Setting `on_collect` to a callable has it called with the key after each such removal; what it
    raises goes to `sys.unraisablehook`. `setdefault` and `get_or_create(key, factory)` give all
    threads that ask at once the same object. Iteration goes from the oldest entry to the newest,
    skips what dies meanwhile, and never fails.

    Every operation on one key is O(1). An entry costs about 115 bytes beside its key and value
    (weakref's: 138), 80 of which are CPython's weak reference.

    >>> from leaksafe import WeakValueDictionary
    >>> class Picture: ...
    >>> pictures = WeakValueDictionary()
    >>> picture = pictures["cat.png"] = Picture()
    >>> pictures["cat.png"] is picture
    True
    >>> del picture
    >>> len(pictures)
    0
    """

    __module__ = "leaksafe"

    def __init__(self, other: _Source[_K, _V] = (), /, **kw: _V) -> None:
        self.clear()  # made again, it starts again
        self.update(other, **kw)

    async def aget_or_create(self, key: _K, factory: Callable[[], Awaitable[_V]]) -> _V:
        """Return the value of `key`, made by the coroutine function `factory` where there is none.

        `factory` takes no arguments and runs once for each key and event loop, in a task of its
        own with the first caller's context. See `LRUCache.aget_or_create`.

        >>> import asyncio
        >>> from leaksafe import WeakValueDictionary
        >>> class Picture: ...
        >>> async def load():
        ...     return Picture()
        >>> pictures = WeakValueDictionary()
        >>> picture = asyncio.run(pictures.aget_or_create("cat", load))
        >>> pictures["cat"] is picture
        True
        """
        from leaksafe._async_flights import weak_creation  # noqa: PLC0415  # it imports asyncio

        return await weak_creation(self, key, factory)

    def update(  # type: ignore[override]
        self, other: _Source[_K, _V] | None = None, /, **kwargs: _V
    ) -> None:
        """Set entries from a mapping, from pairs, and from keyword arguments. O(n).

        >>> from leaksafe import WeakValueDictionary
        >>> class Picture: ...
        >>> cat, dog = Picture(), Picture()
        >>> pictures = WeakValueDictionary()
        >>> pictures.update({"cat": cat}, dog=dog)
        >>> list(pictures)
        ['cat', 'dog']
        """
        # Past a subclass's own __setitem__, as in weakref.
        put = super().__setitem__
        if other is not None:
            for key, value in _pairs(other):
                put(key, value)
        for name, value in kwargs.items():
            put(cast("_K", name), value)

    def copy(self) -> WeakValueDictionary[_K, _V]:
        """Return an independent dictionary with the same entries. O(n).

        >>> from leaksafe import WeakValueDictionary
        >>> class Picture: ...
        >>> cat, dog = Picture(), Picture()
        >>> WeakValueDictionary(cat=cat).copy()['cat'] is cat
        True
        """
        return WeakValueDictionary(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = self.__class__()
        for key, value in self.items():
            new[deepcopy(key, memo)] = value
        return new

    def itervaluerefs(self) -> Iterator[ref[_V]]:
        """Iterate over weak references to the values; one may be dead when it is used.

        >>> from leaksafe import WeakValueDictionary
        >>> class Picture: ...
        >>> cat, dog = Picture(), Picture()
        >>> next(WeakValueDictionary(cat=cat).itervaluerefs())() is cat
        True
        """
        return map(ref, self.values())

    def valuerefs(self) -> list[ref[_V]]:
        """Return a list of weak references to the values; one may be dead when it is used.

        >>> from leaksafe import WeakValueDictionary
        >>> class Picture: ...
        >>> cat, dog = Picture(), Picture()
        >>> [reference() is cat for reference in WeakValueDictionary(cat=cat).valuerefs()]
        [True]
        """
        return list(self.itervaluerefs())

    def __or__(self, other: Mapping[_K2, _V2]) -> WeakValueDictionary[_K | _K2, _V | _V2]:
        if not _is_mapping(other):
            return NotImplemented
        merged = cast("WeakValueDictionary[_K | _K2, _V | _V2]", self.copy())
        merged.update(other)
        return merged

    def __ror__(self, other: Mapping[_K2, _V2]) -> WeakValueDictionary[_K | _K2, _V | _V2]:
        if not _is_mapping(other):
            return NotImplemented
        merged = cast("WeakValueDictionary[_K | _K2, _V | _V2]", self.__class__())
        merged.update(other)
        merged.update(self)
        return merged

    def __ior__(self, other: _Source[_K, _V]) -> Self:  # type: ignore[misc]  # it takes more
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self.items()) == dict(cast("Mapping[_K, _V]", other).items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"


class WeakKeyDictionary(_WeakKeys[_K, _V]):
    """A mapping that holds its keys weakly: an entry leaves at the moment its key dies.

    It takes the place of `weakref.WeakKeyDictionary`, with the same constructor and methods.

    Args:
        dict: a mapping, or pairs.

    Raises:
        TypeError: for a key that can't be weakly referenced (an `int`, a `str`, a tuple), or that
            is unhashable: `WeakIdDictionary` takes those.

    Setting `on_collect` to a callable has it called with the value after each such removal.
    `setdefault` and `get_or_create(key, factory)` give all threads that ask at once the same
    object. Iteration goes from the oldest entry to the newest, skips what dies meanwhile, and never
    fails.

    A value that refers to its key keeps it alive, and so the entry for ever, as in `weakref`:
    CPython has nothing by which the collector could tell. `per_instance` is for such data.

    Every operation on one key is O(1). An entry costs about 115 bytes beside its key and value, 80
    of which are CPython's weak reference.

    >>> from leaksafe import WeakKeyDictionary
    >>> class Page: ...
    >>> page = Page()
    >>> views = WeakKeyDictionary({page: 1})
    >>> views[page] += 1
    >>> views[page]
    2
    >>> del page
    >>> len(views)
    0
    """

    __module__ = "leaksafe"

    def __init__(self, dict: _Source[_K, _V] | None = None) -> None:  # noqa: A002  # weakref's
        self.clear()
        if dict is not None:
            self.update(dict)

    def update(  # type: ignore[override]
        self, other: _Source[_K, _V] | None = None, /, **kwargs: _V
    ) -> None:
        """Set entries from a mapping, from pairs, and from keyword arguments. O(n).

        >>> from leaksafe import WeakKeyDictionary
        >>> class Page: ...
        >>> one, two = Page(), Page()
        >>> views = WeakKeyDictionary()
        >>> views.update([(one, 1), (two, 2)])
        >>> list(views.values())
        [1, 2]
        """
        # Past a subclass's own __setitem__, as in weakref.
        put = super().__setitem__
        if other is not None:
            for key, value in _pairs(other, hashable=not self._by_identity):
                put(key, value)
        for name, value in kwargs.items():
            put(cast("_K", name), value)

    def copy(self) -> WeakKeyDictionary[_K, _V]:
        """Return an independent dictionary with the same entries. O(n).

        >>> from leaksafe import WeakKeyDictionary
        >>> class Page: ...
        >>> one, two = Page(), Page()
        >>> WeakKeyDictionary({one: 1}).copy()[one]
        1
        """
        return WeakKeyDictionary(self)

    __copy__ = copy

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        new = self.__class__()
        for key, value in self.items():
            new[key] = deepcopy(value, memo)
        return new

    def keyrefs(self) -> list[ref[_K]]:
        """Return a list of weak references to the keys; one may be dead when it is used.

        >>> from leaksafe import WeakKeyDictionary
        >>> class Page: ...
        >>> one, two = Page(), Page()
        >>> [reference() is one for reference in WeakKeyDictionary({one: 1}).keyrefs()]
        [True]
        """
        return list(map(ref, self.keys()))

    def __or__(self, other: Mapping[_K2, _V2]) -> WeakKeyDictionary[_K | _K2, _V | _V2]:
        if not _is_mapping(other):
            return NotImplemented
        merged = cast("WeakKeyDictionary[_K | _K2, _V | _V2]", self.copy())
        merged.update(other)
        return merged

    def __ror__(self, other: Mapping[_K2, _V2]) -> WeakKeyDictionary[_K | _K2, _V | _V2]:
        if not _is_mapping(other):
            return NotImplemented
        merged = cast("WeakKeyDictionary[_K | _K2, _V | _V2]", self.__class__())
        merged.update(other)
        merged.update(self)
        return merged

    def __ior__(self, other: _Source[_K, _V]) -> Self:  # type: ignore[misc]  # it takes more
        self.update(other)
        return self

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Mapping):
            return NotImplemented
        return dict(self.items()) == dict(cast("Mapping[_K, _V]", other).items())

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} at {id(self):#x}>"


class WeakIdDictionary(WeakKeyDictionary[_K, _V]):
    """A `WeakKeyDictionary` of objects by identity: hashable or not, and whatever they equal.

    >>> from leaksafe import WeakIdDictionary
    >>> class Row(list): ...
    >>> row = Row([1, 2])
    >>> notes = WeakIdDictionary()
    >>> notes[row] = "checked"
    >>> notes[row], Row([1, 2]) in notes
    ('checked', False)
    """

    __module__ = "leaksafe"

    _by_identity = True

    def copy(self) -> WeakIdDictionary[_K, _V]:
        """Return an independent dictionary with the same entries. O(n).

        >>> from leaksafe import WeakIdDictionary
        >>> class Row(list): ...
        >>> row = Row()
        >>> WeakIdDictionary([(row, 1)]).copy()[row]
        1
        """
        return WeakIdDictionary(self)

    __copy__ = copy

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WeakIdDictionary):
            return NotImplemented
        others = cast("WeakIdDictionary[Any, Any]", other)  # type: ignore[redundant-cast]
        return len(self) == len(others) and all(
            key in others and others[key] == value for key, value in self.items()
        )

    __hash__ = None


for _class in (WeakValueDictionary, WeakKeyDictionary, WeakIdDictionary):
    _adopt(_class, "get")
