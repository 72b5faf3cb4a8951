"""G10: correct from many threads, with and without the GIL, many event loops, a forked child."""

from __future__ import annotations

import asyncio
import collections
import os
import random
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from isolated import FREE_THREADED, each, isolated
from leaksafe import LRUCache, singleton

Cache = LRUCache[Any, Any]
THREADS = 4


def together(*jobs: Callable[[], object]) -> None:
    """Run each in a thread of its own, from one moment on; raise what any of them raised."""
    errors: list[BaseException] = []
    start = threading.Barrier(len(jobs))

    def run(job: Callable[[], object]) -> None:
        start.wait()
        try:
            job()
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(job,)) for job in jobs]
    sys.setswitchinterval(1e-5)
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sys.setswitchinterval(0.005)
    if errors:
        raise errors[0]


class Key:
    """Compared by Python code, in which other threads get their turn."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 5

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Key) and self.number == other.number


KEYS: dict[str, Callable[[int], object]] = {
    "int": lambda number: number,
    "str": lambda number: f"key-{number}",
    "tuple": lambda number: ("key", number),
    "python": Key,
}


def told_to_hold(cache: Cache) -> int:
    """Entries by the counts alone: a value that replaces another is no insertion."""
    stats = cache.stats()
    return stats.insertions - (sum(stats.removals) - stats.removals.replaced)


def number_of(key: Any) -> int:
    if isinstance(key, Key):
        return key.number
    if isinstance(key, tuple):
        return int(key[1])
    return int(key.removeprefix("key-")) if isinstance(key, str) else int(key)


@isolated()
def test_the_gil_stays_off() -> None:
    """Without the GIL, importing a module that needs it would switch it on again."""
    if FREE_THREADED:
        assert sys._is_gil_enabled() is False  # type: ignore[attr-defined, unused-ignore]
    else:
        assert getattr(sys, "_is_gil_enabled", lambda: True)()


@each("kind", KEYS)
@isolated()
def test_nothing_is_lost(kind: str) -> None:
    cache: Cache = LRUCache(None)
    key = KEYS[kind]
    count = 400 if kind == "python" else 5_000

    def fill(thread: int) -> None:
        for step in range(count):
            cache[key(thread * count + step)] = (thread, step)

    together(*(lambda thread=thread: fill(thread) for thread in range(THREADS)))
    assert len(cache) == THREADS * count
    for thread in range(THREADS):
        for step in range(count):
            assert cache[key(thread * count + step)] == (thread, step)
    stats = cache.stats()
    assert stats.insertions == stats.hits == THREADS * count


@each("kind", KEYS)
@isolated()
def test_a_reader_never_sees_a_wrong_value(kind: str) -> None:
    cache: Cache = LRUCache(24)
    key = KEYS[kind]

    def job(seed: int) -> None:
        draw = random.Random(seed)
        end = time.monotonic() + 1
        while time.monotonic() < end:
            for _ in range(50):
                number = draw.randrange(60)
                match draw.randrange(6):
                    case 0 | 1:
                        cache[key(number)] = ("value", number)
                    case 2:
                        got = cache.pop(key(number), None)
                        assert got in (None, ("value", number))
                    case 3:
                        got = cache.get_or_create(key(number), lambda n=number: ("value", n))  # type: ignore[misc]
                        assert got == ("value", number)
                    case 4:
                        got = cache.setdefault(key(number), ("value", number))
                        assert got == ("value", number)
                    case _:
                        got = cache.get(key(number))
                        assert got in (None, ("value", number))
                assert len(cache) <= 24

    together(*(lambda seed=seed: job(seed) for seed in range(THREADS)))
    assert len(cache) <= 24
    numbers = [number_of(one) for one in cache]
    assert len(set(numbers)) == len(numbers)
    for one, value in cache.items():
        assert value == ("value", number_of(one))
    assert told_to_hold(cache) == len(cache)


@isolated()
def test_what_runs_once_runs_once() -> None:
    """Many ask for one key at the same moment; the factory lets the others in."""
    for step in range(30):
        cache: Cache = LRUCache(8)
        runs: list[int] = []
        results: list[object] = []

        def ask(cache: Any = cache, runs: Any = runs, results: Any = results) -> None:
            def factory() -> object:
                runs.append(1)
                time.sleep(0.002)
                return object()

            results.append(cache.get_or_create("key" if step % 2 else Key(1), factory))

        together(*[ask] * 8)
        assert len(runs) == 1
        assert len(results) == 8 and len({id(one) for one in results}) == 1
        stats = cache.stats()
        assert stats.hits + stats.misses == 8 and stats.insertions == 1


@isolated()
def test_factories_of_different_keys_run_side_by_side() -> None:
    """They meet in the middle: were they serialised, neither would get there."""
    cache: Cache = LRUCache(8)
    meeting = threading.Barrier(THREADS, timeout=15)

    def factory() -> int:
        return meeting.wait()

    together(*(lambda n=n: cache.get_or_create(n, factory) for n in range(THREADS)))
    assert len(cache) == THREADS


@isolated()
def test_a_slow_factory_holds_up_nobody_else() -> None:
    cache: Cache = LRUCache(8)
    started, let_go = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        assert let_go.wait(15)
        return "slow"

    def make() -> None:
        assert cache.get_or_create("slow", slow) == "slow"

    def others() -> None:
        started.wait()
        cache["a"] = 1
        assert cache["a"] == 1 and cache.get_or_create("b", lambda: 2) == 2
        # the key that is being made may be asked for, set, and removed meanwhile
        assert "slow" not in cache and cache.get("slow") is None
        cache["slow"] = "set"
        assert cache["slow"] == "set"
        assert cache.get_or_create("slow", lambda: "never") == "set"
        del cache["slow"]
        list(cache.items())
        cache.resize(4)
        let_go.set()

    together(make, others)
    assert len(cache) <= 4


@isolated()
def test_waiting_lets_the_others_run() -> None:
    """Whoever waits for a factory does so without the GIL, and without using the processor."""
    cache: Cache = LRUCache(8)
    started, let_go = threading.Event(), threading.Event()

    def slow() -> str:
        started.set()
        let_go.wait()
        return "made"

    threads = [threading.Thread(target=lambda: cache.get_or_create("key", slow)) for _ in range(8)]
    for thread in threads:
        thread.start()
    started.wait()
    time.sleep(0.2)
    used = time.process_time()
    time.sleep(0.5)
    used = time.process_time() - used
    let_go.set()
    for thread in threads:
        thread.join()
    # eight that spin would use all there is
    assert used < 0.25, f"{used} s of processor time used in 0.5 s of waiting"


@isolated()
def test_one_takes_each() -> None:
    """Of many that pop the same entries, one gets each."""
    count = 3_000
    for taker in ("popitem", "pop", "del"):
        cache: Cache = LRUCache(None)
        for number in range(count):
            cache[number] = number
        taken: list[list[int]] = [[] for _ in range(THREADS)]

        def take(into: list[int], cache: Any = cache, taker: str = taker) -> None:
            if taker == "popitem":
                while True:
                    try:
                        into.append(cache.popitem()[0])
                    except KeyError:
                        return
            for number in range(count):
                try:
                    if taker == "pop":
                        cache.pop(number)
                    else:
                        del cache[number]
                    into.append(number)
                except KeyError:
                    pass

        together(*(lambda into=into: take(into) for into in taken))
        everything = [number for into in taken for number in into]
        assert sorted(everything) == list(range(count))
        assert len(cache) == 0


@isolated()
def test_setdefault_has_one_winner() -> None:
    for step in range(100):
        cache: Cache = LRUCache(8)
        key: Any = step if step % 2 else Key(step)
        results: list[object] = []

        def ask(cache: Any = cache, key: Any = key, results: Any = results) -> None:
            results.append(cache.setdefault(key, object()))

        together(*[ask] * THREADS)
        assert len({id(one) for one in results}) == 1 and len(cache) == 1


@isolated()
def test_each_removal_is_told_once() -> None:
    told: collections.Counter[int] = collections.Counter()
    lock = threading.Lock()

    def on_remove(key: Any, value: int, cause: str) -> None:
        with lock:
            told[value] += 1

    cache: Cache = LRUCache(16, on_remove=on_remove)
    count = 3_000

    def job(thread: int) -> None:
        for step in range(count):
            cache[step % 40] = thread * count + step
            if step % 50 == 0:
                cache.clear()
            if step % 7 == 0:
                cache.pop(step % 40, None)
            if step % 31 == 0:
                cache.resize(8 + step % 9)

    together(*(lambda thread=thread: job(thread) for thread in range(THREADS)))
    kept = set(cache.values())
    assert set(told.values()) == {1}
    assert sum(told.values()) + len(kept) == THREADS * count
    assert not kept & set(told)
    assert sum(cache.stats().removals) == sum(told.values())


@isolated()
def test_counts_are_exact() -> None:
    cache: Cache = LRUCache(50)
    count = 5_000

    def job() -> None:
        for step in range(count):
            cache.get(step % 100)
            cache.setdefault(step % 70, step)

    together(*[job] * THREADS)
    stats = cache.stats()
    assert stats.hits + stats.misses == 2 * count * THREADS
    assert told_to_hold(cache) == len(cache) == 50


@isolated()
def test_weights_stay_exact() -> None:
    def getsizeof(value: int) -> int:
        time.sleep(0)
        return value

    cache: Cache = LRUCache(100, getsizeof)

    def job(seed: int) -> None:
        draw = random.Random(seed)
        for _ in range(1_500):
            cache[draw.randrange(30)] = draw.randrange(20)
            if draw.randrange(4) == 0:
                cache.pop(draw.randrange(30), None)
            assert cache.currsize <= 100

    together(*(lambda seed=seed: job(seed) for seed in range(THREADS)))
    assert cache.currsize == sum(cache.values()) <= 100


@isolated()
def test_walks_beside_writers() -> None:
    """A walk ends, or says that the cache changed; it yields nothing twice and nothing foreign."""
    cache: Cache = LRUCache(64)
    for number in range(64):
        cache[number] = number
    stop = threading.Event()
    ended: list[int] = []

    def walk() -> None:
        for turn in range(300):
            seen: list[int] = []
            try:
                for key, value in cache.items():
                    assert key == value
                    seen.append(key)
                ended.append(turn)
            except RuntimeError as error:
                assert "changed during iteration" in str(error)
            assert len(set(seen)) == len(seen)
            copied = cache.copy()
            assert len(copied) <= 64 and all(key == value for key, value in copied.items())
        stop.set()

    def write() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            cache[number % 200] = number % 200
            cache.get(number % 50)
            if number % 10 == 0:
                time.sleep(0)

    together(walk, write, write)
    assert len(cache) == 64


@isolated()
def test_hits_beside_a_walk_are_no_change() -> None:
    cache: Cache = LRUCache(64)
    for number in range(64):
        cache[number] = number
    stop = threading.Event()

    def walk() -> None:
        try:
            for _ in range(300):
                # hits move entries about: a walk may see them move, but it is not refused
                for key in cache:
                    assert 0 <= key < 64
        finally:
            stop.set()

    def read() -> None:
        number = 0
        while not stop.is_set():
            number += 1
            assert cache[number % 64] == number % 64

    together(walk, read, read)


@isolated()
def test_many_event_loops() -> None:
    """One cache in four event loops of four threads."""
    cache: Cache = LRUCache(16)
    runs: collections.Counter[int] = collections.Counter()

    def loop() -> None:
        async def ask(number: int) -> object:
            await asyncio.sleep(0)
            return cache.get_or_create(number, lambda: runs.update([number]) or ("made", number))

        async def main() -> None:
            for _ in range(20):
                results = await asyncio.gather(*(ask(number) for number in range(16)))
                assert results == [("made", number) for number in range(16)]

        asyncio.run(main())

    together(*[loop] * THREADS)
    assert set(runs.values()) == {1} and len(runs) == 16


@isolated()
def test_a_forked_child_goes_on() -> None:
    if not hasattr(os, "fork"):
        return
    cache: Cache = LRUCache(16)
    cache["a"] = 1
    cache.get_or_create("b", lambda: 2)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            together(*(lambda n=n: cache.get_or_create(n, lambda: n) for n in range(THREADS)))
            assert len(cache) == 2 + THREADS
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0
    assert len(cache) == 2


@isolated(limit=60)
def test_sixteen_threads_on_a_cold_class_a_thousand_times() -> None:
    built: list[int] = []
    start, end = threading.Barrier(16), threading.Barrier(16)

    @singleton
    class Cold:
        def __init__(self) -> None:
            built.append(1)

    wrong: list[object] = []
    seen: list[object] = [None] * 16

    def ask(number: int) -> None:
        for turn in range(1_000):
            start.wait()
            seen[number] = Cold()
            end.wait()
            if number == 0:
                if len(built) != turn + 1 or any(one is not seen[0] for one in seen):
                    wrong.append(turn)
                singleton.reset(Cold)

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
