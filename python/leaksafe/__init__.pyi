from leaksafe._cached import cached
from leaksafe._cached_property import cached_property
from leaksafe._census import Living, census, clear_all
from leaksafe._core import LRUCache, TTLCache, __version__, deep_sizeof, weakattr
from leaksafe._functions import LeakWarning, cache, lru_cache, ttl_cache
from leaksafe._lazy import LazyObjects, LiveBoundError, lazy
from leaksafe._owned import per_instance, weak_callback
from leaksafe._registry import Registry
from leaksafe._singleton import singleton
from leaksafe._stats import CacheStats, Removals
from leaksafe._weak_cache import WeakCache
from leaksafe._weak_mappings import WeakIdDictionary, WeakKeyDictionary, WeakValueDictionary
from leaksafe._weak_members import WeakList, WeakSet

__all__ = [
    "CacheStats",
    "LRUCache",
    "LazyObjects",
    "LeakWarning",
    "LiveBoundError",
    "Living",
    "Registry",
    "Removals",
    "TTLCache",
    "WeakCache",
    "WeakIdDictionary",
    "WeakKeyDictionary",
    "WeakList",
    "WeakSet",
    "WeakValueDictionary",
    "__version__",
    "cache",
    "cached",
    "cached_property",
    "census",
    "clear_all",
    "deep_sizeof",
    "lazy",
    "lru_cache",
    "per_instance",
    "singleton",
    "ttl_cache",
    "weak_callback",
    "weakattr",
]
