"""What `cached` and `cachedmethod` make."""

from __future__ import annotations

import functools
import inspect
import threading
import weakref
from collections.abc import Callable, MutableMapping
from contextlib import suppress
from types import MethodType
from typing import Any

from leaksafe.compat.cachetools import Cache, CacheInfo

_waits: dict[int, int] = {}
"""Which thread each waiting thread waits for."""


class State:
    """What a decorated function counts, and which of its calls are being computed."""

    def __init__(self) -> None:
        self.hits = self.misses = 0
        # The key of each of them, and the thread that computes it.
        self.pending: dict[Any, int] = {}
        self.bound: Callable[[], Any] = lambda: None

    def __reduce__(self) -> Any:
        return State, ()


class _Caching:
    """A call that asks a cache first. Nothing of a call that raises is kept."""

    cache: Any
    cache_key: Callable[..., Any]
    cache_lock: Any
    cache_condition: Any

    def __init__(self, function: Callable[..., Any], state: State) -> None:
        self.__function = function
        self.__state = state

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        cache, key = self.cache, self.cache_key(*args, **kwargs)
        lock, condition = self.cache_lock, self.cache_condition
        if condition is not None:
            return self.__call_once(cache, key, lock, condition, args, kwargs)
        if lock is None:
            try:
                return self.__hit(cache, key)
            except KeyError:
                self.__state.misses += 1
            value = self.__function(*args, **kwargs)
            with suppress(ValueError):  # too large
                cache[key] = value
            return value
        with lock:
            try:
                return self.__hit(cache, key)
            except KeyError:
                self.__state.misses += 1
        value = self.__function(*args, **kwargs)
        with lock:
            try:
                # What another thread has stored meanwhile is everybody's.
                return cache.setdefault(key, value)
            except ValueError:
                return value

    def __hit(self, cache: MutableMapping[Any, Any], key: Any) -> Any:
        value = cache[key]
        self.__state.hits += 1
        return value

    def __call_once(
        self, cache: Any, key: Any, lock: Any, condition: Any, args: Any, kwargs: Any
    ) -> Any:
        pending, this = self.__state.pending, threading.get_ident()
        with lock:
            leads = self.__wait(key, condition)
            try:
                return self.__hit(cache, key)
            except KeyError:
                self.__state.misses += 1
            if leads:
                pending[key] = this
        try:
            value = self.__function(*args, **kwargs)
            with lock, suppress(ValueError):  # too large
                cache[key] = value
            return value
        finally:
            if leads:
                with lock:
                    pending.pop(key, None)
                    condition.notify_all()

    def __wait(self, key: Any, condition: Any) -> bool:
        """Wait while another thread computes `key`; `False` where that would never end."""
        pending, this = self.__state.pending, threading.get_ident()
        while (other := pending.get(key)) is not None:
            _waits[this] = other
            try:
                # Whoever waits for a thread that waits for this one, or for itself, goes on.
                last: int | None = other
                for _ in range(len(_waits) + 1):
                    if last is None or last == this:
                        break
                    last = _waits.get(last)
                if last == this:
                    return False
                condition.wait()
            finally:
                _waits.pop(this, None)
        return True

    def cache_clear(self) -> None:
        """Remove all entries of the cache, and count anew."""
        lock = self.cache_lock
        if lock is None:
            self.__clear()
        else:
            with lock:
                self.__clear()

    def __clear(self) -> None:
        self.cache.clear()
        self.__state.hits = self.__state.misses = 0

    def _info(self) -> CacheInfo:
        lock = self.cache_lock
        if lock is None:
            return self.__count()
        with lock:
            return self.__count()

    def __count(self) -> CacheInfo:
        cache, state = self.cache, self.__state
        if isinstance(cache, Cache):
            return CacheInfo(state.hits, state.misses, cache.maxsize, cache.currsize)
        return CacheInfo(state.hits, state.misses, None, len(cache))


class Function(_Caching):
    """A function that remembers."""

    def __init__(
        self, function: Callable[..., Any], cache: Any, key: Any, lock: Any, condition: Any
    ) -> None:
        functools.update_wrapper(self, function)
        super().__init__(function, State())
        self.cache = cache
        self.cache_key = key
        self.cache_lock = condition if lock is None else lock
        self.cache_condition = condition

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else MethodType(self, instance)

    def __copy__(self) -> Any:
        return self

    def __deepcopy__(self, memo: Any) -> Any:
        return self

    def __reduce__(self) -> str:
        return self.__qualname__  # type: ignore[attr-defined, no-any-return]

    def __repr__(self) -> str:
        return f"<cached {self.__wrapped__!r}>"  # type: ignore[attr-defined]


class CountingFunction(Function):
    """One that tells what it counts."""

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, and the sizes of the cache."""
        return self._info()


def function(
    function: Callable[..., Any], cache: Any, key: Any, lock: Any, condition: Any, info: bool
) -> Function:
    kind = CountingFunction if info else Function
    return kind(function, cache, key, lock, condition)


class BoundMethod(_Caching):
    """A method of one instance that remembers. The instance doesn't refer to it: no cycle."""

    def __init__(self, instance: Any, descriptor: Method, state: State) -> None:
        functools.update_wrapper(self, descriptor.method)
        super().__init__(MethodType(descriptor.method, instance), state)
        self.__instance = instance
        self.__descriptor = descriptor
        self.cache_key = functools.partial(descriptor.key, instance)

    @property
    def cache(self) -> Any:
        """The cache."""
        return self.__descriptor.cache(self.__instance)

    @property
    def cache_lock(self) -> Any:
        """The lock."""
        lock = self.__descriptor.lock
        return None if lock is None else lock(self.__instance)

    @property
    def cache_condition(self) -> Any:
        """The condition."""
        condition = self.__descriptor.condition
        return None if condition is None else condition(self.__instance)

    def __reduce__(self) -> Any:
        return self.__descriptor.__get__, (self.__instance,)

    def __repr__(self) -> str:
        method = self.__descriptor.method
        return f"<cachedmethod {method!r} of {object.__repr__(self.__instance)}>"


class CountingBoundMethod(BoundMethod):
    """One that tells what it counts."""

    def cache_info(self) -> CacheInfo:
        """Return hits, misses, and the sizes of the cache."""
        return self._info()


class Method:
    """What `cachedmethod` puts into the class."""

    def __init__(
        self,
        method: Callable[..., Any],
        cache: Any,
        key: Any,
        lock: Any,
        condition: Any,
        info: bool,
    ) -> None:
        functools.update_wrapper(self, method)
        self.method = method
        self.cache = cache
        self.key = key
        self.lock = condition if lock is None else lock
        self.condition = condition
        self.kind = CountingBoundMethod if info else BoundMethod
        self.owner: Any = None
        self.name: str | None = None
        self.unbound = UnboundMethod(self)

    def __set_name__(self, owner: type, name: str) -> None:
        if self.name is None:
            self.owner, self.name = owner, name
        elif name != self.name:
            raise TypeError(
                f"one @cachedmethod has two names, {self.name!r} and {name!r}: decorate twice"
            )

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if self.name is None:
            if isinstance(instance, type):
                self()  # the `classmethod` of 3.11 and 3.12 passes no name on
            raise TypeError("a @cachedmethod must be set in a class body, where it gets its name")
        if instance is None:
            return self.unbound
        state = self.__state(instance, self.name)
        bound = state.bound()
        if bound is None:
            bound = self.kind(instance, self, state)
            state.bound = weakref.ref(bound)
        return bound

    def __state(self, instance: Any, name: str) -> State:
        """What belongs to an instance, which keeps it; what `super()` looks up has its own."""
        found = next((c.__dict__[name] for c in type(instance).__mro__ if name in c.__dict__), None)
        try:
            attributes = instance.__dict__
            if found is self:
                own: State = attributes.setdefault(f"__cachetools_cachedmethod_{name}", State())
                return own
            others: dict[Method, State]
            others = attributes.setdefault("__cachetools_cachedmethods", {})
            return others.setdefault(self, State())
        except AttributeError:
            problem = "No '__dict__' attribute on {!r} instance to cache {!r}"
        except TypeError:
            problem = (
                "The '__dict__' attribute on {!r} instance does not support item assignment for "
                "caching {!r}"
            )
        raise TypeError(problem.format(type(instance).__name__, name))

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        raise TypeError(
            "@cachedmethod must be the outermost decorator, and of a method: class methods, static "
            "methods (as any other call of it without an instance) and properties are not supported"
        )

    def __reduce__(self) -> Any:
        return _look_up, (self.owner, self.name)


def _look_up(owner: type, name: str) -> Any:
    return owner.__dict__[name]


class UnboundMethod:
    """What the class has: called with an instance first."""

    def __init__(self, descriptor: Method) -> None:
        functools.update_wrapper(self, descriptor.method)
        self.__descriptor = descriptor

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        return self if instance is None else self.__descriptor.__get__(instance)

    def __call__(self, /, *args: Any, **kwargs: Any) -> Any:
        if args:
            instance, *args = args  # type: ignore[assignment]
        else:
            instance = kwargs.pop(self.__receiver(kwargs))
        return self.__descriptor.__get__(instance)(*args, **kwargs)

    def __receiver(self, kwargs: dict[str, Any]) -> str:
        """The name of the method's first parameter, which is among the keywords."""
        with suppress(ValueError, StopIteration):
            first = next(iter(inspect.signature(self.__descriptor.method).parameters.values()))
            if first.kind is first.POSITIONAL_OR_KEYWORD and first.name in kwargs:
                return first.name
        raise TypeError("a method that is called through its class needs an instance first")

    def __reduce__(self) -> Any:
        return self.__descriptor.__get__, (None,)

    def __repr__(self) -> str:
        return f"<cachedmethod {self.__descriptor.method!r}>"
