"""Data structures that cannot leak.

Each name is imported when it is first asked for, with what it needs and no more. What type checkers
see is in `__init__.pyi`.
"""

from importlib import import_module

_NAMES = {
    "_cached": ("cached",),
    "_cached_property": ("cached_property",),
    "_census": ("Living", "census", "clear_all"),
    "_core": ("LRUCache", "TTLCache", "__version__", "deep_sizeof", "weakattr"),
    "_functions": ("LeakWarning", "cache", "lru_cache", "ttl_cache"),
    "_lazy": ("LazyObjects", "LiveBoundError", "lazy"),
    "_owned": ("per_instance", "weak_callback"),
    "_registry": ("Registry",),
    "_singleton": ("singleton",),
    "_stats": ("CacheStats", "Removals"),
    "_weak_cache": ("WeakCache",),
    "_weak_mappings": ("WeakIdDictionary", "WeakKeyDictionary", "WeakValueDictionary"),
    "_weak_members": ("WeakList", "WeakSet"),
}
_MODULES = {name: module for module, names in _NAMES.items() for name in names}

__all__ = list(_MODULES)  # pyright: ignore[reportUnsupportedDunderAll]  # the stub has them


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
    # What it makes is seen by memory tools from the first on.
    import_module(f"{__name__}._attributes")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
