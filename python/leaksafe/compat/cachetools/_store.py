"""Where the caches keep their entries, and in which order they leave."""

from __future__ import annotations

import heapq
import math
import os
import random
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from itertools import count, islice
from typing import Any, cast

from leaksafe import _core

_SLICE = 256
"""So many are removed by the sweeper before others have their turn."""
_LATER = 0.2
"""Seconds after which it comes again where what has expired is still looked at."""

# Held by the sweeper while it changes a store, and by a fork: a child has to find stores whole.
_sweeping = threading.RLock()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_sweeping.acquire,
        after_in_parent=_sweeping.release,
        after_in_child=_sweeping.release,
    )


class Entry:
    """A key, its value, and what the order knows of it."""

    __slots__ = ("hash", "key", "live", "number", "rank", "size", "value")

    def __init__(self, key: Any, value: Any, size: Any, rank: Any) -> None:
        self.key = key
        self.hash = hash(key)
        self.value = value
        self.size = size
        self.rank = rank
        self.number = -1
        self.live = True


class Store:
    """Entries by key, with a bound, in the order in which they were first set.

    The table is a `leaksafe.LRUCache` without a bound of its own: sizes may be any numbers, and it
    is the cache's `popitem` that evicts. Code of the caller (`__hash__`, `__eq__`, `popitem`,
    destructors) runs outside of the lock. What is done inside leaves the numbers right wherever a
    collection may call in: an entry, whose key was hashed before, is charged before it is in the
    table, and discharged by whoever takes it out.
    """

    touch_when_read = False
    touch_when_written = False
    ordered = False
    """Whether there is an order beside that of the table."""
    calls_out = False
    """Whether code of the caller chooses what goes first."""

    def __init__(self, maxsize: Any) -> None:
        self.maxsize = maxsize
        self.total: Any = 0
        self.lock = threading.RLock()
        self.entries: Any = _core.LRUCache(None)

    def reader(self) -> Callable[[Any], Entry | None]:
        """Return what looks an entry up, and counts that as use."""
        find: Callable[[Any], Entry | None] = (
            self.entries.get if self.touch_when_read else self.entries.peek
        )
        return find

    def put(
        self, key: Any, value: Any, size: Any, rank: Any, evict: Callable[[], object] | None
    ) -> None:
        """Set a value, after evicting until there is room; `None` is the store's own way."""
        while True:
            entry = self.entries.peek(key)
            if entry is not None:
                if self._replace(entry, value, size, rank):
                    if self.touch_when_written:
                        self.entries.get(key)
                    return
                if entry.live:
                    (evict or self.take_victim)()
                continue
            entry = Entry(key, value, size, rank)
            if evict is None:
                gone = self._make_room(size)  # goes when the lock is free
                del gone
            else:
                while not self._charge(size):
                    evict()
            if self._insert(entry):
                break
        # What was charged meanwhile, by other threads or by code that this one ran.
        while self.total > self.maxsize and len(self.entries) > 1:
            (evict or self.take_victim)()

    def _make_room(self, size: Any) -> list[Entry]:
        """Charge a size, after taking out what is in its way."""
        gone: list[Entry] = []
        with self.lock:
            while self.total + size > self.maxsize:
                entry = self.take_victim()
                if entry is None:
                    break
                gone.append(entry)
            self.total += size
        return gone

    def _replace(self, entry: Entry, value: Any, size: Any, rank: Any) -> bool:
        """Whether an entry has the new value: not where that doesn't fit, or the entry has left."""
        old = entry.value  # goes when the lock is free
        with self.lock:
            added = size - entry.size
            if not entry.live or self.total + added > self.maxsize:
                return False
            self.total += added
            entry.value, entry.size = value, size
            self.written(entry, rank)
        del old
        return True

    def _charge(self, size: Any) -> bool:
        with self.lock:
            # Where nothing is left to evict, the rest is charged to entries on their way in.
            fits = self.total + size <= self.maxsize or not len(self.entries)
            if fits:
                self.total += size
        return bool(fits)

    def _insert(self, entry: Entry) -> bool:
        inserted = False
        try:
            inserted = self.entries.setdefault(entry.key, entry) is entry
        finally:
            if not inserted:
                with self.lock:
                    self.total -= entry.size
        if inserted and self.ordered:
            with self.lock:
                if entry.live:
                    self.added(entry)
        return inserted

    def discharge(self, entry: Entry) -> None:
        """Note that an entry was taken out of the table."""
        with self.lock:
            if entry.live:
                entry.live = False
                self.total -= entry.size
                self.removed(entry)

    def take(self, key: Any) -> Entry:
        """Remove the entry of a key, or raise `KeyError`."""
        entry: Entry = self.entries.pop(key)
        self.discharge(entry)
        return entry

    def take_entry(self, entry: Entry) -> bool:
        """Remove this entry, without asking its key anything; whether it was still there."""
        found: bool = _core._take(self.entries, entry, entry.hash)
        # Where it was not, somebody has taken it who may be waiting for this very call to return.
        self.discharge(entry)
        return found

    def take_victim(self) -> Entry | None:
        """Remove the entry that is to go first; `None` where there is none."""
        try:
            found: tuple[Any, Entry] = self.entries.popitem()
        except KeyError:
            return None
        self.discharge(found[1])
        return found[1]

    def clear(self) -> None:
        for _ in range(len(self.entries)):
            try:
                _, entry = self.entries.popitem()
            except KeyError:
                break
            self.discharge(entry)

    # What an order does at each change, with the lock held.

    def added(self, entry: Entry) -> None:
        pass

    def written(self, entry: Entry, rank: Any) -> None:
        pass

    def removed(self, entry: Entry) -> None:
        pass

    # What a copy and a pickle are made of.

    def saved(self) -> list[tuple[Any, Any, Any, Any]]:
        entries = list(self.entries.values())
        return [(entry.key, entry.value, entry.size, entry.rank) for entry in entries if entry.live]

    def restore(self, items: list[tuple[Any, Any, Any, Any]]) -> None:
        for key, value, size, rank in items:
            entry = Entry(key, value, size, rank)
            with self.lock:
                self.total += size
            self._insert(entry)


class InsertionStore(Store):
    """The one set first goes first; setting it anew counts."""

    touch_when_written = True


class RecencyStore(Store):
    """The one not used for the longest time goes first."""

    touch_when_read = touch_when_written = True


class RandomStore(Store):
    """The one that a function chooses goes first. `rank` is the place in a list."""

    ordered = True

    def __init__(self, maxsize: Any, choice: Callable[[Sequence[Any]], Any]) -> None:
        super().__init__(maxsize)
        self.choice = choice
        self.calls_out = choice is not random.choice
        self.order: list[Entry] = []

    def added(self, entry: Entry) -> None:
        self.order.append(entry)
        entry.rank = len(self.order) - 1

    def removed(self, entry: Entry) -> None:
        order, place = self.order, entry.rank
        if place is None or place >= len(order) or order[place] is not entry:
            # Code that a collection ran came between the two lines above, or before them.
            if entry not in order:
                return
            place = order.index(entry)
        # No call from here on, so nothing comes between.
        last = order[-1]
        order[place] = last
        last.rank = place
        del order[-1]

    def take_victim(self) -> Entry | None:
        while self.order:
            if not self.calls_out:
                try:
                    entry = random.choice(self.order)
                except IndexError:
                    continue
                if self.take_entry(entry):
                    return entry
            else:
                return self.take(self.choice(_Keys(self.order)))
        return None

    def saved(self) -> list[tuple[Any, Any, Any, Any]]:
        return [(key, value, size, None) for key, value, size, _ in super().saved()]


class _Keys(Sequence[Any]):
    """The keys of the entries in a list."""

    def __init__(self, entries: list[Entry]) -> None:
        self._entries = entries

    def __len__(self) -> int:
        return len(self._entries)

    def __getitem__(self, at: Any) -> Any:
        if isinstance(at, slice):
            return [entry.key for entry in self._entries[at]]
        return cast("Entry", self._entries[at]).key


class RankedStore(Store):
    """The one with the lowest rank is found first.

    Ranks are pairs whose second is a number of their own, so that no two entries have the same. A
    rank may rise by a plain assignment: when the old one comes up in the heap, the entry is put
    back with its rank of then. One that may fall is put into the heap a second time.
    """

    ordered = True

    def __init__(self, maxsize: Any) -> None:
        super().__init__(maxsize)
        # Entries by number: what is stale in the heap holds nothing else.
        self.living: dict[int, Entry] = {}
        self.heap: list[tuple[Any, int, int]] = []
        self.numbers = count()

    def added(self, entry: Entry) -> None:
        if entry.number < 0:
            entry.number = next(self.numbers)
            self.living[entry.number] = entry
        heapq.heappush(self.heap, (*entry.rank, entry.number))
        # What is stale goes when it comes up, or here.
        if len(self.heap) > 2 * len(self.living) + 16:
            heap = [(*other.rank, number) for number, other in list(self.living.items())]
            heapq.heapify(heap)
            self.heap = heap

    def removed(self, entry: Entry) -> None:
        self.living.pop(entry.number, None)
        if not self.living:
            # All of it is stale.
            self.heap = []

    def lowest(self) -> Entry | None:
        """The living entry with the lowest rank."""
        with self.lock:
            while self.heap:
                _, rank, number = self.heap[0]
                entry = self.living.get(number)
                if entry is None:
                    heapq.heappop(self.heap)
                elif entry.rank[1] == rank:
                    return entry
                else:
                    heapq.heapreplace(self.heap, (*entry.rank, number))
        return None

    def restore(self, items: list[tuple[Any, Any, Any, Any]]) -> None:
        self.numbers = count(max((rank[-1] for *_, rank in items), default=-1) + 1)
        super().restore(items)


class FrequencyStore(RankedStore):
    """The one used least often goes first, of several the one that first came to that."""

    def reader(self) -> Callable[[Any], Entry | None]:
        return self.use

    def first_rank(self) -> tuple[int, int]:
        return 1, next(self.numbers)

    def use(self, key: Any) -> Entry | None:
        entry: Entry | None = self.entries.peek(key)
        if entry is not None:
            self.written(entry, None)
        return entry

    def written(self, entry: Entry, rank: Any) -> None:
        entry.rank = entry.rank[0] + 1, next(self.numbers)

    def take_victim(self) -> Entry | None:
        while (entry := self.lowest()) is not None:
            if self.take_entry(entry):
                return entry
        return None


class TimedStore(RankedStore):
    """The one not used for the longest time goes first; ranks begin with the time of expiry.

    Where there is a `clock`, which tells seconds, the sweeper removes what has expired by it.
    """

    touch_when_read = touch_when_written = True

    def __init__(self, maxsize: Any, clock: Callable[[], float] | None) -> None:
        super().__init__(maxsize)
        self.clock = clock
        self.alarm = None if clock is None else _core._Alarm(partial(_sweep, weakref.ref(self)))
        # When the sweeper comes.
        self.due = math.inf

    def added(self, entry: Entry) -> None:
        super().added(entry)
        expires = entry.rank[0]
        if self.alarm is not None and expires < self.due:
            self.due = expires
            self.alarm.set(self.left(expires))

    def written(self, entry: Entry, rank: Any) -> None:
        entry.rank = rank
        self.added(entry)

    def expired(self, time: Any) -> Iterator[Entry]:
        """Remove what has expired, the first to expire first."""
        while (entry := self.lowest()) is not None:
            if time < entry.rank[0]:
                return
            if self.take_entry(entry):
                yield entry

    def left(self, expires: Any) -> float:
        """The seconds until then."""
        try:
            return float(expires) - self.clock() if self.clock else math.inf
        except OverflowError:
            return math.inf

    def sweep(self) -> tuple[int, float | None]:
        """Remove some of what has expired: how many went, and after how long to come again."""
        with _sweeping:
            gone = list(islice(self.expired(self.clock()), _SLICE)) if self.clock else []
            if len(gone) == _SLICE:
                return _SLICE, 0.0
            with self.lock:
                first = self.lowest()
                self.due = math.inf if first is None else first.rank[0]
        # What went is freed when nothing is held.
        if first is None:
            return len(gone), None
        left = self.left(first.rank[0])
        return len(gone), left if left > 0 else _LATER


def _sweep(reference: weakref.ref[TimedStore]) -> tuple[int, float | None]:
    store = reference()
    return (0, None) if store is None else store.sweep()
