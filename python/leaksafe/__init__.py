"""Data structures that cannot leak."""

from leaksafe import _logging as _logging
from leaksafe._core import LRUCache, __version__
from leaksafe._functions import LeakWarning, cache, lru_cache
from leaksafe._stats import CacheStats, Removals
from leaksafe._weak_mappings import WeakIdDictionary, WeakKeyDictionary, WeakValueDictionary
from leaksafe._weak_members import WeakSet

__all__ = [
    "CacheStats",
    "LRUCache",
    "LeakWarning",
    "Removals",
    "WeakIdDictionary",
    "WeakKeyDictionary",
    "WeakSet",
    "WeakValueDictionary",
    "__version__",
    "cache",
    "lru_cache",
]
