"""The attribute that is computed when it is first asked for."""

from __future__ import annotations

from collections.abc import Callable
from types import GenericAlias
from typing import Any, Generic, Self, TypeVar, overload

from leaksafe._cached import check_text, refuse_async
from leaksafe._core import (
    _Flight,  # pyright: ignore[reportPrivateUsage]
    _Flights,  # pyright: ignore[reportPrivateUsage]
)

_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)


class cached_property(Generic[_T_co]):  # noqa: N801  # as functools names it
    """An attribute that a method computes once for each instance, also where several threads ask.

    >>> class Circle:
    ...     def __init__(self, radius):
    ...         self.radius = radius
    ...     @cached_property
    ...     def area(self):
    ...         print("computing")
    ...         return 3 * self.radius**2
    >>> circle = Circle(2)
    >>> circle.area, circle.area
    computing
    (12, 12)
    >>> del circle.area  # to have it computed anew

    It takes the place of `functools.cached_property`, which since Python 3.12 may compute twice.
    The result is in the instance's `__dict__` and goes with it, so that a hit is no call at all.
    Threads that ask meanwhile wait, by the rules of `cached`, and get the same result or
    `Exception`; after that, the next one who asks tries again.

    A class with `__slots__` and without a `__dict__` names a slot for the result:

    >>> class Point:
    ...     __slots__ = ("_norm", "x")
    ...     @cached_property(slot="_norm")
    ...     def norm(self):
    ...         return abs(self.x)
    >>> point = Point()
    >>> point.x = -3
    >>> point.norm
    3

    Args:
        func: the method.
        slot: the name of an attribute of the instance that is to hold the result.

    Raises:
        TypeError: when it is asked for on an instance that has no place for the result.
    """

    __module__ = "leaksafe"

    func: Callable[[Any], _T_co]
    attrname: str | None

    def __init__(
        self, func: Callable[[Any], _T_co] | None = None, *, slot: str | None = None
    ) -> None:
        check_text(slot, "slot")
        self.attrname = None
        self._slot = slot
        self._flights = _Flights()
        if func is not None:
            if not callable(func):
                raise TypeError(f"cached_property needs a callable, not {type(func).__name__}")
            refuse_async(func, "cached_property")
            self.func = func
            self.__doc__ = func.__doc__
            self.__module__ = getattr(func, "__module__", type(self).__module__)
        elif slot is None:
            raise TypeError("cached_property needs a method, or the name of a slot")

    def __call__(self, func: Callable[[Any], _T]) -> cached_property[_T]:
        """Return the attribute of a method, where the slot was given first."""
        return cached_property(func, slot=self._slot)

    def __set_name__(self, owner: type, name: str) -> None:
        if self.attrname is None:
            self.attrname = name
        elif name != self.attrname:
            raise TypeError(
                "Cannot assign the same cached_property to two different names "
                f"({self.attrname!r} and {name!r})."
            )
        if self._slot == name:
            raise TypeError(f"the slot of {name} needs another name, such as '_{name}'")

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Self: ...
    @overload
    def __get__(self, instance: object, owner: type | None = None) -> _T_co: ...
    def __get__(self, instance: object, owner: type | None = None) -> Any:
        if instance is None:
            return self
        if self._slot is not None:
            slot = self._slot
            found = _in_slot(instance, slot)
            if found is not None:
                return found[0]
            return self._once(
                instance,
                lambda: _in_slot(instance, slot),
                lambda result: setattr(instance, slot, result),
            )
        name = self.attrname
        if name is None:
            raise TypeError(
                "Cannot use cached_property instance without calling __set_name__ on it."
            )
        attributes = self._attributes(instance)

        def look() -> tuple[Any] | None:
            return (attributes[name],) if name in attributes else None

        def keep(result: object) -> None:
            try:
                attributes[name] = result
            except TypeError:
                raise TypeError(
                    f"The '__dict__' attribute on {type(instance).__name__!r} instance does not "
                    f"support item assignment for caching {name!r} property."
                ) from None

        found = look()
        return self._once(instance, look, keep) if found is None else found[0]

    def _attributes(self, instance: object) -> Any:  # noqa: ANN401
        try:
            return instance.__dict__
        except AttributeError:
            kind = type(instance).__name__
            raise TypeError(
                f"instances of {kind} have no __dict__ to keep {self.attrname!r} in: add a slot "
                f"for it to the __slots__ of {kind}, and name it, as in "
                f"@cached_property(slot='_{self.attrname}'); or add '__dict__' to them"
            ) from None

    def _once(
        self,
        instance: object,
        look: Callable[[], tuple[Any] | None],
        keep: Callable[[Any], object],
    ) -> Any:  # noqa: ANN401
        def make(_: _Flight) -> Any:  # noqa: ANN401
            result = self.func(instance)
            # Who asked for it on the way to itself has computed it, too: the first one stays.
            found = look()
            if found is not None:
                return found[0]
            keep(result)
            return result

        # By the address: that is the instance's for as long as it is an argument here.
        return self._flights.once(id(instance), look, make)

    @classmethod
    def __class_getitem__(cls, key: object) -> GenericAlias:
        return GenericAlias(cls, key)


def _in_slot(instance: object, slot: str) -> tuple[Any] | None:
    try:
        return (getattr(instance, slot),)
    except AttributeError as error:
        if not hasattr(type(instance), slot) and not hasattr(instance, "__dict__"):
            kind = type(instance).__name__
            raise TypeError(f"{kind} has no slot {slot!r}: add it to its __slots__") from error
        return None
