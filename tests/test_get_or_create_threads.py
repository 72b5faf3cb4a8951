"""`get_or_create` in many threads: once for each key, and no waiting without end."""

from __future__ import annotations

import gc
import signal
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any, NoReturn

import pytest

from harness import PATIENCE, Boom, Colliding, in_threads, outcomes, wait
from leaksafe import LRUCache
from test_get_or_create import Cache, refuse

# Many threads


class Counted:
    """A factory that tells how often it ran, and how often at once."""

    def __init__(self, work: Callable[[], Any]) -> None:
        self.work = work
        self.lock = threading.Lock()
        self.runs = 0
        self.running = 0
        self.most = 0

    def __call__(self) -> Any:
        with self.lock:
            self.runs += 1
            self.running += 1
            self.most = max(self.most, self.running)
        try:
            return self.work()
        finally:
            with self.lock:
                self.running -= 1


def test_once_for_each_key() -> None:
    cache: Cache = LRUCache(None)
    threads = 8
    barrier = threading.Barrier(threads)

    def slow() -> object:
        time.sleep(0.001)
        return object()

    factories = [Counted(slow) for _ in range(50)]

    def work() -> list[object]:
        barrier.wait(PATIENCE)
        return [cache.get_or_create(key, factory) for key, factory in enumerate(factories)]

    results = in_threads(*[work] * threads)
    assert [factory.runs for factory in factories] == [1] * 50
    for result in results[1:]:
        assert all(value is first for value, first in zip(result, results[0], strict=True))


def test_waiters_get_what_the_first_made() -> None:
    cache: Cache = LRUCache(3)
    started, release = threading.Event(), threading.Event()

    def make() -> str:
        started.set()
        wait(release)
        return "made"

    def second() -> Any:
        wait(started)
        # Another key is not held up, and neither are reads.
        assert cache.get_or_create("b", lambda: "other") == "other"
        assert "a" not in cache
        assert cache.get("a") is None
        threading.Timer(0.05, release.set).start()
        return cache.get_or_create("a", refuse)

    assert (
        in_threads(lambda: cache.get_or_create("a", make), second, second, second) == ["made"] * 4
    )


def test_equal_keys_are_one_key() -> None:
    cache: Cache = LRUCache(None)
    barrier = threading.Barrier(4)

    def slow() -> object:
        time.sleep(0.02)
        return object()

    for keys in ((1, 1.0, True, 1), [Colliding("x") for _ in range(4)]):
        factory = Counted(slow)

        def ask(key: Any, factory: Counted = factory) -> Callable[[], Any]:
            def run() -> Any:
                barrier.wait(PATIENCE)
                return cache.get_or_create(key, factory)

            return run

        assert len({id(value) for value in in_threads(*map(ask, keys))}) == 1
        assert factory.runs == 1
    assert len(cache) == 2


def test_keys_of_equal_hash_do_not_wait_for_each_other() -> None:
    cache: Cache = LRUCache(None)
    both = threading.Barrier(2)

    def meet() -> bool:
        both.wait(PATIENCE)
        return True

    assert in_threads(
        lambda: cache.get_or_create(Colliding("x"), meet),
        lambda: cache.get_or_create(Colliding("y"), meet),
    ) == [True, True]


def test_caches_do_not_wait_for_each_other() -> None:
    first: Cache = LRUCache(3)
    second: Cache = LRUCache(3)
    both = threading.Barrier(2)

    def meet() -> bool:
        both.wait(PATIENCE)
        return True

    assert in_threads(
        lambda: first.get_or_create("a", meet), lambda: second.get_or_create("a", meet)
    ) == [True, True]


def test_a_failure_is_the_business_of_the_one_whose_factory_it_was() -> None:
    cache: Cache = LRUCache(3)
    started, release = threading.Event(), threading.Event()

    def fail() -> NoReturn:
        started.set()
        wait(release)
        raise Boom("the first one's")

    later = Counted(lambda: "good")

    def second() -> Any:
        wait(started)
        threading.Timer(0.05, release.set).start()
        return cache.get_or_create("a", later)

    first, *rest = outcomes(lambda: cache.get_or_create("a", fail), second, second, second)
    assert isinstance(first, Boom)
    assert rest == ["good"] * 3
    assert later.runs == 1
    assert cache["a"] == "good"


@pytest.mark.parametrize("kind", [Boom, SystemExit, KeyboardInterrupt])
def test_when_all_fail_each_gets_its_own_failure(kind: type[BaseException]) -> None:
    cache: Cache = LRUCache(3)
    threads = 6
    barrier = threading.Barrier(threads)

    def fail() -> NoReturn:
        time.sleep(0.002)
        raise kind("failed")

    factory = Counted(fail)

    def work() -> Any:
        barrier.wait(PATIENCE)
        return cache.get_or_create("a", factory)

    errors = outcomes(*[work] * threads)
    assert [type(error) for error in errors] == [kind] * threads
    assert len({id(error) for error in errors}) == threads
    assert factory.runs == threads
    assert factory.most == 1
    depths = {
        len(traceback.extract_tb(error.__traceback__))
        for error in errors
        if isinstance(error, BaseException)
    }
    assert len(depths) == 1
    assert len(cache) == 0
    assert cache.get_or_create("a", lambda: "good") == "good"


def test_what_is_too_heavy_is_for_the_one_who_made_it() -> None:
    """Nothing is kept for the others to find; each gets a value all the same."""
    cache: Cache = LRUCache(1, lambda value: 2)
    barrier = threading.Barrier(4)

    def work() -> Any:
        barrier.wait(PATIENCE)
        return cache.get_or_create("a", lambda: "heavy")

    assert in_threads(*[work] * 4) == ["heavy"] * 4
    assert len(cache) == 0


def test_a_key_set_meanwhile_does_not_confuse_the_waiters() -> None:
    cache: Cache = LRUCache(3)
    started, release = threading.Event(), threading.Event()

    def make() -> str:
        started.set()
        wait(release)
        return "made"

    def meddle() -> str:
        wait(started)
        cache["a"] = "set"
        assert cache.get_or_create("a", refuse) == "set"
        del cache["a"]
        cache.clear()
        release.set()
        return "done"

    assert in_threads(lambda: cache.get_or_create("a", make), meddle) == ["made", "done"]
    assert dict(cache) == {"a": "made"}


def test_close_while_others_wait() -> None:
    cache: Cache = LRUCache(3)
    started, release = threading.Event(), threading.Event()

    def make() -> str:
        started.set()
        wait(release)
        return "made"

    def second() -> Any:
        wait(started)
        return cache.get_or_create("a", lambda: "mine")

    def closer() -> str:
        wait(started)
        cache.close()
        release.set()
        return "closed"

    results = outcomes(lambda: cache.get_or_create("a", make), second, second, closer)
    for result in results[:3]:
        assert result in ("made", "mine") or (
            isinstance(result, RuntimeError) and "closed" in str(result)
        )
    assert results[3] == "closed"
    assert len(cache) == 0


# Circles


def circle(size: int) -> None:
    """Each of several threads makes a key, and needs for it the one that the next is making."""
    cache: Cache = LRUCache(None)
    all_inside = threading.Barrier(size)
    runs: list[tuple[int, int]] = []

    def maker(thread: int) -> Callable[[], Any]:
        key, needed = thread, (thread + 1) % size

        def make() -> str:
            runs.append((thread, key))
            all_inside.wait(PATIENCE)
            return f"{key} of {cache.get_or_create(needed, make_needed)}"

        def make_needed() -> str:
            runs.append((thread, needed))
            return f"{needed}"

        return lambda: cache.get_or_create(key, make)

    results = in_threads(*map(maker, range(size)))
    # All get what the cache holds.
    assert dict(cache) == dict(enumerate(results))
    assert sum(" of " in result for result in results) == size - 1
    # Whoever would have closed the circle made its own; nobody else had to.
    extra = [run for run in runs if run[0] != run[1]]
    assert len(extra) == 1
    assert len(runs) == size + 1


@pytest.mark.parametrize("size", [2, 3, 5])
def test_threads_that_would_wait_in_a_circle(size: int) -> None:
    for _ in range(5):
        circle(size)


def test_a_circle_through_two_caches() -> None:
    first: Cache = LRUCache(3)
    second: Cache = LRUCache(3)
    both = threading.Barrier(2)

    def across(mine: Cache, other: Cache) -> Callable[[], Any]:
        def make() -> Any:
            both.wait(PATIENCE)
            return ["made with", other.get_or_create("a", lambda: "own")]

        return lambda: mine.get_or_create("a", make)

    results = in_threads(across(first, second), across(second, first))
    assert [first["a"], second["a"]] == results
    assert sorted(result == "own" for result in results) == [False, True]


def test_a_chain_that_is_no_circle_waits() -> None:
    """A thread that waits for one that waits for a third is not taken for a circle."""
    cache: Cache = LRUCache(None)
    inside_a, inside_b, release = (threading.Event() for _ in range(3))

    def make_a() -> str:
        inside_a.set()
        wait(release)
        return "a"

    def make_b() -> str:
        inside_b.set()
        threading.Timer(0.05, release.set).start()
        return f"b{cache.get_or_create('a', refuse)}"

    def second() -> Any:
        wait(inside_a)
        return cache.get_or_create("b", make_b)

    def third() -> Any:
        wait(inside_b)
        return f"c{cache.get_or_create('b', refuse)}"

    results = in_threads(lambda: cache.get_or_create("a", make_a), second, third)
    assert results == ["a", "ba", "cba"]


# Waiters that are interrupted


@pytest.mark.thread_unsafe(reason="signals are the main thread's")
def test_a_waiter_in_the_main_thread_can_be_interrupted() -> None:
    class Interrupted(Exception):
        pass

    def handler(number: int, frame: object) -> NoReturn:
        raise Interrupted

    assert threading.current_thread() is threading.main_thread()
    main = threading.main_thread().ident
    assert main is not None
    cache: Cache = LRUCache(3)
    started, release, waiting, interrupted = (threading.Event() for _ in range(4))

    def make() -> str:
        started.set()
        wait(release)
        return "made"

    def interrupt() -> None:
        wait(waiting)
        time.sleep(0.05)
        signal.pthread_kill(main, signal.SIGUSR1)
        # Where the signal doesn't end the wait, the factory's end does: a failure and no hang.
        interrupted.wait(5)
        release.set()

    threads = [
        threading.Thread(target=cache.get_or_create, args=("a", make), daemon=True),
        threading.Thread(target=interrupt, daemon=True),
    ]
    before = signal.signal(signal.SIGUSR1, handler)
    try:
        threads[0].start()
        wait(started)
        threads[1].start()
        with pytest.raises(Interrupted):
            waiting.set()
            cache.get_or_create("a", refuse)
        assert not release.is_set()
        assert "a" not in cache
        interrupted.set()
        assert cache.get_or_create("a", refuse) == "made"
    finally:
        interrupted.set()
        release.set()
        for thread in threads:
            if thread.ident is not None:
                thread.join(PATIENCE)
        signal.signal(signal.SIGUSR1, before)
    assert dict(cache) == {"a": "made"}


@pytest.mark.thread_unsafe(reason="signals are the main thread's")
def test_a_waiter_that_a_handler_does_not_interrupt_goes_on_waiting() -> None:
    heard: list[int] = []
    main = threading.main_thread().ident
    assert main is not None
    cache: Cache = LRUCache(3)
    started, release, waiting = (threading.Event() for _ in range(3))

    def make() -> str:
        started.set()
        wait(release)
        return "made"

    def knock() -> None:
        wait(waiting)
        time.sleep(0.05)
        signal.pthread_kill(main, signal.SIGUSR1)
        time.sleep(0.05)
        release.set()

    before = signal.signal(signal.SIGUSR1, lambda number, frame: heard.append(number))
    threads = [
        threading.Thread(target=cache.get_or_create, args=("a", make), daemon=True),
        threading.Thread(target=knock, daemon=True),
    ]
    try:
        for thread in threads:
            thread.start()
        wait(started)
        waiting.set()
        assert cache.get_or_create("a", refuse) == "made"
    finally:
        for thread in threads:
            thread.join(PATIENCE)
        signal.signal(signal.SIGUSR1, before)
    assert heard == [signal.SIGUSR1]


def test_nothing_is_left_over_of_many_flights() -> None:
    """Keys that were asked for, and failed or were made, are not held beyond the cache."""

    class Key:
        pass

    cache: Cache = LRUCache(1)
    references = []

    def ask(fails: bool) -> None:
        key = Key()
        references.append(weakref.ref(key))
        if fails:
            with pytest.raises(ZeroDivisionError):
                cache.get_or_create(key, lambda: 1 // 0)
        else:
            cache.get_or_create(key, lambda: 1)

    for number in range(50):
        ask(number % 2 == 0)
    gc.collect()
    assert sum(reference() is not None for reference in references) == 1
    cache.clear()
    gc.collect()
    assert not any(reference() for reference in references)
