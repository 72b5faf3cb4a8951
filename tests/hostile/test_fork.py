"""A forked child may use the cache, wherever its parent's threads were at that moment."""

from __future__ import annotations

import gc
import os
import sys
import threading
import time
import traceback
import warnings
from collections.abc import Callable
from typing import Any

from actors import Cache, Value, check

from isolated import each, isolated
from leaksafe import LRUCache


def in_child(use: Callable[[], object]) -> None:
    """Fork, run ``use`` in the child, and wait for its good end."""
    with warnings.catch_warnings():
        # CPython warns of what is tested here: a fork beside threads
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            use()
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    assert status == 0, f"the child ended with {status}"


class Colliding:
    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return 7

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.number == other.number


def use_all(cache: Cache, key: Any = "key") -> None:
    """Every kind of operation, on any state of the cache."""
    check(cache)
    cache["child"] = Value()
    cache.get(key)
    assert cache.get_or_create("made in the child", lambda: 5) == 5
    cache.pop(key, None)
    assert cache.get_or_create(key, lambda: "from the child") == "from the child"
    assert cache[key] == "from the child"
    cache.copy()
    gc.collect()
    cache.resize(3)
    check(cache)
    thread = threading.Thread(target=lambda: cache.get_or_create("thread", Value))
    thread.start()
    thread.join()
    cache.clear()
    cache.close()


@isolated()
def test_fork_while_threads_are_inside() -> None:
    cache: Cache = LRUCache(16, lambda value: 1, on_remove=lambda *args: None)
    stop = threading.Event()

    def work() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            cache[number % 40] = Value()
            cache[Colliding(number % 8)] = number
            cache.get(number % 17)
            cache.get_or_create(Colliding(number % 5), lambda: number)
            cache.pop(number % 3, None)
            if number % 100 == 0:
                gc.collect()

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for _ in range(25):
        in_child(lambda: use_all(cache))
        time.sleep(0.001)
    stop.set()
    for thread in threads:
        thread.join()
    check(cache)


@isolated()
def test_fork_while_another_thread_is_in_eq() -> None:
    cache: Cache = LRUCache(16)
    inside, let_go = threading.Event(), threading.Event()

    class Slow(Colliding):
        def __eq__(self, other: object) -> bool:
            if threading.current_thread() is thread:
                inside.set()
                let_go.wait()
            return super().__eq__(other)

        __hash__ = Colliding.__hash__

    thread = threading.Thread(target=lambda: cache.get(Slow(1)))
    cache[Slow(1)] = Value()
    thread.start()
    inside.wait()
    in_child(lambda: use_all(cache, Slow(1)))
    let_go.set()
    thread.join()
    check(cache)


@each("waiters", [0, 2])
@isolated()
def test_fork_while_another_thread_is_in_a_factory(waiters: int) -> None:
    """In the child the maker is gone: whoever asks there makes it, and doesn't wait."""
    cache: Cache = LRUCache(16)
    inside, let_go = threading.Event(), threading.Event()

    def slow() -> str:
        inside.set()
        let_go.wait()
        return "slow"

    results: list[object] = []
    threads = [
        threading.Thread(target=lambda: results.append(cache.get_or_create("key", slow)))
        for _ in range(1 + waiters)
    ]
    for thread in threads:
        thread.start()
    inside.wait()
    time.sleep(0.1 * bool(waiters))

    def use() -> None:
        assert cache.get_or_create("key", lambda: "mine") == "mine"
        use_all(cache)

    in_child(use)
    let_go.set()
    for thread in threads:
        thread.join()
    assert results == ["slow"] * (1 + waiters)
    assert cache["key"] == "slow"
    check(cache)


@each("place", ["hash", "eq", "getsizeof", "on_remove", "factory", "del", "iteration", "repr"])
@isolated()
def test_fork_from_inside(place: str) -> None:
    """The thread that forks is itself inside: parent and child both go on from there."""
    parent = os.getpid()
    forked = False
    child_status: list[int] = []

    def fork_here() -> None:
        nonlocal forked
        if forked:
            return
        forked = True
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            child_status.append(os.waitpid(pid, 0)[1])
        else:
            check(cache)
            cache["inside the child"] = 1

    class Key(Colliding):
        def __hash__(self) -> int:
            if place == "hash":
                fork_here()
            return 7

        def __eq__(self, other: object) -> bool:
            if place == "eq":
                fork_here()
            return super().__eq__(other)

        def __repr__(self) -> str:
            if place == "repr":
                fork_here()
            return "Key"

    class Dying(Value):
        def __del__(self) -> None:
            super().__del__()
            if place == "del":
                fork_here()

    def getsizeof(value: object) -> int:
        if place == "getsizeof":
            fork_here()
        return 1

    def on_remove(key: object, value: object, cause: str) -> None:
        if place == "on_remove":
            fork_here()

    def factory() -> str:
        if place == "factory":
            fork_here()
            # its own key, in the child as in the parent, is not waited for
            assert cache.get_or_create(Key(99), lambda: "inner") == "inner"
        return "outer"

    cache: Cache = LRUCache(16, getsizeof, on_remove=on_remove)
    forked = True
    for number in range(16):
        cache[Key(number)] = Dying()
    forked = False
    code = 1
    try:
        if place == "iteration":
            for _ in cache:
                fork_here()
                break
        if place == "repr":
            repr(cache)
        made = cache.get_or_create(Key(99), factory)
        # of two that were made for one key, either may be kept
        assert made in ("inner", "outer")
        cache[Key(3)] = Dying()
        check(cache)
        use_all(cache)
        code = 0
    except BaseException:
        traceback.print_exc()
    finally:
        if os.getpid() != parent:
            sys.stderr.flush()
            os._exit(code)
    assert code == 0
    assert child_status == [0], f"{child_status}"


@isolated()
def test_fork_and_leave_normally() -> None:
    """The child's own interpreter exit, with the parent's caches alive in it."""
    cache: Cache = LRUCache(16, on_remove=lambda *args: None)
    for number in range(20):
        cache[number] = Value()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid == 0:
        cache["child"] = Value()
        # the end of the case is the parent's to announce
        sys.exit(0)
    _, status = os.waitpid(pid, 0)
    assert status == 0
    check(cache)
