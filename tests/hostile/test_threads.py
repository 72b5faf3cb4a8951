"""Several threads in one cache, with the collector, signals and each other in the way."""

from __future__ import annotations

import gc
import os
import random
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

from actors import ACTIONS, Cache, Value, check, nothing_left

from isolated import each, isolated, raises
from leaksafe import LRUCache, lru_cache

SECONDS = 1.0


def crowd(*jobs: Callable[[], object], seconds: float = SECONDS) -> list[int]:
    """Run each job again and again in a thread of its own; raise what any of them raised.

    Says how many rounds each made: one that made none never had its turn.
    """
    errors: list[BaseException] = []
    rounds = [0] * len(jobs)
    stop = threading.Event()
    start = threading.Barrier(len(jobs))

    def loop(number: int, job: Callable[[], object]) -> None:
        start.wait()
        try:
            while not stop.is_set():
                job()
                rounds[number] += 1
        except BaseException as error:
            errors.append(error)
            stop.set()

    threads = [threading.Thread(target=loop, args=pair) for pair in enumerate(jobs)]
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    stop.wait(seconds)
    stop.set()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(0.005)
    if errors:
        raise errors[0]
    assert all(rounds), f"rounds: {rounds}"
    return rounds


class Colliding:
    """A Python-level key: its comparison lets other threads in."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.number == other.number


@each("getsizeof", [False, True])
@isolated()
def test_four_threads_with_colliding_keys(getsizeof: bool) -> None:
    """lru-dict: 5 000 entries in a cache of 64, SIGSEGV; functools.lru_cache: SIGSEGV."""
    cache: Cache = LRUCache(64, (lambda value: 1) if getsizeof else None)
    most = [0] * 4
    refused = [0] * 4

    def job(number: int) -> Callable[[], None]:
        draw = random.Random(number)

        def run() -> None:
            key = Colliding(draw.randrange(150))
            choice = draw.randrange(100)
            try:
                if choice < 40:
                    cache[key] = Value()
                elif choice < 70:
                    cache.get(key)
                elif choice < 78:
                    cache.pop(key, None)
                elif choice < 84:
                    cache.get_or_create(key, Value)
                elif choice < 90:
                    cache.setdefault(key, Value())
                elif choice < 94:
                    _ = key in cache
                elif choice < 97:
                    cache.popitem() if cache else None
                else:
                    list(cache.items())
            except KeyError:
                assert 94 <= choice < 97
            except RuntimeError as error:
                # others changed the slot at each of a bounded number of comparisons
                assert choice >= 97 or "chang" in str(error), repr(error)
                refused[number] += choice < 97
            most[number] = max(most[number], len(cache))

        return run

    rounds = crowd(*(job(number) for number in range(4)), seconds=2)
    assert max(most) <= 64, f"{max(most)} entries in a cache of 64"
    assert max(most) > 32, "the bound was never near"
    # giving up is for a key that changes at every comparison, not for a busy cache
    assert sum(refused) <= sum(rounds) / 100, f"{refused} of {rounds}"
    check(cache)
    keys = [key.number for key in cache if isinstance(key, Colliding)]
    assert len(set(keys)) == len(keys), "one key twice"
    del cache, keys
    nothing_left()


@isolated()
def test_collections_beside_four_threads() -> None:
    """cachebox: values that the cache still holds are finalized.

    The collector visits twice and compares; nothing else refers to the values, so a cache that it
    can't look into at one of the visits makes them look dead.
    """
    caches: list[Cache] = [LRUCache(1_000), LRUCache(1_000, on_remove=lambda *args: None)]
    for cache in caches:
        for number in range(300):
            cache["kept", number] = Value()

    def collect() -> None:
        gc.collect()

    def read() -> None:
        for cache in caches:
            for number in range(0, 300, 7):
                assert not cache["kept", number].dead, "a value that the cache holds was finalized"

    def write() -> None:
        for cache in caches:
            for number in range(50):
                cache["churn", number] = [Value()]

    def walk() -> None:
        for cache in caches:
            try:
                for value in cache.values():
                    assert isinstance(value, list) or not value.dead
            except RuntimeError as error:
                assert "changed during iteration" in str(error)

    def create() -> None:
        for cache in caches:
            for number in range(20):
                key = Colliding(number)
                cache.get_or_create(key, Value)
                cache.pop(key, None)

    crowd(collect, read, write, walk, create, seconds=3)
    for cache in caches:
        kept = [cache["kept", number] for number in range(300)]
        assert not any(value.dead for value in kept)
        check(cache)
    del cache, caches, kept
    nothing_left()


@isolated()
def test_collections_by_every_thread() -> None:
    """A collection may start inside any allocation, of any thread, inside any operation."""
    gc.set_threshold(1, 1, 1)
    cache: Cache = LRUCache(32)

    def job() -> None:
        for number in range(40):
            cache[Colliding(number)] = value = Value()
            value.self = value  # type: ignore[attr-defined]
            found = cache.get(Colliding(number // 2))
            assert found is None or not found.dead

    crowd(job, job, job, job, seconds=2)
    check(cache)
    gc.set_threshold(700, 10, 10)
    del cache
    nothing_left()


@each("action", [name for name in ACTIONS if name != "collect"])
@isolated()
def test_an_action_beside_readers(action: str) -> None:
    """Clearing, resizing, closing and the like while others read, write and walk."""
    boxes: list[Cache] = [LRUCache(16)]

    def act() -> None:
        cache = boxes[0]
        try:
            ACTIONS[action](cache)
        except (AssertionError, KeyError, RuntimeError):
            # what the action expects holds only while it is alone
            pass
        if cache.closed or not cache.maxsize or cache.maxsize < 16:
            boxes[0] = LRUCache(16)

    def use() -> None:
        cache = boxes[0]
        for number in range(20):
            try:
                cache[Colliding(number)] = Value()
                found = cache.get(Colliding(number))
                assert found is None or not found.dead
                for item in cache.values():
                    assert not item.dead
            except RuntimeError as error:
                assert "clos" in str(error) or "chang" in str(error), repr(error)

    crowd(act, use, use, seconds=0.4)
    check(boxes[0])
    boxes.clear()
    nothing_left()


@isolated()
def test_python_code_in_on_remove_and_finalizers() -> None:
    """moka-py: any Python code in a listener or a finalizer, and two threads, deadlock."""
    removed: list[str] = []

    class Using(Value):
        def __del__(self) -> None:
            super().__del__()
            target = gone()
            if target is not None:
                target.get("x")
                time.sleep(0)

    def on_remove(key: object, value: object, cause: str) -> None:
        target = gone()
        assert target is not None
        removed.append(cause)
        time.sleep(0)
        target.get(key)
        if len(removed) % 100 == 0:
            target["x"] = 1

    cache: Cache = LRUCache(8, on_remove=on_remove)
    gone = weakref.ref(cache)

    def job() -> None:
        for number in range(20):
            cache[number] = Using()

    crowd(job, job, job, job)
    check(cache)
    assert {"size", "replaced"} <= set(removed)
    del cache
    nothing_left()


@isolated()
def test_two_locks_in_opposite_order() -> None:
    """Two caches whose callbacks use each other, from two threads."""
    one: Cache = LRUCache(4, on_remove=lambda key, value, cause: two.__setitem__(key, value))
    two: Cache = LRUCache(4, lambda value: len(one) * 0 + 1)

    def job(first: Cache, second: Cache) -> Callable[[], None]:
        def run() -> None:
            for number in range(10):
                first[Colliding(number)] = number
                second.get_or_create(
                    Colliding(number), lambda: first.get_or_create(number, lambda: number)
                )

        return run

    crowd(job(one, two), job(two, one))
    check(one)
    check(two)


@isolated()
def test_init_from_two_threads() -> None:
    """Only one of them makes it."""
    for _ in range(200):
        cache: Cache = LRUCache.__new__(LRUCache)
        made: list[int] = []
        barrier = threading.Barrier(3)

        def make(size: int, cache: Any = cache, made: Any = made, barrier: Any = barrier) -> None:
            barrier.wait()
            try:
                cache.__init__(size)
                made.append(size)
            except RuntimeError:
                pass

        threads = [threading.Thread(target=make, args=(size,)) for size in (1, 2, 3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(made) == 1 and cache.maxsize == made[0]


@isolated()
def test_one_iterator_in_four_threads() -> None:
    cache: Cache = LRUCache(2_000)
    for number in range(2_000):
        cache[number] = number
    for view in (cache, cache.keys(), cache.values(), cache.items()):
        walk = iter(view)
        seen: list[list[Any]] = [[] for _ in range(4)]

        def take(into: list[Any], walk: Any = walk) -> None:
            for item in walk:
                into.append(item)

        threads = [threading.Thread(target=take, args=(into,)) for into in seen]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        everything = [item for into in seen for item in into]
        assert len(everything) == len(set(everything)) == 2_000


@isolated()
def test_dropped_by_one_thread_while_another_walks() -> None:
    def job() -> None:
        cache: Cache = LRUCache(8)
        for number in range(8):
            cache[number] = Value()
        walk = iter(cache.items())
        next(walk)
        thread = threading.Thread(target=list, args=(walk,))
        thread.start()
        del cache, walk
        thread.join()

    crowd(job, job)
    nothing_left()


def interrupted_wait(cache: Cache, send: Callable[[], object]) -> None:
    """Wait in get_or_create in the main thread for a factory that doesn't end before a signal."""
    started, let_go = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        let_go.wait()
        return "made"

    maker = threading.Thread(target=lambda: cache.get_or_create("key", slow))
    maker.start()
    started.wait()

    def alarm() -> None:
        time.sleep(0.2)
        send()

    threading.Thread(target=alarm).start()
    try:
        cache.get_or_create("key", lambda: "other")
    finally:
        let_go.set()
        maker.join()


@isolated()
def test_keyboard_interrupt_while_waiting() -> None:
    """The main thread waits for another's factory: Ctrl-C must reach it before that ends."""
    cache: Cache = LRUCache(4)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # shells may have it ignored
    with raises(KeyboardInterrupt):
        interrupted_wait(cache, lambda: os.kill(os.getpid(), signal.SIGINT))
    assert cache["key"] == "made"
    # whoever gave up waiting left nothing behind
    assert cache.get_or_create("key", lambda: "again") == "made"
    del cache["key"]
    assert cache.get_or_create("key", lambda: "again") == "again"
    check(cache)


@isolated()
def test_signal_handler_that_uses_the_cache_while_waiting() -> None:
    cache: Cache = LRUCache(4)
    handled: list[object] = []

    def handler(number: int, frame: object) -> None:
        cache["handler"] = Value()
        handled.append(cache.get_or_create("other", lambda: "from the handler"))
        # the very key that this thread waits for: it can't wait again for itself to go on
        raise TimeoutError

    signal.signal(signal.SIGUSR1, handler)
    with raises(TimeoutError):
        interrupted_wait(cache, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    assert handled == ["from the handler"]
    assert cache["key"] == "made"
    check(cache)


@isolated()
def test_signal_handler_that_returns_while_waiting() -> None:
    """The wait goes on, and ends with the other's result."""
    cache: Cache = LRUCache(4)
    started, let_go = threading.Event(), threading.Event()

    def handler(number: int, frame: object) -> None:
        cache["handler"] = 1
        let_go.set()

    signal.signal(signal.SIGUSR1, handler)

    def slow() -> str:
        started.set()
        let_go.wait()
        return "made"

    maker = threading.Thread(target=lambda: cache.get_or_create("key", slow))
    maker.start()
    started.wait()
    timer = threading.Timer(0.2, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    timer.start()
    assert cache.get_or_create("key", lambda: "other") == "made"
    maker.join()
    timer.join()
    check(cache)


@isolated()
def test_keyboard_interrupt_in_a_busy_cache() -> None:
    """Signals all the time, inside whatever runs: each one comes out once, and nothing breaks."""
    cache: Cache = LRUCache(8, lambda value: 1, on_remove=lambda *args: None)
    sent = caught = 0
    stop = threading.Event()
    unraisable: list[type[BaseException]] = []
    sys.unraisablehook = lambda args: unraisable.append(args.exc_type or BaseException)

    def pester() -> None:
        nonlocal sent
        while not stop.is_set():
            os.kill(os.getpid(), signal.SIGINT)
            sent += 1
            time.sleep(0.002)

    thread = threading.Thread(target=pester)
    armed = False
    number = 0

    def on_interrupt(signum: int, frame: object) -> None:
        if armed:
            raise KeyboardInterrupt

    signal.signal(signal.SIGINT, on_interrupt)
    end = time.monotonic() + 1.5
    thread.start()
    while time.monotonic() < end:
        try:
            armed = True
            number += 1
            cache[Colliding(number % 20)] = number
            cache.get_or_create(Colliding(number % 13), lambda: number)
            cache.pop(Colliding(number % 7), None)
            repr(cache)
            armed = False
        except KeyboardInterrupt:
            armed = False
            caught += 1
    stop.set()
    thread.join()
    assert caught > 10
    assert set(unraisable) <= {KeyboardInterrupt}
    sys.unraisablehook = sys.__unraisablehook__
    check(cache)
    cache.clear()
    for key in range(20):
        assert cache.get_or_create(Colliding(key), lambda: "fresh") == "fresh"


class Kept(Value):
    """A value that knows its key, and uses the cache when it dies."""

    def __init__(self, number: int, cache: Cache) -> None:
        super().__init__()
        self.number = number
        self.cache = cache

    def __del__(self) -> None:
        try:
            self.cache.get(Hostile(self.number, self.cache))
        except (Refused, RuntimeError):
            pass
        super().__del__()


class Hostile(Colliding):
    """A key that uses the cache while it is hashed and compared, and at times refuses."""

    def __init__(self, number: int, cache: Cache, refuses: bool = False) -> None:
        super().__init__(number)
        self.cache = cache
        self.refuses = refuses

    def __hash__(self) -> int:
        self.cache.peek(("plain", self.number))
        return super().__hash__()

    def __eq__(self, other: object) -> bool:
        if self.refuses:
            raise Refused
        self.cache[("plain", self.number)] = self.number
        return super().__eq__(other)


class Refused(Exception):
    pass


@isolated(limit=200)
def test_everything_at_once_in_four_threads() -> None:
    """No Python code runs under a lock: else this hangs, crashes, or breaks what must hold."""
    cache: Cache = LRUCache(64)

    @lru_cache(maxsize=32)
    def double(number: int) -> tuple[int, list[int]]:
        return number, [2 * number]

    def look(draw: random.Random) -> None:
        for _ in range(20):
            number = draw.randrange(100)
            plain = cache.get(("plain", number), number)
            assert plain == number
            assert double(number) == (number, [2 * number])

    def change(draw: random.Random) -> None:
        number = draw.randrange(40)
        key = Hostile(number, cache, refuses=draw.randrange(20) == 0)
        match draw.randrange(7):
            case 0 | 1:
                cache[key] = Kept(number, cache)
            case 2:
                value = cache.get(key)
                assert value is None or (value.number == number and not value.dead)
            case 3:
                value = cache.get_or_create(key, lambda: Kept(number, cache))
                assert value.number == number
            case 4:
                cache.pop(key, None)
            case 5:
                double.cache_discard(number)
            case _:
                for found, value in list(cache.items()):
                    plain = isinstance(value, int)
                    assert found == ("plain", value) if plain else found.number == value.number

    def disturb(draw: random.Random) -> None:
        match draw.randrange(6):
            case 0:
                cache.clear()
            case 1:
                cache.resize(draw.choice((16, 64)))
            case 2:
                double.cache_clear()
            case 3:
                gc.collect()
            case _:
                look(draw)

    def job(number: int) -> Callable[[], None]:
        draw = random.Random(number)

        def run() -> None:
            look(draw)
            try:
                change(draw)
            except Refused:
                pass
            except RuntimeError as error:
                # the keys that others store at every comparison; a walk beside a change
                assert "changed" in str(error), repr(error)
            if draw.randrange(50) == 0:
                disturb(draw)
            assert len(cache) <= 64
            assert double.cache_info().currsize <= 32

        return run

    crowd(*(job(number) for number in range(4)), seconds=15)
    for key in [key for key in cache if isinstance(key, Hostile)]:
        key.refuses = False
    cache.resize(64)
    check(cache)
    cache.clear()
    del cache, double
    nothing_left()
