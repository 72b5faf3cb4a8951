"""How each library is asked for the same thing. The peers ship few types: they are `Any` here."""

import asyncio
import functools
from collections.abc import Callable
from datetime import timedelta
from importlib import import_module
from importlib.metadata import version
from typing import Any

Function = Callable[..., Any]


class NotOfferedError(Exception):
    """The library has no such thing."""


class Contestant:
    """A library with a mapping that is a cache, unless it says otherwise."""

    name: str
    module: str
    distribution = ""

    @property
    def version(self) -> str:
        """The installed version; empty for what comes with Python."""
        return version(self.distribution) if self.distribution else ""

    @property
    def package(self) -> Any:
        """The imported library."""
        return import_module(self.module)

    def lru(self, maxsize: Any) -> Any:
        """A cache bounded in entries."""
        raise NotOfferedError

    def weighed(self, maxsize: int, weigh: Function) -> Any:
        """A cache bounded by the sum of what a callback says of values."""
        raise NotOfferedError

    def listened(self, maxsize: int, listener: Function) -> Any:
        """A cache that tells of what it evicts."""
        raise NotOfferedError

    def ttl(self, maxsize: int, seconds: Any) -> Any:
        """A cache whose entries live for a time."""
        raise NotOfferedError

    def put(self, cache: Any, key: Any, value: Any) -> None:
        """Set an entry."""
        cache[key] = value

    def get(self, cache: Any, key: Any) -> Any:
        """Look up an entry: None where there is none."""
        return cache.get(key)

    def count(self, cache: Any) -> int:
        """How many entries there are."""
        return len(cache)

    def clear(self, cache: Any) -> None:
        """Forget all."""
        cache.clear()

    def decorated(self, function: Function, maxsize: int = 128) -> Any:
        """A function that remembers its results."""
        raise NotOfferedError

    def method(self, function: Function) -> Any:
        """What the library offers for a method; its plain decorator where it has nothing else."""
        return self.decorated(function)

    def bounded(self, function: Function, maxsize: int) -> Any:
        """A function with a cache bounded by the weight of its results, each being its length."""
        raise NotOfferedError

    def coroutine(self, function: Function, maxsize: int = 128) -> Any:
        """A coroutine function that remembers its results and computes each once."""
        raise NotOfferedError


class Leaksafe(Contestant):
    """Ours."""

    name, module, distribution = "leaksafe", "leaksafe", "leaksafe"

    def lru(self, maxsize: Any) -> Any:
        return self.package.LRUCache(maxsize)

    def weighed(self, maxsize: int, weigh: Function) -> Any:
        return self.package.LRUCache(maxsize, weigh)

    def listened(self, maxsize: int, listener: Function) -> Any:
        return self.package.LRUCache(maxsize, on_remove=listener)

    def ttl(self, maxsize: int, seconds: Any) -> Any:
        return self.package.TTLCache(maxsize, seconds)

    def decorated(self, function: Function, maxsize: int = 128) -> Any:
        return self.package.lru_cache(maxsize=maxsize)(function)

    def bounded(self, function: Function, maxsize: int) -> Any:
        return self.package.cached(self.package.LRUCache(maxsize, len))(function)

    def coroutine(self, function: Function, maxsize: int = 128) -> Any:
        return self.package.cached(maxsize=maxsize)(function)


class Functools(Contestant):
    """The decorator of the standard library."""

    name, module = "functools", "functools"

    def decorated(self, function: Function, maxsize: int = 128) -> Any:
        return functools.lru_cache(maxsize=maxsize)(function)


class Cachetools(Contestant):
    """Pure Python; its decorator with a condition computes each result once."""

    name, module, distribution = "cachetools", "cachetools", "cachetools"

    def lru(self, maxsize: Any) -> Any:
        return self.package.LRUCache(maxsize)

    def weighed(self, maxsize: int, weigh: Function) -> Any:
        return self.package.LRUCache(maxsize, getsizeof=weigh)

    def ttl(self, maxsize: int, seconds: Any) -> Any:
        return self.package.TTLCache(maxsize, seconds)

    def decorated(self, function: Function, maxsize: int = 128) -> Any:
        return self.package.cached(self.package.LRUCache(maxsize))(function)

    def method(self, function: Function) -> Any:
        return self.package.cachedmethod(lambda self: self.cache)(function)

    def bounded(self, function: Function, maxsize: int) -> Any:
        return self.package.cached(self.package.LRUCache(maxsize, getsizeof=len))(function)


class Cachebox(Contestant):
    """Rust."""

    name, module, distribution = "cachebox", "cachebox", "cachebox"

    def lru(self, maxsize: Any) -> Any:
        return self.package.LRUCache(maxsize)

    def weighed(self, maxsize: int, weigh: Function) -> Any:
        return self.package.LRUCache(maxsize, getsizeof=lambda key, value: weigh(value))

    def ttl(self, maxsize: int, seconds: Any) -> Any:
        return self.package.TTLCache(maxsize, seconds, sweep_interval=1.0)

    def decorated(self, function: Function, maxsize: int = 128) -> Any:
        return self.package.cached(self.package.LRUCache(maxsize))(function)

    def bounded(self, function: Function, maxsize: int) -> Any:
        cache = self.package.LRUCache(maxsize, getsizeof=lambda key, value: len(value))
        return self.package.cached(cache)(function)

    def coroutine(self, function: Function, maxsize: int = 128) -> Any:
        return self.decorated(function, maxsize)


class LruDict(Contestant):
    """C; a mapping with a callback."""

    name, module, distribution = "lru-dict", "lru", "lru-dict"

    def lru(self, maxsize: Any) -> Any:
        return self.package.LRU(maxsize)

    def listened(self, maxsize: int, listener: Function) -> Any:
        return self.package.LRU(maxsize, callback=listener)


class MokaPy(Contestant):
    """Rust, around the moka crate."""

    name, module, distribution = "moka-py", "moka_py", "moka-py"

    def lru(self, maxsize: Any) -> Any:
        return self.package.Moka(maxsize, policy="lru")

    def weighed(self, maxsize: int, weigh: Function) -> Any:
        return self.package.Moka(maxsize, weigher=lambda key, value: weigh(value), policy="lru")

    def listened(self, maxsize: int, listener: Function) -> Any:
        return self.package.Moka(maxsize, eviction_listener=listener, policy="lru")

    def ttl(self, maxsize: int, seconds: Any) -> Any:
        return self.package.Moka(maxsize, ttl=seconds, policy="lru")

    def put(self, cache: Any, key: Any, value: Any) -> None:
        cache.set(key, value)

    def count(self, cache: Any) -> int:
        cache.run_pending_tasks()
        return int(cache.count())

    def decorated(self, function: Function, maxsize: int = 128) -> Any:
        return self.package.cached(maxsize=maxsize, wait_concurrent=True)(function)

    def coroutine(self, function: Function, maxsize: int = 128) -> Any:
        return self.decorated(function, maxsize)


class Theine(Contestant):
    """Python and Rust."""

    name, module, distribution = "theine", "theine", "theine"

    def lru(self, maxsize: Any) -> Any:
        return self.package.Cache(maxsize)

    def ttl(self, maxsize: int, seconds: Any) -> Any:
        return _Timed(self.package.Cache(maxsize), timedelta(seconds=seconds))

    def put(self, cache: Any, key: Any, value: Any) -> None:
        cache.set(key, value)

    def get(self, cache: Any, key: Any) -> Any:
        return cache.get(key)[0]

    def decorated(self, function: Function, maxsize: int = 128) -> Any:
        return self.package.Memoize(maxsize, None)(function)

    def coroutine(self, function: Function, maxsize: int = 128) -> Any:
        return self.decorated(function, maxsize)


class _Timed:
    """A cache of theine whose every entry has the same time to live."""

    def __init__(self, cache: Any, lifetime: timedelta) -> None:
        self.cache, self.lifetime = cache, lifetime

    def set(self, key: Any, value: Any) -> None:
        self.cache.set(key, value, self.lifetime)

    def get(self, key: Any) -> Any:
        return self.cache.get(key)

    def clear(self) -> None:
        self.cache.clear()

    def __len__(self) -> int:
        return len(self.cache)


class Boltons(Contestant):
    """Pure Python, with a lock."""

    name, module, distribution = "boltons", "boltons.cacheutils", "boltons"

    def lru(self, maxsize: Any) -> Any:
        return self.package.LRU(maxsize)

    def decorated(self, function: Function, maxsize: int = 128) -> Any:
        return self.package.cached(self.package.LRU(maxsize))(function)

    def method(self, function: Function) -> Any:
        return self.package.cachedmethod("cache")(function)


class Methodtools(Contestant):
    """A decorator for methods."""

    name, module, distribution = "methodtools", "methodtools", "methodtools"

    def method(self, function: Function) -> Any:
        return self.package.lru_cache()(function)


class AsyncLru(Contestant):
    """A decorator for coroutine functions."""

    name, module, distribution = "async-lru", "async_lru", "async-lru"

    def coroutine(self, function: Function, maxsize: int = 128) -> Any:
        return self.package.alru_cache(maxsize=maxsize)(function)


CONTESTANTS: tuple[Contestant, ...] = (
    Leaksafe(),
    Functools(),
    Cachetools(),
    Cachebox(),
    LruDict(),
    MokaPy(),
    Theine(),
    Boltons(),
    Methodtools(),
    AsyncLru(),
)


def gathered(*awaitables: Any) -> list[Any]:
    """Run them together in a loop of their own: the result or the exception of each."""

    async def main() -> list[Any]:
        return await asyncio.gather(*(one() for one in awaitables), return_exceptions=True)

    return asyncio.run(main())
