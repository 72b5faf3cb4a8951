"""What a cache counts."""

from typing import NamedTuple


class Removals(NamedTuple):
    """How many entries left, by cause.

    >>> from leaksafe import LRUCache
    >>> cache = LRUCache(1)
    >>> cache.update(a=1, b=2)
    >>> cache.stats().removals.size
    1
    """

    size: int
    """Evicted to keep the bound."""
    replaced: int
    """The value was set anew."""
    explicit: int
    """Removed by `del`, `pop` or `popitem`."""
    expired: int
    """Older than the time to live."""
    cleared: int
    """Removed by `clear` or `close`."""
    collected: int
    """What it referred to weakly is gone."""


class CacheStats(NamedTuple):
    """What a cache has counted since it was made, and what it holds.

    >>> from leaksafe import LRUCache
    >>> cache = LRUCache(1)
    >>> cache.get("a")
    >>> cache.stats().misses
    1
    """

    hits: int
    """Look-ups that found a value."""
    misses: int
    """Look-ups that found none."""
    insertions: int
    """Keys added."""
    removals: Removals
    """Entries that left, by cause."""
    currsize: int
    """Entries held, or their weight together."""
    maxsize: int | None
    """The bound of `currsize`; `None` for no bound."""

    @property
    def hit_ratio(self) -> float:
        """Hits by look-ups, from 0.0 to 1.0; 0.0 when there were none.

        >>> from leaksafe import LRUCache
        >>> LRUCache(1).stats().hit_ratio
        0.0
        """
        asked = self.hits + self.misses
        return self.hits / asked if asked else 0.0
