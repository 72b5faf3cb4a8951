"""The weak set and list: what is better said in Python."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, MutableSet
from copy import deepcopy
from itertools import chain
from typing import Any, Self, SupportsIndex, TypeVar, cast, overload

from leaksafe._core import _WeakMembers  # pyright: ignore[reportPrivateUsage]

_T = TypeVar("_T")
_Members = TypeVar("_Members", bound="WeakSet[Any] | WeakList[Any]")


def _deep_copy(container: _Members, memo: dict[int, Any]) -> _Members:
    """Copy the attributes of a container; its members only where they are copied as well.

    Nobody else would hold the copies, and they would be gone at once.
    """
    new = cast("_Members", container.__class__(memo.get(id(item), item) for item in container))
    memo[id(container)] = new
    state: Any = deepcopy(container.__getstate__(), memo)
    parts = cast("tuple[dict[str, Any] | None, ...]", state if type(state) is tuple else (state,))
    for part in parts:
        for name, value in (part or {}).items():
            setattr(new, name, value)
    return new


class WeakSet(_WeakMembers[_T]):
    """A set that holds its members weakly: one leaves at the moment it dies.

    It takes the place of `weakref.WeakSet`, with the same constructor and methods. A bound method
    is a member as long as its instance lives, so that a set of handlers works and holds nobody.

    Args:
        data: an iterable of members.

    Raises:
        TypeError: for a member that is unhashable, or can't be weakly referenced (an `int`, a
            `str`, a tuple).

    Setting `on_collect` to a callable has it called, without arguments, after each such removal.
    Membership, adding and removal are O(1). A member costs about 115 bytes, 80 of which are
    CPython's weak reference.

    >>> from leaksafe import WeakSet
    >>> class Window: ...
    >>> window = Window()
    >>> opened = WeakSet([window])
    >>> window in opened
    True
    >>> del window
    >>> len(opened)
    0
    """

    __module__ = "leaksafe"

    def __init__(self, data: Iterable[_T] | None = None) -> None:
        self.clear()
        if data is not None:
            self.update(data)

    def __reduce__(self) -> tuple[object, ...]:
        return self.__class__, (list(self),), self.__getstate__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _deep_copy(self, memo)

    def add(self, item: _T) -> None:
        """Add a member, unless an equal one is there. O(1).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> opened = WeakSet()
        >>> opened.add(one)
        >>> one in opened
        True
        """
        self._add(item)

    def copy(self) -> Self:
        """Return an independent set of the same members. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> WeakSet([one]).copy() == WeakSet([one])
        True
        """
        return self.__class__(self)

    def pop(self) -> _T:
        """Remove a member and return it. O(1).

        Raises:
            KeyError: if there is none.

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> WeakSet([one]).pop() is one
        True
        """
        member = self._pop()
        if member is None:
            raise KeyError("pop from empty WeakSet")
        return member

    def remove(self, item: _T) -> None:
        """Remove a member. O(1).

        Raises:
            KeyError: if it is not there.

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> opened = WeakSet([one, two])
        >>> opened.remove(one)
        >>> len(opened)
        1
        """
        if not self._remove(item):
            raise KeyError(item)

    def discard(self, item: _T) -> None:
        """Remove a member where it is there. O(1).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> WeakSet([one]).discard(two)
        """
        self._remove(item)

    def update(self, other: Iterable[_T]) -> None:
        """Add what an iterable gives. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> opened = WeakSet([one])
        >>> opened.update([one, two])
        >>> len(opened)
        2
        """
        for item in other:
            self._add(item)

    def __ior__(self, other: Iterable[_T]) -> Self:  # type: ignore[misc]  # it takes more
        self.update(other)
        return self

    def difference(self, other: Iterable[_T]) -> Self:
        """Return the set of the members that are not in an iterable. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> WeakSet([one, two]).difference([two]) == WeakSet([one])
        True
        """
        new = self.copy()
        new.difference_update(other)
        return new

    __sub__ = difference

    def difference_update(self, other: Iterable[_T]) -> None:
        """Remove what an iterable gives. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> opened = WeakSet([one, two])
        >>> opened.difference_update([two, three])
        >>> opened == WeakSet([one])
        True
        """
        self.__isub__(other)

    def __isub__(self, other: Iterable[_T]) -> Self:  # type: ignore[misc]  # it takes more
        if self is other:
            self.clear()
        else:
            for item in other:
                self._remove(item)
        return self

    def intersection(self, other: Iterable[_T]) -> Self:
        """Return the set of the members that an iterable gives as well. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> WeakSet([one, two]).intersection([two]) == WeakSet([two])
        True
        """
        return self.__class__(item for item in other if item in self)

    __and__ = intersection

    def intersection_update(self, other: Iterable[_T]) -> None:
        """Remove the members that an iterable does not give. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> opened = WeakSet([one, two])
        >>> opened.intersection_update([two, three])
        >>> opened == WeakSet([two])
        True
        """
        self.__iand__(other)

    def __iand__(self, other: Iterable[_T]) -> Self:  # type: ignore[misc]  # it takes more
        kept = set(other)
        for item in self:
            if item not in kept:
                self._remove(item)
        return self

    def issubset(self, other: Iterable[_T]) -> bool:
        """Return whether an iterable gives all members. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> WeakSet([one]).issubset([one, two])
        True
        """
        others = set(other)
        return all(item in others for item in self)

    __le__ = issubset

    def __lt__(self, other: Iterable[_T]) -> bool:
        others = set(other)
        return len(self) < len(others) and self.issubset(others)

    def issuperset(self, other: Iterable[_T]) -> bool:
        """Return whether all that an iterable gives are members. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> WeakSet([one]).issuperset([one, two])
        False
        """
        return all(item in self for item in other)

    __ge__ = issuperset

    def __gt__(self, other: Iterable[_T]) -> bool:
        others = set(other)
        return len(self) > len(others) and self.issuperset(others)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, self.__class__):
            return NotImplemented
        return len(self) == len(other) and self.issubset(other)

    __hash__ = None  # type: ignore[assignment]

    def symmetric_difference(self, other: Iterable[_T]) -> Self:
        """Return the set of what is either a member or given by an iterable. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> WeakSet([one, two]).symmetric_difference([two, three]) == WeakSet([one, three])
        True
        """
        new = self.copy()
        new.symmetric_difference_update(other)
        return new

    __xor__ = symmetric_difference

    def symmetric_difference_update(self, other: Iterable[_T]) -> None:
        """Remove the members that an iterable gives, and add what else it gives. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> opened = WeakSet([one, two])
        >>> opened.symmetric_difference_update([two, three])
        >>> opened == WeakSet([one, three])
        True
        """
        self.__ixor__(other)

    def __ixor__(self, other: Iterable[_T]) -> Self:  # type: ignore[misc]  # it takes more
        if self is other:
            self.clear()
        else:
            for item in set(other):
                if not self._remove(item):
                    self._add(item)
        return self

    def union(self, other: Iterable[_T]) -> Self:
        """Return the set of the members and of what an iterable gives. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> len(WeakSet([one]).union([one, two]))
        2
        """
        return self.__class__(chain(self, other))

    __or__ = union

    def isdisjoint(self, other: Iterable[_T]) -> bool:
        """Return whether no member is given by an iterable. O(n).

        >>> from leaksafe import WeakSet
        >>> class Window: ...
        >>> one, two, three = Window(), Window(), Window()
        >>> WeakSet([one]).isdisjoint([two])
        True
        """
        return not any(item in self for item in other)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"


class WeakList(_WeakMembers[_T]):
    """A list of weak references that reads as a list of the objects: the dead vanish from it.

    Made for listeners: what is in it is not kept alive, and what has died is not called. A bound
    method is in it as long as its instance lives. An object may be in it more than once; items are
    compared by `==`, as in a list, and need not be hashable.

    Args:
        items: an iterable of what is to be in it.

    Raises:
        TypeError: for what can't be weakly referenced (an `int`, a `str`, a tuple).

    Setting `on_collect` to a callable has it called, without arguments, after each death. `len`,
    appending, and the removal of the dead are O(1), the rest is O(n). An item costs about 115
    bytes, 80 of which are CPython's weak reference.

    >>> from leaksafe import WeakList
    >>> class Window:
    ...     def changed(self, what):
    ...         print("draw", what)
    >>> window = Window()
    >>> listeners = WeakList([window.changed])
    >>> for listener in listeners:
    ...     listener("title")
    draw title
    >>> del window, listener
    >>> len(listeners)
    0
    """

    __module__ = "leaksafe"

    def __init__(self, items: Iterable[_T] = ()) -> None:
        self.clear()
        self.extend(items)

    @overload
    def __getitem__(self, index: SupportsIndex) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> list[_T]: ...
    def __getitem__(self, index: SupportsIndex | slice) -> _T | list[_T]:
        # Of the living, so that an index never meets a gap.
        return list(self)[index]

    def __delitem__(self, index: SupportsIndex | slice) -> None:
        living = self._places()
        for place, item in living[index] if isinstance(index, slice) else [living[index]]:
            self._remove_at(place, item)

    def __contains__(self, item: object) -> bool:
        return any(item is own or item == own for own in self)

    def __reversed__(self) -> Iterator[_T]:
        return reversed(list(self))

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WeakList):
            return NotImplemented
        return list(self) == list(cast("WeakList[Any]", other))  # type: ignore[redundant-cast]

    __hash__ = None  # type: ignore[assignment]

    def __iadd__(self, items: Iterable[_T]) -> Self:
        self.extend(items)
        return self

    def __reduce__(self) -> tuple[object, ...]:
        return self.__class__, (list(self),), self.__getstate__()

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        return _deep_copy(self, memo)

    def __copy__(self) -> Self:
        return self.copy()

    def __repr__(self) -> str:
        return f"{type(self).__name__}({list(self)!r})"

    def append(self, item: _T) -> None:
        """Add an item at the end. O(1).

        >>> from leaksafe import WeakList
        >>> class Window: ...
        >>> one, two = Window(), Window()
        >>> windows = WeakList()
        >>> windows.append(one)
        >>> windows[0] is one
        True
        """
        self._append(item)

    def extend(self, items: Iterable[_T]) -> None:
        """Add what an iterable gives at the end. O(n).

        >>> from leaksafe import WeakList
        >>> class Window: ...
        >>> one, two = Window(), Window()
        >>> windows = WeakList()
        >>> windows.extend([one, two])
        >>> len(windows)
        2
        """
        for item in items:
            self._append(item)

    def copy(self) -> Self:
        """Return an independent list of the same items. O(n).

        >>> from leaksafe import WeakList
        >>> class Window: ...
        >>> one, two = Window(), Window()
        >>> WeakList([one]).copy() == WeakList([one])
        True
        """
        return self.__class__(self)

    def index(self, item: object) -> int:
        """Return where the first item is that equals this one, counted among the living. O(n).

        Raises:
            ValueError: if there is none.

        >>> from leaksafe import WeakList
        >>> class Window: ...
        >>> one, two = Window(), Window()
        >>> WeakList([one, two]).index(two)
        1
        """
        for number, own in enumerate(self):
            if item is own or item == own:
                return number
        raise ValueError(f"{item!r} is not in this {type(self).__name__}")

    def count(self, item: object) -> int:
        """Return how many items equal this one. O(n).

        >>> from leaksafe import WeakList
        >>> class Window: ...
        >>> one, two = Window(), Window()
        >>> WeakList([one, two, one]).count(one)
        2
        """
        return sum(item is own or item == own for own in self)

    def remove(self, item: object) -> None:
        """Remove the first item that equals this one. O(n).

        Raises:
            ValueError: if there is none.

        >>> from leaksafe import WeakList
        >>> class Window: ...
        >>> one, two = Window(), Window()
        >>> windows = WeakList([one, two])
        >>> windows.remove(one)
        >>> windows[0] is two
        True
        """
        for place, own in self._places():
            if (item is own or item == own) and self._remove_at(place, own):
                return
        raise ValueError(f"{item!r} is not in this {type(self).__name__}")

    def pop(self, index: SupportsIndex = -1) -> _T:
        """Remove an item, the last one unless told otherwise, and return it. O(n).

        Raises:
            IndexError: if there is none.

        >>> from leaksafe import WeakList
        >>> class Window: ...
        >>> one, two = Window(), Window()
        >>> WeakList([one, two]).pop() is two
        True
        """
        while True:
            place, item = self._places()[index]
            if self._remove_at(place, item):
                return item


cast("Any", MutableSet).register(WeakSet)
