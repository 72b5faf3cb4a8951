"""What refers weakly, or is owned, without a container."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from itertools import count
from types import MethodType
from typing import Any, Generic, Literal, ParamSpec, Self, TypeVar, cast, overload
from weakref import WeakMethod, ref

from leaksafe._weak_mappings import WeakIdDictionary
from leaksafe._weak_members import WeakList

_P = ParamSpec("_P")
_R = TypeVar("_R")
_T = TypeVar("_T")


class _Held(ref[_T]):
    """The reference of a `weakattr`: copied and pickled with what holds it."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return _held_again, (self(),)

    def __deepcopy__(self, memo: dict[int, Any]) -> _Held[Any]:
        # Of an object that isn't copied as well, both hold the same.
        referent = self()
        return self if referent is None else _Held(memo.get(id(referent), referent))


class _Gone:
    """What a dead reference is copied from."""


def _held_again(referent: object) -> _Held[Any]:
    return _Held(_Gone() if referent is None else referent)


def hold(
    referent: object, instance: object, on_collect: Callable[[Any], object] | None
) -> ref[Any]:
    """Make the reference of a `weakattr`."""
    if on_collect is None:
        return _Held(referent)
    tell, owner = on_collect, ref(instance)

    def gone(_: object) -> None:
        instance = owner()
        if instance is not None:
            tell(instance)

    return _Held(referent, gone)


class WeakListAttribute:
    """The attribute that `weakattr.list()` makes: a `WeakList` for each instance."""

    def __init__(self) -> None:
        self._name = ""
        self._beside = WeakIdDictionary[object, WeakList[Any]]()

    def __set_name__(self, owner: type, name: str) -> None:
        self._name = name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> WeakList[Any]: ...
    def __get__(self, instance: object, owner: type | None = None) -> Self | WeakList[Any]:
        if instance is None:
            return self
        attributes = getattr(instance, "__dict__", None)
        if attributes is None:
            return self._beside.setdefault(instance, WeakList())
        found = attributes.get(self._name)
        if found is None:
            found = attributes.setdefault(self._name, WeakList())
        return cast("WeakList[Any]", found)

    def __set__(self, instance: object, items: Iterable[Any]) -> None:
        new = WeakList(items)
        attributes = getattr(instance, "__dict__", None)
        if attributes is None:
            self._beside[instance] = new
        else:
            attributes[self._name] = new


class weak_callback(Generic[_P, _R]):  # noqa: N801  # used as a function
    """A callable that calls a bound method and does not keep its instance alive.

    Args:
        method: a bound method.
        missing: what a call does once the instance is gone: "ignore" returns None, "raise" raises
            a `ReferenceError`.

    Raises:
        TypeError: for what is no bound method, or where the instance can't be weakly referenced.
        ValueError: for another `missing`.

    Two of them are equal when their methods are, so that one can be found again in a list.

    >>> from leaksafe import weak_callback
    >>> class Window:
    ...     def draw(self, what):
    ...         return f"drew {what}"
    >>> window = Window()
    >>> callback = weak_callback(window.draw)
    >>> callback("a circle")
    'drew a circle'
    >>> del window
    >>> callback("a circle")
    """

    __module__ = "leaksafe"
    __slots__ = ("__weakref__", "_method", "_missing")

    def __init__(
        self, method: Callable[_P, _R], *, missing: Literal["ignore", "raise"] = "ignore"
    ) -> None:
        if not isinstance(method, MethodType):
            raise TypeError(
                "weak_callback needs a bound method, whose instance lives elsewhere, "
                f"not {type(method).__name__}"
            )
        if missing not in ("ignore", "raise"):
            raise ValueError(f"missing must be 'ignore' or 'raise', but is {missing!r}")
        self._method = WeakMethod(cast("Callable[_P, _R]", method))
        self._missing = missing

    def __call__(self, *args: _P.args, **kwargs: _P.kwargs) -> _R | None:
        method = self._method()
        if method is not None:
            return method(*args, **kwargs)
        if self._missing == "raise":
            raise ReferenceError("the instance of this callback is gone")
        return None

    @property
    def alive(self) -> bool:
        """Whether the instance lives."""
        return self._method() is not None

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, weak_callback):
            return NotImplemented
        return self._method == cast("weak_callback[..., Any]", other)._method

    def __hash__(self) -> int:
        return hash(self._method)

    def __repr__(self) -> str:
        method = self._method()
        return f"weak_callback({'gone' if method is None else repr(method)})"


class per_instance(Generic[_T]):  # noqa: N801  # used as a function
    """Data attached to objects from outside, each owned by its object and gone with it.

    What people use a `WeakKeyDictionary` for. There the data must not refer to the object, or both
    live for ever; here it may, since it lies in the object's `__dict__`, where the collector sees
    it as a part of the object.

    Args:
        factory: called without arguments, once for each object, at its first use.

    Raises:
        TypeError: where `factory` can't be called; and at a call, for an object without a
            `__dict__`.

    Called with an object, it returns the object's data. O(1).

    >>> from leaksafe import per_instance
    >>> class Node: ...
    >>> neighbours = per_instance(list)
    >>> one, two = Node(), Node()
    >>> neighbours(one).append(two)
    >>> neighbours(two).append(one)  # a cycle, which the collector frees
    >>> neighbours(one) == [two]
    True
    """

    __module__ = "leaksafe"
    __slots__ = ("__weakref__", "_factory", "_making", "_name")

    _numbers = count(1)

    def __init__(self, factory: Callable[[], _T]) -> None:
        if not callable(factory):
            raise TypeError(
                f"factory must be callable without arguments, not {type(factory).__name__}"
            )
        self._factory = factory
        self._name = f"_per_instance_{next(self._numbers)}"
        self._making = WeakIdDictionary[object, bool]()

    def __call__(self, instance: object) -> _T:
        attributes = self._attributes(instance)
        while True:
            try:
                return cast("_T", attributes[self._name])
            except KeyError:
                pass
            if not type(instance).__weakrefoffset__:  # the flights need a weak reference
                return cast("_T", attributes.setdefault(self._name, self._factory()))
            self._making.get_or_create(instance, lambda: self._make(attributes))
            self._making.pop(instance, None)

    def _make(self, attributes: dict[str, Any]) -> bool:
        if self._name not in attributes:
            attributes[self._name] = self._factory()
        return True

    def _attributes(self, instance: object) -> dict[str, Any]:
        attributes = getattr(instance, "__dict__", None)
        if isinstance(attributes, dict):
            return cast("dict[str, Any]", attributes)
        raise TypeError(
            f"per_instance keeps its data in the object's __dict__, and "
            f"{type(instance).__name__} objects have none to write to: add '__dict__' to "
            "__slots__, or use a WeakKeyDictionary whose values don't refer to their keys"
        )

    def __contains__(self, instance: object) -> bool:
        return self._name in self._attributes(instance)

    def discard(self, instance: object) -> None:
        """Take an object's data away, where it has some. O(1).

        >>> from leaksafe import per_instance
        >>> class Node: ...
        >>> node, neighbours = Node(), per_instance(list)
        >>> neighbours(node).append(1)
        >>> neighbours.discard(node)
        >>> neighbours(node)
        []
        """
        self._attributes(instance).pop(self._name, None)
