"""`LazyObjects` and `lazy`: objects that are made when somebody looks at them."""

from __future__ import annotations

import gc
import reprlib
import sys
import time
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial, wraps
from itertools import count
from operator import index as as_index
from typing import Any, Generic, ParamSpec, Protocol, SupportsIndex, TypeVar, final, overload

from leaksafe._core import LRUCache
from leaksafe._kinds import is_async_generator_function, is_generator_function
from leaksafe._weak_mappings import WeakValueDictionary

_S_co = TypeVar("_S_co", covariant=True)
_S = TypeVar("_S")
_T = TypeVar("_T")
_T_co = TypeVar("_T_co", covariant=True)
_R = TypeVar("_R")
_P = ParamSpec("_P")


class _Source(Protocol[_S_co]):
    def __len__(self) -> int: ...
    def __getitem__(self, index: int, /) -> _S_co: ...


class LiveBoundError(RuntimeError):
    """More of the objects of a `LazyObjects` are alive than its `max_live`.

    >>> from leaksafe import LazyObjects, LiveBoundError
    >>> class Word:
    ...     def __init__(self, number):
    ...         self.number = number
    >>> kept = []
    >>> try:
    ...     for word in LazyObjects(Word, 1_000, max_live=10):
    ...         kept.append(word)
    ... except LiveBoundError as error:
    ...     print(error.live)
    11

    The message names what holds them, as far as the collector knows.
    """

    __module__ = "leaksafe"

    live: int
    """How many were alive, the one that was being made included."""

    def __init__(self, message: str, live: int = 0) -> None:
        super().__init__(message, live)
        self.live = live

    def __str__(self) -> str:
        return str(self.args[0])


@final
class LazyObjects(Sequence[_T_co]):
    """A sequence of objects of which none exists: each is made when it is looked at.

    >>> from leaksafe import LazyObjects
    >>> class Word:
    ...     def __init__(self, number):
    ...         self.number = number
    >>> words = LazyObjects(Word, range(1_000_000))
    >>> len(words), words[-1].number
    (1000000, 999999)
    >>> words[10:20][0].number
    10

    `factory` is called with one element of `source`, which is any sequence, or a length `n` that
    stands for `range(n)`. What it returns is given out and not kept, so that looking twice makes
    two objects. Three options keep an eye on them:

    - `keep=n`: the `n` looked at last stay, and are given out again.
    - `identity=True`: while somebody holds `words[i]`, everybody gets that object.
    - `max_live=n`: if more than `n` of the objects are alive, even after a collection,
      `LiveBoundError` is raised, and names what holds them. A loop by itself has two: the last
      object is let go of when the next one is there.

    The last two need objects that can be weakly referenced, and raise `TypeError` for others. All
    three take the length of `source` when they are given; without them it is asked each time.

    `len`, an index and a slice are O(1), whatever the length. Slices, `map` and `batched` are
    `LazyObjects` as well, with the same options. It can be pickled where the factory and the source
    can; what is kept is not pickled.
    """

    __module__ = "leaksafe"
    __slots__ = ("__weakref__", "_counted", "_factory", "_live", "_source")

    _factory: Callable[[Any], _T_co]
    _source: Sequence[Any]
    _live: _Watched[Any] | None
    _counted: int
    """How many elements of the source are what they are counted by: all of `range(n)`, or none."""

    @overload
    def __init__(
        self,
        factory: Callable[[int], _T_co],
        source: SupportsIndex,
        *,
        keep: SupportsIndex | None = None,
        identity: bool = False,
        max_live: SupportsIndex | None = None,
    ) -> None: ...
    @overload
    def __init__(
        self,
        factory: Callable[[_S], _T_co],
        source: _Source[_S],
        *,
        keep: SupportsIndex | None = None,
        identity: bool = False,
        max_live: SupportsIndex | None = None,
    ) -> None: ...
    def __init__(
        self,
        factory: Callable[[Any], _T_co],
        source: Any,
        *,
        keep: SupportsIndex | None = None,
        identity: object = False,
        max_live: SupportsIndex | None = None,
    ) -> None:
        if not callable(factory):
            raise TypeError(f"factory must be callable, not {type(factory).__name__}")
        if not isinstance(identity, bool):
            raise TypeError(f"identity must be a bool, not {type(identity).__name__}")
        sequence = _sequence(source)
        most_kept = None if keep is None else _at_least_one("keep", keep)
        most_live = None if max_live is None else _at_least_one("max_live", max_live)
        if most_kept is not None and most_live is not None and most_kept >= most_live:
            raise ValueError(f"keep ({most_kept}) must be less than max_live ({most_live})")
        if (identity or most_live) and isinstance(factory, type):
            _check_weakly_referenceable(factory)
        if identity or most_kept or most_live:
            watched = _Watched(factory, sequence, most_kept, identity, most_live)
            self._set(watched, range(len(sequence)), watched if most_live else None)
        else:
            self._set(factory, sequence, None)

    def _set(
        self, factory: Callable[[Any], _T_co], source: Sequence[Any], live: _Watched[Any] | None
    ) -> None:
        self._factory, self._source, self._live = factory, source, live
        counts = type(source) is range and source.start == 0 and source.step == 1
        self._counted = len(source) if counts else 0

    def __len__(self) -> int:
        return len(self._source)

    @overload
    def __getitem__(self, index: SupportsIndex, /) -> _T_co: ...
    @overload
    def __getitem__(self, index: slice, /) -> LazyObjects[_T_co]: ...
    def __getitem__(self, index: Any, /) -> Any:
        if type(index) is int and 0 <= index < self._counted:
            return self._factory(index)
        if type(index) is not slice:
            return self._factory(self._source[index])
        source = self._source
        if type(source) is range:
            return _made(self._factory, source[index], self._live)
        factory = _Element(self._factory, source)
        return _made(factory, range(len(source))[index], self._live)

    def __iter__(self) -> Iterator[_T_co]:
        return map(self._factory, self._source)

    def __reversed__(self) -> Iterator[_T_co]:
        return map(self._factory, reversed(self._source))

    def map(self, function: Callable[[_T_co], _R], /) -> LazyObjects[_R]:
        """Return the sequence of what a function returns for each object. O(1).

        >>> from leaksafe import LazyObjects
        >>> list(LazyObjects(str, 3).map(len))
        [1, 1, 1]
        """
        if not callable(function):
            raise TypeError(f"map needs a callable, not {type(function).__name__}")
        return _made(_Then(self._factory, function), self._source, self._live)

    def batched(self, n: SupportsIndex, /) -> LazyObjects[LazyObjects[_T_co]]:
        """Return the sequence of slices of `n` objects, of which the last may be shorter. O(1).

        >>> from leaksafe import LazyObjects
        >>> [list(batch) for batch in LazyObjects(str, 5).batched(2)]
        [['0', '1'], ['2', '3'], ['4']]
        """
        size = _at_least_one("n", n)
        return _made(_Batch(self, size), range(0, len(self), size), self._live)

    @property
    def live(self) -> int | None:
        """How many of the objects are alive; `None` without `max_live`, where nobody counts.

        >>> from leaksafe import LazyObjects
        >>> objects = LazyObjects(set, [[1], [2]], max_live=10)
        >>> held = objects[0]
        >>> objects.live
        1
        """
        return None if self._live is None else self._live.live

    def __reduce__(self) -> tuple[Any, ...]:
        return _made, (self._factory, self._source, self._live)

    def __repr__(self) -> str:
        return f"LazyObjects({_name(self._factory)}, {reprlib.repr(self._source)})"


def _made(
    factory: Callable[[Any], _R], source: Sequence[Any], live: _Watched[Any] | None
) -> LazyObjects[_R]:
    objects: LazyObjects[_R] = LazyObjects.__new__(LazyObjects)  # pyright: ignore[reportUnknownVariableType]
    objects._set(factory, source, live)  # pyright: ignore[reportPrivateUsage]
    return objects


def _name(factory: object) -> str:
    return getattr(factory, "__qualname__", None) or repr(factory)


def _at_least_one(name: str, value: SupportsIndex) -> int:
    try:
        number = as_index(value)
    except TypeError:
        number = None
    if number is None or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if number < 1:
        raise ValueError(f"{name} must be at least 1, not {number}")
    if number > sys.maxsize:
        raise OverflowError(f"{name} must be at most {sys.maxsize}")
    return number


def _sequence(source: object) -> Sequence[Any]:
    """Return the source as a sequence whose length is known."""
    sequence: Any = source
    if isinstance(source, SupportsIndex) and not isinstance(source, bool):
        length = as_index(source)
        if length < 0:
            raise ValueError(f"the length must not be negative, and is {length}")
        sequence = range(length)
    kind: type[Any] = sequence.__class__
    if not (hasattr(kind, "__getitem__") and hasattr(kind, "__len__")) or issubclass(kind, Mapping):
        raise TypeError(f"source must be a sequence or a length, not {kind.__name__}")
    len(sequence)  # raises OverflowError where it doesn't fit
    return sequence  # type: ignore[no-any-return]


def _check_weakly_referenceable(made: type) -> None:
    if made.__weakrefoffset__ == 0 and vars(made).get("__new__") is None:
        raise TypeError(
            f"identity and max_live need objects that can be weakly referenced, and those of "
            f'{made.__qualname__} can\'t be: add "__weakref__" to its __slots__'
        )


class _Element(Generic[_T]):
    """A factory by the number of an element of a source."""

    __slots__ = ("factory", "source")

    def __init__(self, factory: Callable[[Any], _T], source: Sequence[Any]) -> None:
        self.factory, self.source = factory, source

    def __call__(self, index: int) -> _T:
        return self.factory(self.source[index])

    def __reduce__(self) -> tuple[Any, ...]:
        return _Element, (self.factory, self.source)

    def __repr__(self) -> str:
        return _name(self.factory)


class _Then(Generic[_T]):
    """A factory, and a function of what it makes."""

    __slots__ = ("factory", "function")

    def __init__(self, factory: Callable[[Any], Any], function: Callable[[Any], _T]) -> None:
        self.factory, self.function = factory, function

    def __call__(self, argument: object) -> _T:
        return self.function(self.factory(argument))

    def __reduce__(self) -> tuple[Any, ...]:
        return _Then, (self.factory, self.function)

    def __repr__(self) -> str:
        return f"{_name(self.factory)} → {_name(self.function)}"


class _Batch(Generic[_T]):
    """The slice that begins at a number."""

    __slots__ = ("objects", "size")

    def __init__(self, objects: LazyObjects[_T], size: int) -> None:
        self.objects, self.size = objects, size

    def __call__(self, start: int) -> LazyObjects[_T]:
        return self.objects[start : start + self.size]

    def __reduce__(self) -> tuple[Any, ...]:
        return _Batch, (self.objects, self.size)

    def __repr__(self) -> str:
        return f"batches of {self.size} of {self.objects!r}"


class _Watched(Generic[_T]):
    """A factory by number that knows what it has made."""

    __slots__ = (
        "__weakref__",
        "_arguments",
        "_held",
        "_living",
        "_max_live",
        "_numbers",
        "_recent",
    )

    def __init__(
        self,
        factory: Callable[[Any], _T],
        source: Sequence[Any],
        keep: int | None,
        identity: bool,
        max_live: int | None,
    ) -> None:
        self._arguments = factory, source, keep, identity, max_live
        self._recent: LRUCache[int, _T] | None = LRUCache(keep) if keep else None
        self._held: WeakValueDictionary[int, Any] | None = (
            WeakValueDictionary() if identity else None
        )
        self._max_live = max_live
        self._living: dict[int, weakref.ref[Any]] = {}
        self._numbers = count()

    def __call__(self, index: int) -> _T:
        if self._recent is None:
            return self._shared(index)
        return self._recent.get_or_create(index, partial(self._shared, index))

    def __reduce__(self) -> tuple[Any, ...]:
        return _Watched, self._arguments

    def __repr__(self) -> str:
        return _name(self._arguments[0])

    @property
    def live(self) -> int:
        return len(self._living)

    def _shared(self, index: int) -> _T:
        """Make an object, unless there is one that lives."""
        if self._held is None:
            return self._make(index)
        return self._held.get_or_create(index, partial(self._make, index))  # type: ignore[no-any-return]

    def _make(self, index: int) -> _T:
        factory, source, *_ = self._arguments
        made = factory(source[index])
        if self._held is not None:
            _refer(made)
        if self._max_live is not None:
            try:
                self._count(made, self._max_live)
            except BaseException:
                # The traceback must not be what keeps it.
                del made
                raise
        return made

    def _collect(self, most: int) -> int:
        """Collect garbage until no more than `most` are alive; return how many are."""
        # What has just been dropped is mostly young. While another thread collects, ours returns
        # at once, and says nothing.
        for generation, pause in (1, 0.0), (2, 0.0), (2, 0.01), (2, 0.1):
            if pause:
                time.sleep(pause)
            gc.collect(generation)
            if len(self._living) <= most:
                break
        return len(self._living)

    def _count(self, made: object, most: int) -> None:
        number = next(self._numbers)
        # Called with the dead reference, which it takes for a default.
        self._living[number] = _refer(made, partial(self._living.pop, number))
        kind = type(made)
        del made
        if len(self._living) > most and (live := self._collect(most)) > most:
            from leaksafe._holders import holders  # noqa: PLC0415  # it imports inspect

            references = list(self._living.values())[:-1]
            found = [one for one in (reference() for reference in references) if one is not None]
            text = holders(found)
            del found
            raise LiveBoundError(
                f"{live} objects ({kind.__qualname__}) are alive, one more than max_live allows; "
                f"{text}",
                live,
            )


def _refer(made: object, callback: Callable[[Any], object] | None = None) -> weakref.ref[Any]:
    try:
        return weakref.ref(made, callback)
    except TypeError as error:
        raise TypeError(
            "identity and max_live need objects that can be weakly referenced, and the factory "
            f"returned one that can't be: {type(made).__qualname__}"
        ) from error


@final
class _Lazy(Iterable[_T_co]):
    """What a function that is decorated with `lazy` returns: each loop over it starts afresh."""

    __slots__ = ("__weakref__", "_again", "_generator")

    def __init__(
        self, generator: Callable[[], Iterator[_T_co]], again: Callable[[], Iterable[_T_co]]
    ) -> None:
        self._generator, self._again = generator, again

    def __iter__(self) -> Iterator[_T_co]:
        return self._generator()

    def __reduce__(self) -> tuple[Any, ...]:
        return self._again, ()

    def __repr__(self) -> str:
        again: Any = self._again
        arguments = [*map(repr, again.args)]
        arguments += [f"{name}={value!r}" for name, value in again.keywords.items()]
        return f"<lazy {_name(again.func)}({', '.join(arguments)})>"


def lazy(function: Callable[_P, Iterable[_T]], /) -> Callable[_P, Iterable[_T]]:
    """Have a generator function return what can be looped over any number of times.

    >>> from leaksafe import lazy
    >>> @lazy
    ... def create_objs(num):
    ...     for i in range(num):
    ...         yield i * i
    >>> squares = create_objs(3)
    >>> list(squares), list(squares)
    ([0, 1, 4], [0, 1, 4])

    Each loop calls the generator function anew, with the arguments that were given; wrong ones
    raise `TypeError` at once. A loop that is left closes its generator at once. What is returned
    holds the arguments and nothing else, and can be pickled where these and the function can.
    """
    if not is_generator_function(function):
        raise TypeError(
            f"lazy decorates a function that yields, and {_name(function)} is none"
            + (": an async one can't be looped over" * is_async_generator_function(function))
        )
    generator_function: Callable[..., Any] = function

    @wraps(function)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> Iterable[_T]:
        generator = partial(generator_function, *args, **kwargs)
        generator().close()  # checks the arguments, and runs nothing
        return _Lazy(generator, partial(wrapper, *args, **kwargs))

    return wrapper
