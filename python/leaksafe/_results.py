"""The results of a function in a mapping: what `cached` does by its rarer options.

The wrapper is Rust's, as every decorated function's is: it says which call is meant, by the
instance or class that it has, and by the key of the other arguments. Here is where results are
looked for, computed and kept.
"""

from __future__ import annotations

import copy
import threading
import time
import weakref
from collections.abc import Callable, Hashable, Iterator, MutableMapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, ClassVar, NamedTuple, TypeAlias

from leaksafe import _refresh
from leaksafe._core import (
    LRUCache,
    TTLCache,
    _bring_back,  # pyright: ignore[reportPrivateUsage]
    _entry_size,  # pyright: ignore[reportPrivateUsage]
    _Flight,  # pyright: ignore[reportPrivateUsage]
    _Flights,  # pyright: ignore[reportPrivateUsage]
    _keys,  # pyright: ignore[reportPrivateUsage]
    _put_away,  # pyright: ignore[reportPrivateUsage]
)
from leaksafe._parameters import unhashable
from leaksafe._weak_cache import WeakCache
from leaksafe._weak_mappings import WeakIdDictionary

_Found: TypeAlias = tuple[Any] | None
Key: TypeAlias = tuple[Any, Any, Hashable]
_FEW = 64


class Options(NamedTuple):
    """What `cached` was asked for, checked."""

    single_flight: bool
    wait_timeout: float | None
    ttl: float | None
    refresh_after: float | None
    stale_if_error: float | None
    cache_if: Callable[[Any], object] | None
    copy: Callable[[Any], Any] | None


made: WeakIdDictionary[Any, None] = WeakIdDictionary()
"""The mappings that were made for one function, which the census has in its stead."""


class _Name:
    """Stands for a function in the keys of a mapping that others may share."""

    __slots__ = ("text",)

    def __init__(self, text: str) -> None:
        self.text = text

    def __repr__(self) -> str:
        return f"<results of {self.text}>"


class _Owner(weakref.ref[Any]):
    """An instance in the keys of its results, which go when it goes."""

    __slots__ = ("keys",)
    keys: set[Key]


class Aged:
    """A result with the time at which it was computed."""

    __slots__ = ("result", "since")

    def __init__(self, result: object, since: float) -> None:
        self.result = result
        self.since = since


_SAFE = (LRUCache, WeakCache)
"""Those that any number of threads may use; to a dict itself, one operation at a time is one."""


class _Locks:
    """One lock for each mapping that needs one, whichever functions share it."""

    _known: ClassVar[WeakIdDictionary[Any, Any]] = WeakIdDictionary()

    @classmethod
    def of(cls, mapping: MutableMapping[Any, Any]) -> AbstractContextManager[Any]:
        if isinstance(mapping, _SAFE) or type(mapping) is dict:
            return nullcontext()
        lock = threading.RLock()
        try:
            found: AbstractContextManager[Any] = cls._known.setdefault(mapping, lock)
        except TypeError:  # it can't be weakly referenced, and so not be known again
            return lock
        return found


class Keeper:
    """Keeps the results of one function."""

    def __init__(
        self,
        function: Callable[..., Any],
        name: str,
        cache: MutableMapping[Any, Any],
        own: bool,
        options: Options,
    ) -> None:
        self.function = function
        self._name = _Name(name)
        self.cache = cache
        self._own = own
        self._options = options
        self._lock = _Locks.of(cache)
        self._owners: dict[int, _Owner] = {}
        self._owned = 0
        self._prune_at = _FEW
        self._flights = _Flights(options.wait_timeout)
        self._aged = options.refresh_after is not None or options.stale_if_error is not None

    # What the wrapper asks for.

    def call(
        self,
        receiver: object,
        weakly: bool,
        rest: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Any, bool]:
        """Return the answer of a call, and whether it was there."""
        key, found = self.found(receiver, weakly, rest, args, kwargs)
        if found is not None:
            self._refresh_if_old(key, found[0], receiver if weakly else None, args, kwargs)
            return self._handed_out(found[0]), True
        instance = receiver if weakly else None
        computed = False

        def make(flight: _Flight | None = None) -> object:
            nonlocal computed
            computed = True
            return self._make(key, instance, flight, args, kwargs)

        if self._options.single_flight:
            stored = self._flights.once(key, lambda: self.look(key), make)
        else:
            stored = make()
        return self._handed_out(stored), not computed

    def discard(self, receiver: object, weakly: bool, rest: Hashable) -> bool:
        """Forget the result of a call, and return whether there was one."""
        key = self._key(receiver, weakly, rest)
        self._flights.forget(key)
        there = self.look(key) is not None
        with self._lock:
            self.cache.pop(key, None)
        return there

    def peek(self, receiver: object, weakly: bool, rest: Hashable) -> _Found:
        """Return the result of a call in a tuple, or None."""
        key = self._key(receiver, weakly, rest)
        missing = self
        peek = getattr(self.cache, "peek", None) or self.cache.get
        with self._lock:
            stored = peek(key, missing)
        found = None if stored is missing else self._living(stored, 0.0)
        return None if found is None else (self._handed_out(found[0]),)

    def put(self, receiver: object, weakly: bool, rest: Hashable, result: object) -> None:
        """Set the result of a call."""
        self._store(self._key(receiver, weakly, rest), receiver if weakly else None, result)

    def key(self, receiver: object, weakly: bool, rest: Hashable) -> Hashable:
        """Return the key of a call in the mapping."""
        return self._key(receiver, weakly, rest)

    def clear(self) -> None:
        """Forget every result. What is computed meanwhile isn't kept."""
        self._flights.forget_all()
        # Results of before are under a name that nobody asks for any more.
        old, self._name = self._name, _Name(self._name.text)
        self._owners, self._owned = {}, 0
        if self._own:
            self.cache.clear()
            return
        with self._lock:
            for key in self._keys(old):
                self.cache.pop(key, None)

    def size(self) -> tuple[int | None, int]:
        """Return the bound of the mapping, and how many results of the function are in it."""
        bound = getattr(self.cache, "maxsize", None)
        if self._own:
            return bound, len(self.cache)
        with self._lock:
            return bound, sum(1 for _ in self._keys(self._name))

    # How it is done.

    def _keys(self, name: _Name) -> Iterator[Hashable]:
        for key in _keys_of(self.cache):
            if isinstance(key, tuple) and key[:1] == (name,):
                yield key  # pyright: ignore[reportUnknownVariableType]

    def _key(self, receiver: object, weakly: bool, rest: Hashable) -> Key:
        return (self._name, weakref.ref(receiver) if weakly else receiver, rest)

    def found(
        self,
        receiver: object,
        weakly: bool,
        rest: Hashable,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> tuple[Key, _Found]:
        """Return the key of a call, and what `look` says of it."""
        key = self._key(receiver, weakly, rest)
        try:
            return key, self.look(key)
        except TypeError as error:
            try:
                hash(key)
            except TypeError:
                raise unhashable(self.function, args, kwargs, error) from None
            raise

    def look(self, key: Hashable, overtime: float = 0.0) -> _Found:
        """The stored value of a key in a tuple, unless it is past its time, or its result gone."""
        missing = self
        with self._lock:
            stored = self.cache.get(key, missing)
        return None if stored is missing else self._living(stored, overtime)

    def _living(self, stored: object, overtime: float) -> _Found:
        options = self._options
        if self._aged and isinstance(stored, Aged):
            age = time.monotonic() - stored.since
            if options.ttl is not None and age >= options.ttl + overtime:
                return None
            return None if _bring_back(stored.result) is None else (stored,)
        return None if _bring_back(stored) is None else (stored,)

    def _result(self, stored: object) -> Any:  # noqa: ANN401
        inner = stored.result if isinstance(stored, Aged) else stored
        found = _bring_back(inner)
        return inner if found is None else found[0]

    def _handed_out(self, stored: object) -> Any:  # noqa: ANN401
        result = self._result(stored)
        return result if self._options.copy is None else self._options.copy(result)

    def _make(
        self,
        key: Key,
        instance: object,
        flight: _Flight | None,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> object:
        try:
            result = self.function(*args, **kwargs)
        except Exception as error:
            stale = self.instead_of(key, error)
            if stale is None:
                raise
            return stale[0]
        self.keep(key, instance, result, lambda: flight is None or flight.current)
        return result

    def instead_of(self, key: Hashable, error: Exception) -> _Found:
        """Return the last result in place of an error, in a tuple, where there is one."""
        stale = self._stale(key)
        if stale is not None:
            _refresh.logger().warning(
                "%r failed; its last result is answered", self._name, exc_info=error
            )
        return stale

    def keep(
        self, key: Key, instance: object, result: object, is_current: Callable[[], bool]
    ) -> None:
        """Store a result, unless it isn't to be kept or was forgotten meanwhile."""
        cache_if = self._options.cache_if
        if cache_if is not None and not cache_if(result):
            return
        if is_current() and key[0] is self._name:
            stored = self._store(key, instance, result)
            if not is_current() or key[0] is not self._name:
                # Forgotten between the question and the storing.
                self._forget(key, stored)

    def _stale(self, key: Hashable) -> _Found:
        overtime = self._options.stale_if_error
        return None if overtime is None else self.look(key, overtime)

    def _forget(self, key: Hashable, stored: object) -> None:
        with self._lock:
            if self.cache.get(key, self) is stored:
                self.cache.pop(key, None)

    def _store(self, key: Key, instance: object, result: object) -> object:
        owner = None
        stored = result
        if instance is not None:
            owner = self._owner(instance)
            key = (key[0], owner, key[2])
            stored = _put_away(instance, result)
        if self._aged:
            stored = Aged(stored, time.monotonic())
        try:
            with self._lock:
                self.cache[key] = stored
        except ValueError:
            # Heavier than the whole cache, or a closed one: the result stands all the same.
            return stored
        # After the storing: what is noted and not there is forgotten.
        if owner is not None and key not in owner.keys:
            owner.keys.add(key)
            self._owned += 1
            if self._owned >= self._prune_at:
                self._prune()
        return stored

    def _owner(self, instance: object) -> _Owner:
        """The reference that takes an instance's entries out when it dies."""
        owner = self._owners.get(id(instance))
        if owner is None or owner() is not instance:
            owner = _Owner(instance, _Farewell(self, id(instance)))
            owner.keys = set()
            self._owners[id(instance)] = owner
        return owner

    def _holds(self, key: Key) -> bool:
        with self._lock:
            return key in self.cache

    def _prune(self) -> None:
        """Forget the keys of entries that have left the mapping by themselves."""
        kept = 0
        for owner in list(self._owners.values()):
            for key in list(owner.keys):
                if not self._holds(key):
                    owner.keys.discard(key)
                    if self._holds(key):  # stored by another thread meanwhile
                        owner.keys.add(key)
            kept += len(owner.keys)
        self._owned = kept
        self._prune_at = max(_FEW, 2 * kept)

    def part(self, owner: _Owner, address: int) -> None:
        """Take out what was kept of an instance that has died."""
        if self._owners.get(address) is owner:
            del self._owners[address]
        # They refer to the owner.
        keys, owner.keys = owner.keys, set()
        for key in keys:
            with self._lock:
                self.cache.pop(key, None)

    def _refresh_if_old(
        self,
        key: Key,
        stored: object,
        instance: object,
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        after = self._options.refresh_after
        if after is None or not self.is_old(stored):
            return

        def look() -> _Found:
            found = self.look(key)
            return None if found is None or self.is_old(found[0]) else found

        def make(flight: _Flight) -> object:
            return self._make(key, instance, flight, args, kwargs)

        _refresh.behind(key, lambda: self._flights.once(key, look, make))

    def is_old(self, stored: object) -> bool:
        after = self._options.refresh_after
        if after is None or not isinstance(stored, Aged):
            return False
        return time.monotonic() - stored.since >= after


def _keys_of(mapping: MutableMapping[Any, Any]) -> list[Any]:
    """The keys at one moment, though other threads change the mapping."""
    if isinstance(mapping, LRUCache):
        return _keys(mapping)
    if isinstance(mapping, WeakCache):
        return mapping._keys()  # pyright: ignore[reportPrivateUsage]
    return list(mapping)


class _Farewell:
    """The callback of an owner, which holds the keeper weakly."""

    __slots__ = ("_address", "_keeper")

    def __init__(self, keeper: Keeper, address: int) -> None:
        self._keeper = weakref.ref(keeper)
        self._address = address

    def __call__(self, owner: _Owner) -> None:
        keeper = self._keeper()
        if keeper is not None:
            keeper.part(owner, self._address)


def make_cache(
    maxsize: int | None,
    max_bytes: int | str | None,
    lifetime: float | None,
    getsizeof: Callable[[Any], int] | None,
    on_remove: Callable[[Any, Any, Any], object] | None,
) -> MutableMapping[Any, Any]:
    """Return a mapping of ours for the results of one function."""

    def result_of(stored: object) -> Any:  # noqa: ANN401
        found = _bring_back(stored.result if isinstance(stored, Aged) else stored)
        return None if found is None else found[0]

    def told(key: Key, stored: object, cause: str) -> object:
        assert on_remove is not None
        return on_remove(key[2], result_of(stored), cause)

    def weigh(stored: object) -> int:
        assert getsizeof is not None
        return getsizeof(result_of(stored))

    def bytes_of(key: Key, stored: object) -> int:
        return _entry_size(key[2], result_of(stored))

    weight: Callable[..., int] | None = None
    if getsizeof is not None:
        weight = weigh
    elif max_bytes is not None:
        weight = bytes_of
    bound: dict[str, Any] = {"maxsize": maxsize} if max_bytes is None else {"max_bytes": max_bytes}
    listener = None if on_remove is None else told
    cache: MutableMapping[Any, Any]
    if lifetime is None:
        cache = LRUCache(**bound, getsizeof=weight, on_remove=listener)
    else:
        cache = TTLCache(**bound, ttl=lifetime, getsizeof=weight, on_remove=listener)
    made[cache] = None
    return cache


def copier(how: bool | Callable[[Any], Any]) -> Callable[[Any], Any] | None:
    """Return what makes each caller's own copy of a result."""
    if isinstance(how, bool):
        return copy.deepcopy if how else None
    if callable(how):
        return how
    raise TypeError(f"copy must be True, or a callable, not {type(how).__name__}: {how!r}")
