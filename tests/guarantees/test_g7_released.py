"""G7: released on time: close() and with, no threads of its own, clean at exit and after a fork.

Exit and fork are tried from every place in tests/hostile.
"""

from __future__ import annotations

import contextlib
import gc
import math
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from isolated import isolated, resident
from leaksafe import LRUCache, Registry, TTLCache, singleton, sweeper

Cache = LRUCache[Any, Any]


class Thing:
    def __call__(self, *args: object) -> int:
        return 1


def with_things() -> tuple[Cache, list[weakref.ref[Thing]], list[weakref.ref[Thing]]]:
    """A cache, its contents and its callables, held by nothing else."""
    key, value, getsizeof, on_remove = Thing(), Thing(), Thing(), Thing()
    cache: Cache = LRUCache(4, getsizeof, on_remove=on_remove)
    cache[key] = value
    cache[1] = [value]
    return (
        cache,
        [weakref.ref(key), weakref.ref(value)],
        [weakref.ref(getsizeof), weakref.ref(on_remove)],
    )


def dead(references: list[weakref.ref[Thing]]) -> bool:
    return all(reference() is None for reference in references)


@pytest.fixture(autouse=True)
def no_collector() -> Any:
    """What is released on time needs no collection."""
    gc.collect()
    gc.disable()
    yield
    gc.enable()


def test_close() -> None:
    cache, contents, callables = with_things()
    assert not cache.closed
    assert not dead(contents) and not dead(callables)
    cache.close()
    assert cache.closed and len(cache) == cache.currsize == 0
    assert dead(contents) and dead(callables)
    cache.close()
    assert cache.closed


def test_with() -> None:
    cache, contents, callables = with_things()
    with cache as entered:
        assert entered is cache and len(cache) == 2
    assert cache.closed and dead(contents) and dead(callables)


def test_with_and_an_error() -> None:
    cache, contents, callables = with_things()
    error = ValueError("inside")
    with pytest.raises(ValueError) as caught:
        with cache:
            raise error
    assert caught.value is error and error.__context__ is None
    assert cache.closed and dead(contents) and dead(callables)


def test_with_inside_with_and_closing() -> None:
    cache: Cache = LRUCache(4)
    with cache:
        with cache:
            cache[1] = 1
        assert cache.closed
    with contextlib.closing(LRUCache[Any, Any](4)) as other:
        other[1] = 1
    assert other.closed
    stack = contextlib.ExitStack()
    third = stack.enter_context(LRUCache[Any, Any](4))
    stack.close()
    assert third.closed


def test_close_tells_on_remove() -> None:
    told: list[tuple[Any, Any, str, bool]] = []

    def on_remove(key: Any, value: Any, cause: str) -> None:
        told.append((key, value, cause, cache.closed))

    cache: Cache = LRUCache(4, on_remove=on_remove)
    cache["a"], cache["b"] = 1, 2
    cache["a"]
    cache.close()
    assert told == [("b", 2, "cleared", True), ("a", 1, "cleared", True)]
    cache.close()
    assert len(told) == 2


def test_after_close() -> None:
    cache: Cache = LRUCache(4)
    cache["a"] = 1
    cache.close()
    assert "a" not in cache and cache.get("a") is None and cache.peek("a", 5) == 5
    assert list(cache) == list(cache.items()) == list(reversed(cache)) == []
    assert cache == {} and not cache and repr(cache).startswith("LRUCache({}")
    assert cache.pop("a", 7) == 7
    with pytest.raises(KeyError):
        cache["a"]
    with pytest.raises(KeyError):
        del cache["a"]
    with pytest.raises(KeyError):
        cache.popitem()
    cache.clear()
    stats = cache.stats()
    assert stats.insertions == 1 and stats.removals.cleared == 1
    inserts: list[Callable[[], object]] = [
        lambda: cache.__setitem__("a", 1),
        lambda: cache.setdefault("a", 1),
        lambda: cache.update(a=1),
        lambda: cache.__ior__({"a": 1}),
        lambda: cache.get_or_create("a", lambda: 1),
    ]
    for insert in inserts:
        with pytest.raises(RuntimeError, match="LRUCache is closed"):
            insert()
    assert len(cache) == 0


def test_closed_while_walked() -> None:
    cache: Cache = LRUCache(4)
    cache["a"], cache["b"] = 1, 2
    walk = iter(cache)
    next(walk)
    cache.close()
    with pytest.raises(RuntimeError, match="changed during iteration"):
        next(walk)


REMOVALS: dict[str, Callable[[Cache], object]] = {
    "del": lambda c: c.__delitem__("x"),
    "pop": lambda c: c.pop("x") and None,
    "popitem": lambda c: c.popitem() and None,
    "clear": lambda c: c.clear(),
    "resize": lambda c: c.resize(0),
    "replace": lambda c: c.__setitem__("x", None),
    "evict": lambda c: c.__setitem__("y", None),
    "evict by setdefault": lambda c: c.setdefault("y", None),
    "evict by get_or_create": lambda c: c.get_or_create("y", lambda: None),
    "evict by update": lambda c: c.update(y=None),
}


@pytest.mark.parametrize("removal", REMOVALS)
def test_removed_is_released_at_once(removal: str) -> None:
    """moka-py keeps cleared values until the next operation."""
    cache: Cache = LRUCache(1)
    cache["x"] = value = Thing()
    gone = weakref.ref(value)
    del value
    REMOVALS[removal](cache)
    assert gone() is None


def test_dropped_is_released_at_once() -> None:
    cache, contents, callables = with_things()
    gone = weakref.ref(cache)
    del cache
    assert gone() is None and dead(contents) and dead(callables)


def test_iterators_and_views_hold_no_longer_than_needed() -> None:
    cache, contents, _ = with_things()
    gone = weakref.ref(cache)
    walks: list[Any] = [iter(cache), iter(cache.values()), reversed(cache.items())]
    for walk in walks:
        assert len(list(walk)) == 2
    del walk
    # at its end an iterator lets its cache go
    del cache
    assert gone() is None and dead(contents)


@isolated()
def test_no_threads_or_files_of_its_own() -> None:
    """cachebox: one thread, and its values, for ever for each dropped cache with a sweeper."""

    def threads() -> int:
        tasks = Path("/proc/self/task")
        return len(list(tasks.iterdir())) if tasks.exists() else threading.active_count()

    def files() -> int:
        opened = Path("/proc/self/fd")
        return len(list(opened.iterdir())) if opened.exists() else 0

    before = threads(), files()
    kept: list[Cache] = []
    for _ in range(2_000):
        cache: Cache = LRUCache(4, lambda value: 1, on_remove=lambda *args: None)
        cache[1] = cache.get_or_create(2, lambda: 3)
        kept.append(cache)
    assert (threads(), files()) == before
    kept.clear()
    assert (threads(), files()) == before


@isolated(malloc="default")
def test_many_caches_made_and_dropped() -> None:
    """After a warm-up, 80 000 caches in turn leave resident memory within 2 MiB."""

    def make() -> None:
        for _ in range(10_000):
            cache: Cache = LRUCache(4, Thing(), on_remove=Thing())
            cache[Thing()] = [1]
            with cache:
                pass
            LRUCache[Any, Any](4)[1] = 2

    make()
    gc.collect()
    before = resident()
    blocks = sys.getallocatedblocks()
    for _ in range(4):
        make()
    gc.collect()
    assert abs(sys.getallocatedblocks() - blocks) < 200
    assert resident() - before < 2 * 2**20


@isolated()
def test_close_from_another_thread_while_one_waits() -> None:
    """Those inside a factory, and those who wait for it, come to an end."""
    cache: Cache = LRUCache(4)
    started, let_go = threading.Event(), threading.Event()
    ends: list[object] = []

    def slow() -> str:
        started.set()
        let_go.wait()
        return "made"

    def ask() -> None:
        try:
            ends.append(cache.get_or_create("key", slow))
        except RuntimeError as error:
            assert "closed" in str(error)
            ends.append("closed")

    threads = [threading.Thread(target=ask) for _ in range(3)]
    for thread in threads:
        thread.start()
    started.wait()
    cache.close()
    let_go.set()
    for thread in threads:
        thread.join()
    assert len(ends) == 3 and set(map(str, ends)) <= {"made", "closed"}
    assert len(cache) == 0


@isolated(stdout="child\n" if hasattr(os, "fork") else "")
def test_a_forked_child_has_a_cache_of_its_own() -> None:
    if not hasattr(os, "fork"):
        return
    cache: Cache = LRUCache(4)
    cache["a"] = [1]
    pid = os.fork()
    if pid == 0:
        cache["b"] = 2
        cache["a"].append(2)
        ok = cache["a"] == [1, 2] and len(cache) == 2
        cache.close()
        os.write(1, b"child\n" if ok else b"wrong\n")
        os._exit(0)
    os.waitpid(pid, 0)
    assert list(cache.items()) == [("a", [1])]


def native_threads() -> int:
    return len(list(Path("/proc/self/task").iterdir()))


@isolated()
def test_one_sweeper_for_all_caches_and_none_after_the_last() -> None:
    before = native_threads()
    caches = []
    for _ in range(1_000):
        cache = TTLCache[str, object](10, 100)
        cache["a"] = object()
        caches.append(cache)
    assert native_threads() == before + 1
    assert sweeper.state().caches == 1_000
    del cache, caches
    while native_threads() > before:
        time.sleep(0.005)
    assert sweeper.state()[:3] == (False, False, 0)


@isolated()
def test_a_closed_cache_needs_no_sweeper() -> None:
    before = native_threads()
    with TTLCache[str, int](10, 100) as cache:
        cache["a"] = 1
        assert native_threads() == before + 1
    while native_threads() > before:
        time.sleep(0.005)
    assert sweeper.state()[:3] == (False, False, 0)


@isolated()
def test_no_sweeper_without_anything_that_expires() -> None:
    before = native_threads()
    cache = TTLCache[str, int](10, math.inf)
    cache["a"] = 1
    assert native_threads() == before


@isolated(stdout="b\na\nc\n")
def test_exit_closes_the_last_built_first() -> None:
    def named(name: str) -> type:
        @singleton
        class Named:
            def close(self) -> None:
                print(name, flush=True)

        return Named

    globals()["kept"] = classes = {name: named(name) for name in "abc"}
    for name in "cab":
        classes[name]()


@isolated()
def test_an_exit_while_a_daemon_builds() -> None:
    began = threading.Event()

    @singleton
    class Endless:
        def __init__(self) -> None:
            began.set()
            threading.Event().wait()

    threading.Thread(target=Endless, daemon=True).start()
    began.wait()


@isolated(stdout="closed\n")
def test_an_exit_while_a_daemon_makes_and_uses_an_instance() -> None:
    began, used = threading.Event(), threading.Event()
    registry = Registry[str, object](1, ttl=0.05)

    class Printing:
        def close(self) -> None:
            print("closed", flush=True)

    def endless() -> object:
        began.set()
        threading.Event().wait()
        return None

    def use() -> None:
        with registry.use("used", object):
            used.set()
            threading.Event().wait()

    threading.Thread(target=lambda: registry.get_or_create("a", endless), daemon=True).start()
    threading.Thread(target=use, daemon=True).start()
    began.wait()
    used.wait()
    registry.get_or_create("b", Printing)
    registry.close()
    globals()["kept"] = registry


@isolated()
def test_a_registry_that_nobody_closed_at_exit() -> None:
    class Never:
        def close(self) -> None:
            print("closed", flush=True)

    registry = Registry[str, object](None)
    for name in "abc":
        registry.get_or_create(name, Never)
    globals()["kept"] = registry
