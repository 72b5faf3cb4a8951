"""Data structures that cannot leak."""

from leaksafe import _exit as _exit
from leaksafe import _logging as _logging
from leaksafe._core import LRUCache, TTLCache, __version__
from leaksafe._functions import LeakWarning, cache, lru_cache
from leaksafe._stats import CacheStats, Removals

__all__ = [
    "CacheStats",
    "LRUCache",
    "LeakWarning",
    "Removals",
    "TTLCache",
    "__version__",
    "cache",
    "lru_cache",
]
