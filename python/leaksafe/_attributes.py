"""Shows what our structures hold to tools that read attributes and never ask the collector.

`pympler.asizeof` is one: of an object it follows `__dict__` and what `__slots__` names, and so sees
nothing of what is in an extension type, the standard library's included. It reads the slot
`__weakref__` under a mangled name, `_Class__weakref__`; whoever copies or pickles leaves it out.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from types import MappingProxyType
from typing import Any

from leaksafe import _core

_SLOT = "__weakref__"


class _Held:
    """What an object holds, as the keys of a mapping: in a proxy, that costs no memory an entry."""

    __slots__ = ("_holder",)

    def __init__(self, holder: object) -> None:
        self._holder = holder

    def __getitem__(self, key: object, /) -> None:
        """Make this a mapping to `MappingProxyType`; there is nothing to look up."""
        raise KeyError(key)

    def __len__(self) -> int:
        """Return 0: there is no table here whose room would count."""
        return 0

    def items(self) -> Iterator[tuple[object, None]]:
        """Yield what the collector is shown."""
        return ((held, None) for held in gc.get_referents(self._holder))


def _held(self: object) -> MappingProxyType[Any, Any]:
    held: Any = _Held(self)
    return MappingProxyType(held)


for _name in (
    "LRUCache",
    "_LruFunction",
    "_Registry",
    "_Results",
    "_WeakCache",
    "_WeakKeys",
    "_WeakMembers",
    "_WeakValues",
):
    _class: Any = getattr(_core, _name)
    _class.__slots__ = (_SLOT,)
    setattr(_class, f"_{_name}{_SLOT}", property(_held))
