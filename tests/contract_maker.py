"""How the tests of the mapping contract make their caches."""

from __future__ import annotations

import types
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import pytest

Event = tuple[Any, Any, str]


KEYED_OPERATIONS: dict[str, Callable[[Any, Any], object]] = {
    "getitem": lambda cache, key: cache[key],
    "setitem": lambda cache, key: cache.__setitem__(key, "new"),
    "delitem": lambda cache, key: cache.__delitem__(key),
    "contains": lambda cache, key: key in cache,
    "get": lambda cache, key: cache.get(key, "default"),
    "peek": lambda cache, key: cache.peek(key, "default"),
    "pop": lambda cache, key: cache.pop(key, "default"),
    "setdefault": lambda cache, key: cache.setdefault(key, "new"),
    "update": lambda cache, key: cache.update([(key, "new")]),
    "ior": lambda cache, key: cache.__ior__([(key, "new")]),
    "get_or_create": lambda cache, key: cache.get_or_create(key, lambda: "new"),
    "keys": lambda cache, key: key in cache.keys(),
    "items": lambda cache, key: (key, "new") in cache.items(),
}

keyed_operations = pytest.mark.parametrize("operation", KEYED_OPERATIONS)


class Maker:
    """Makes the caches of the class under test."""

    cache_class: ClassVar[Any]

    def make(
        self,
        maxsize: int | None,
        getsizeof: Callable[..., int] | None = None,
        **options: Any,
    ) -> Any:
        """Make an empty cache."""
        return self.cache_class(maxsize, getsizeof, **options)

    def filled(self, content: Mapping[Any, Any], maxsize: int | None = None) -> Any:
        """Make a cache that holds `content`."""
        cache = self.make(maxsize)
        for key, value in content.items():
            cache[key] = value
        return cache

    def recording(
        self,
        maxsize: int | None,
        getsizeof: Callable[..., int] | None = None,
    ) -> tuple[Any, list[Event]]:
        """Make an empty cache, and the list to which its `on_remove` adds."""
        events: list[Event] = []

        def on_remove(key: Any, value: Any, cause: str) -> None:
            events.append((key, value, cause))

        return self.make(maxsize, getsizeof, on_remove=on_remove), events

    def subclass(self, **namespace: Any) -> Any:
        """Make a subclass of the class under test."""
        return types.new_class("Sub", (self.cache_class,), {}, lambda ns: ns.update(namespace))
