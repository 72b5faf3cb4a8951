"""Data structures that cannot leak."""

from leaksafe import _logging as _logging
from leaksafe._core import LRUCache, __version__, deep_sizeof
from leaksafe._functions import LeakWarning, cache, lru_cache
from leaksafe._lazy import LazyObjects, LiveBoundError, lazy
from leaksafe._singleton import singleton
from leaksafe._stats import CacheStats, Removals

__all__ = [
    "CacheStats",
    "LRUCache",
    "LazyObjects",
    "LeakWarning",
    "LiveBoundError",
    "Removals",
    "__version__",
    "cache",
    "deep_sizeof",
    "lazy",
    "lru_cache",
    "singleton",
]
