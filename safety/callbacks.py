"""Hostile keys and values, threads, forks."""

import gc
import os
import sys
import threading
import time
from typing import Any

from safety.case import FailsError, must
from safety.contestants import Contestant, NotOfferedError


def eq_that_re_enters(peer: Contestant) -> None:
    """`__eq__` that uses the cache"""
    cache = peer.lru(4)

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if depth[0] < 3:
                depth[0] += 1
                try:
                    peer.put(cache, ("x", depth[0]), 1)
                    peer.get(cache, 3)
                finally:
                    depth[0] -= 1
            return isinstance(other, Key) and self.number == other.number

    depth = [0]
    for number in range(40):
        peer.put(cache, Key(number % 6), number)
        peer.get(cache, Key(number % 5))
    must(peer.count(cache) <= 4, "over its bound")


def hash_that_re_enters(peer: Contestant) -> None:
    """`__hash__` that uses the cache"""
    cache = peer.lru(4)

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            peer.put(cache, ("x", self.number), 1)
            return self.number

        def __eq__(self, other: object) -> bool:
            return isinstance(other, Key) and self.number == other.number

    for number in range(40):
        peer.put(cache, Key(number % 6), number)
        peer.get(cache, Key(number % 5))
    must(peer.count(cache) <= 4, "over its bound")
    for number in range(10):
        peer.put(cache, number, number)
    must(peer.get(cache, 9) == 9, "left poisoned")


def finalizers_that_re_enter(peer: Contestant) -> None:
    """`__del__` that uses the cache: at eviction, overwriting, clearing"""
    cache = peer.lru(4)
    left = [200]

    class Value:
        def __del__(self) -> None:
            if left[0] > 0:
                left[0] -= 1
                peer.get(cache, 1)
                peer.put(cache, left[0] % 7, 1)

    for number in range(40):
        peer.put(cache, number % 9, Value())
    for _ in range(5):
        peer.put(cache, 1, Value())
    peer.clear(cache)
    must(peer.count(cache) <= 4, "over its bound")


def values_finalized_while_held(peer: Contestant) -> None:
    """full collections beside threads that read and write (5 s): held values are finalized"""
    cache = peer.lru(300)
    held: list[Any] = []
    finalized: list[int] = []
    over = threading.Event()

    class Value:
        def __init__(self, number: int) -> None:
            self.number = number
            self.me = self

        def __del__(self) -> None:
            if not over.is_set():
                finalized.append(self.number)

    for number in range(200):
        value = Value(number)
        held.append(value)
        peer.put(cache, number, value)
    held.clear()

    def use(start: int) -> None:
        number = start
        while not over.is_set():
            peer.get(cache, number % 200)
            peer.put(cache, 200 + number % 50, number)
            number += 1

    threads = [threading.Thread(target=use, args=(start,)) for start in range(3)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 5
    while time.monotonic() < end:
        gc.collect()
        time.sleep(0.001)
    count = len(finalized)
    over.set()
    for thread in threads:
        thread.join()
    must(not count, f"{count} of 200 values finalized")


def repr_of_itself(peer: Contestant) -> None:
    """`repr` of a cache that holds itself"""
    cache = peer.lru(4)
    peer.put(cache, 1, cache)
    repr(cache)


def comparison(peer: Contestant) -> None:
    """`cache == cache` with an `__eq__` that uses both"""
    one, two = peer.lru(4), peer.lru(4)

    class Value:
        def __eq__(self, other: object) -> bool:
            peer.get(one, 1)
            peer.get(two, 1)
            return True

        __hash__ = None  # type: ignore[assignment]

    for cache in (one, two):
        peer.put(cache, 1, Value())
    _ = one == two


def eq_that_raises(peer: Contestant) -> None:
    """`__eq__` that raises"""
    cache = peer.lru(4)

    class Key:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            raise ZeroDivisionError

    peer.put(cache, Key(), 1)
    try:
        peer.get(cache, Key())
    except ZeroDivisionError:
        return
    raise FailsError("swallowed: a silent miss")


def hash_that_changes(peer: Contestant) -> None:
    """the hash of a key in the cache changes, then raises"""
    cache = peer.lru(4)

    class Key:
        now = 1

        def __hash__(self) -> int:
            if self.now < 0:
                raise ZeroDivisionError
            return self.now

    key = Key()
    peer.put(cache, key, 1)
    for state in (2, -1):
        Key.now = state
        for number in range(20):
            try:
                peer.put(cache, number, number)
            except Exception as error:
                raise FailsError(f"every set raises {type(error).__name__}") from None
    must(peer.count(cache) <= 4, "over its bound")


def listener_that_raises(peer: Contestant) -> None:
    """a listener of evictions that raises"""

    def listener(*args: Any) -> None:
        raise ZeroDivisionError

    sys.unraisablehook = lambda args: None
    cache = peer.listened(2, listener)
    for number in range(10):
        try:
            peer.put(cache, number, number)
        except ZeroDivisionError:
            pass
        except SystemError:
            raise FailsError("SystemError at a later call") from None
    must(peer.count(cache) <= 2, "over its bound")


def equal_hashes(peer: Contestant) -> None:
    """keys with equal hashes (`-1` and `-2`; `0` and `2**61-1`)"""
    cache = peer.lru(16)
    for key in (-1, -2, 0, 2**61 - 1):
        peer.put(cache, key, key)
    for key in (-1, -2, 0, 2**61 - 1):
        must(peer.get(cache, key) == key, "taken for one key")


def insertion_while_iterating(peer: Contestant) -> None:
    """insertion while a cache with a time to live is iterated"""
    cache = peer.ttl(1_000_000, 3600)
    peer.put(cache, 0, 0)
    number = 0
    try:
        for _ in cache:
            number += 1
            peer.put(cache, number, number)
            must(number < 100_000, "never ends")
    except RuntimeError:
        pass
    except TypeError:
        raise NotOfferedError from None


def colliding_keys_in_threads(peer: Contestant) -> None:
    """four threads with Python-level keys whose hashes collide"""

    class Key:
        def __init__(self, number: int) -> None:
            self.number = number

        def __hash__(self) -> int:
            return self.number % 4

        def __eq__(self, other: object) -> bool:
            time.sleep(0)
            return isinstance(other, Key) and self.number == other.number

    try:
        cache = peer.lru(64)

        def use(number: int) -> None:
            peer.put(cache, Key(number), number)
            found = peer.get(cache, Key(number))
            must(found is None or found == number, "another's value")

    except NotOfferedError:
        cache = None
        function = peer.decorated(lambda key: key.number, 64)

        def use(number: int) -> None:
            must(function(Key(number)) == number, "another's value")

    end = time.monotonic() + 3
    sys.setswitchinterval(1e-6)
    errors: list[BaseException] = []

    def run(start: int) -> None:
        number = start
        try:
            while time.monotonic() < end:
                use(number % 200)
                number += 7
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(start,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        said = isinstance(errors[0], FailsError)
        raise FailsError(str(errors[0]) if said else type(errors[0]).__name__)
    if cache is not None:
        must(peer.count(cache) <= 64, f"{peer.count(cache)} entries in 64")


def fork_beside_a_thread(peer: Contestant) -> None:
    """fork while another thread is inside: the child hangs"""
    inside, go = threading.Event(), threading.Event()

    class Key:
        def __init__(self, waits: bool) -> None:
            self.waits = waits

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if self.waits:
                inside.set()
                go.wait(5)
            return False

    cache = peer.lru(8)
    peer.put(cache, Key(False), 1)
    thread = threading.Thread(target=lambda: peer.get(cache, Key(True)))
    thread.start()
    inside.wait(2)
    pid = os.fork()
    if not pid:
        peer.put(cache, "k", 1)
        os._exit(0 if peer.get(cache, "k") == 1 else 3)
    end = time.monotonic() + 5
    done = 0
    while not done and time.monotonic() < end:
        done, _ = os.waitpid(pid, os.WNOHANG)
        time.sleep(0.01)
    if not done:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
    go.set()
    thread.join()
    must(done, "child hangs")


CASES = (
    eq_that_re_enters,
    hash_that_re_enters,
    finalizers_that_re_enter,
    values_finalized_while_held,
    repr_of_itself,
    comparison,
    eq_that_raises,
    hash_that_changes,
    listener_that_raises,
    equal_hashes,
    insertion_while_iterating,
    colliding_keys_in_threads,
    fork_beside_a_thread,
)
