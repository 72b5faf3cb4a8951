"""Data structures that cannot leak."""

from leaksafe import _logging as _logging
from leaksafe._core import LRUCache, __version__
from leaksafe._stats import CacheStats, Removals

__all__ = ["CacheStats", "LRUCache", "Removals", "__version__"]
