"""What is kept too long, or unseen."""

import gc
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from safety.case import FailsError, Thing, collect, must
from safety.contestants import Contestant, NotOfferedError


def _leaks(make: Callable[[], weakref.ref[Any]]) -> None:
    seen = make()
    collect()
    must(seen() is None, "leaks")


def cycle_through_a_value(peer: Contestant) -> None:
    """cache in a cycle through a value"""

    def make() -> weakref.ref[Any]:
        cache = peer.lru(8)
        thing = Thing(cache)
        peer.put(cache, 1, thing)
        return weakref.ref(thing)

    _leaks(make)


def cycle_through_a_key(peer: Contestant) -> None:
    """cache in a cycle through a key"""

    def make() -> weakref.ref[Any]:
        cache = peer.lru(8)
        thing = Thing(cache)
        peer.put(cache, thing, 1)
        return weakref.ref(thing)

    _leaks(make)


def cycle_through_a_weigher(peer: Contestant) -> None:
    """cycle through the callback that weighs"""

    def make() -> weakref.ref[Any]:
        thing = Thing()
        cache = peer.weighed(8, lambda value, thing=thing: 1)
        thing.held = cache
        return weakref.ref(thing)

    _leaks(make)


def cycle_through_a_listener(peer: Contestant) -> None:
    """cycle through a listener of evictions"""

    def make() -> weakref.ref[Any]:
        thing = Thing()
        cache = peer.listened(8, lambda *args, thing=thing: None)
        thing.held = cache
        return weakref.ref(thing)

    _leaks(make)


def result_refers_to_the_function(peer: Contestant) -> None:
    """decorated function whose result refers to the function"""

    def make() -> weakref.ref[Any]:
        def compute(number: int) -> Thing:
            return Thing(function)

        function = peer.decorated(compute)
        return weakref.ref(function(1))

    _leaks(make)


def dropped_with_a_sweeper(peer: Contestant) -> None:
    """20 caches with a time to live dropped: what is left of them"""
    before = threading.active_count(), _tasks()

    def make() -> weakref.ref[Any]:
        cache = peer.ttl(8, 3600.0)
        thing = Thing()
        peer.put(cache, 1, thing)
        return weakref.ref(thing)

    seen = [make() for _ in range(20)]
    time.sleep(0.5)
    collect()
    values = sum(one() is not None for one in seen)
    # one thread for all may stay
    threads = max(threading.active_count() - before[0], _tasks() - before[1])
    must(not values and threads <= 1, f"threads: {threads}, values: {values}")


def _tasks() -> int:
    return len(os.listdir("/proc/self/task")) if os.path.isdir("/proc/self/task") else 0


def method_and_its_instance(peer: Contestant) -> None:
    """a decorated method holds its instance"""

    class Service:
        def __init__(self) -> None:
            self.cache: dict[Any, Any] = {}

        @peer.method
        def method(self, number: int) -> list[int]:
            return [number]

    gc.disable()
    service = Service()
    service.method(1)
    seen = weakref.ref(service)
    del service
    if seen() is not None:
        collect()
        must(seen() is None, "for ever")
        raise FailsError("until a collection")


def expired_and_untouched(peer: Contestant) -> None:
    """10 000 values expired 3 s ago and never touched again"""
    cache = peer.ttl(20_000, 0.5)
    alive = weakref.WeakSet[Thing]()
    for number in range(10_000):
        thing = Thing()
        alive.add(thing)
        peer.put(cache, number, thing)
    del thing
    time.sleep(3.5)
    kept = len(alive)
    must(not kept, f"{kept:,} kept".replace(",", " "))


def clear_on_an_idle_cache(peer: Contestant) -> None:
    """`clear()`, and nothing after it"""
    cache = peer.lru(8)
    seen = []
    for number in range(4):
        thing = Thing()
        seen.append(weakref.ref(thing))
        peer.put(cache, number, thing)
    del thing
    peer.clear(cache)
    must(all(one() is None for one in seen), "keeps the values")


def popitem(peer: Contestant) -> None:
    """`popitem` leaves references behind"""
    cache = peer.lru(8)
    if not hasattr(cache, "popitem"):
        raise NotOfferedError
    thing = Thing()
    before = sys.getrefcount(thing)
    for _ in range(100):
        peer.put(cache, 1, thing)
        cache.popitem()
    must(sys.getrefcount(thing) - before < 50, "one a call")


def seen_by_tools(peer: Contestant) -> None:
    """contents seen by `gc.get_referents`, memory by `sys.getsizeof`"""
    cache = peer.lru(100_000)
    empty = _reach(cache)
    thing = Thing()
    for number in range(20_000):
        peer.put(cache, number, thing)
    seen: set[int] = set()
    frontier: list[Any] = [cache]
    for _ in range(6):
        frontier = [one for one in gc.get_referents(*frontier) if id(one) not in seen][:100_000]
        seen.update(map(id, frontier))
    must(id(thing) in seen, "contents invisible")
    must(_reach(cache) > empty + 20_000 * 8, "memory invisible")


def _reach(cache: Any) -> int:
    """What a walk by referents sums up, without types, modules and functions."""
    seen, total, frontier = {id(cache)}, sys.getsizeof(cache), [cache]
    skipped = type, type(sys), type(must)
    while frontier:
        found = gc.get_referents(*frontier)
        frontier = []
        for one in found:
            if id(one) not in seen and not isinstance(one, skipped):
                seen.add(id(one))
                total += sys.getsizeof(one)
                frontier.append(one)
    return total


CASES = (
    cycle_through_a_value,
    cycle_through_a_key,
    cycle_through_a_weigher,
    cycle_through_a_listener,
    result_refers_to_the_function,
    dropped_with_a_sweeper,
    method_and_its_instance,
    expired_and_untouched,
    clear_on_an_idle_cache,
    popitem,
    seen_by_tools,
)
