"""cached, single flight: a key that many threads ask for at once is computed once."""

from __future__ import annotations

import gc
import math
import signal
import sys
import sysconfig
import threading
import time
import traceback
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from harness import PATIENCE, Boom, in_threads, outcomes, wait
from isolated import isolated
from leaksafe import cached

WAYS: list[dict[str, Any]] = [{}, {"ttl": 600}, {"cache_if": lambda _: True}, {"key": str}]
both = pytest.mark.parametrize("options", WAYS, ids=lambda way: "+".join(way) or "plain")


class Slow:
    """A cached function whose computation begins, and ends when it is let go."""

    def __init__(self, result: Callable[[int], Any] = lambda key: [key], **options: Any) -> None:
        self.begun = threading.Event()
        self.go = threading.Event()
        self.calls = 0

        @cached(**options)
        def f(key: int) -> Any:
            self.calls += 1
            self.begun.set()
            wait(self.go)
            return result(key)

        self.f = f

    def with_waiters(self, count: int = 8, then: Callable[[], object] = lambda: None) -> list[Any]:
        """A leader, and so many that ask while it computes: what each got, the leader's first."""
        asking = threading.Semaphore(0)

        def late() -> Any:
            wait(self.begun)
            asking.release()
            return self.f(1)

        def release() -> None:
            for _ in range(count):
                assert asking.acquire(timeout=PATIENCE)
            time.sleep(0.05)  # they are about to wait; those that come later find the result
            then()
            self.go.set()

        *results, _ = outcomes(lambda: self.f(1), *[late] * count, release)
        return results


@both
def test_many_threads_one_computation(options: dict[str, Any]) -> None:
    slow = Slow(**options)
    results = slow.with_waiters()
    assert len({id(result) for result in results}) == 1
    assert slow.calls == 1
    info = slow.f.cache_info()
    assert (info.hits, info.misses) == (8, 1)


def test_without_single_flight_each_computes() -> None:
    met = threading.Barrier(2, timeout=PATIENCE)

    @cached(single_flight=False)
    def f(key: int) -> int:
        met.wait()
        return key

    assert in_threads(lambda: f(1), lambda: f(1)) == [1, 1]


@both
def test_other_keys_do_not_wait(options: dict[str, Any]) -> None:
    met = threading.Barrier(2, timeout=PATIENCE)

    @cached(**options)
    def f(key: int) -> int:
        met.wait()
        return key

    assert in_threads(lambda: f(1), lambda: f(2)) == [1, 2]


# Failures


class Uncopyable(Exception):
    def __init__(self, first: object, second: object) -> None:
        super().__init__(f"{first} {second}")


@both
@pytest.mark.parametrize(
    "make",
    [lambda: Boom("why"), lambda: KeyError("k"), lambda: OSError(2, "gone")],
    ids=["Boom", "KeyError", "OSError"],
)
def test_every_waiter_gets_a_copy_of_the_error(
    options: dict[str, Any], make: Callable[[], Exception]
) -> None:
    error = make()
    error.note = "mine"  # type: ignore[attr-defined]

    def fail(_: int) -> None:
        raise error from ValueError("the cause")

    slow = Slow(fail, **options)
    errors = slow.with_waiters()
    assert slow.calls == 1
    assert errors[0] is error
    assert len({id(one) for one in errors}) == len(errors)
    for one in errors:
        assert (type(one), one.args) == (type(error), error.args)
        assert isinstance(one.__cause__, ValueError)
        assert one.note == "mine"
        names = [frame.name for frame in traceback.extract_tb(one.__traceback__)]
        assert names[-2:] == ["f", "fail"]
        assert len(names) < 12


@both
def test_an_error_that_cannot_be_copied_is_shared_and_does_not_grow(
    options: dict[str, Any],
) -> None:
    error = Uncopyable(1, 2)

    def fail(_: int) -> None:
        raise error

    errors = Slow(fail, **options).with_waiters(20)
    assert all(one is error for one in errors)
    # Each waiter has three frames of its own; some may raise it at the same time.
    assert len(traceback.extract_tb(error.__traceback__)) < 40


@both
def test_nothing_is_kept_of_a_failure(options: dict[str, Any]) -> None:
    class Witness:
        pass

    witnesses: list[weakref.ref[Witness]] = []

    def fail(_: int) -> None:
        witness = Witness()
        witnesses.append(weakref.ref(witness))
        raise Boom

    slow = Slow(fail, **options)
    errors = slow.with_waiters(4)
    assert [type(error) for error in errors] == [Boom] * 5
    del errors
    gc.collect()
    assert witnesses[0]() is None
    with pytest.raises(Boom):
        slow.f(1)
    assert slow.calls == 2
    assert slow.f.cache_info().currsize == 0


@both
@pytest.mark.parametrize("kind", [KeyboardInterrupt, SystemExit, GeneratorExit])
def test_what_is_no_exception_is_for_the_caller_that_it_hit(
    options: dict[str, Any], kind: type[BaseException]
) -> None:
    first = [True]

    def once(key: int) -> list[int]:
        if first.pop() if first else False:
            raise kind
        return [key]

    slow = Slow(once, **options)
    leader, *others = slow.with_waiters(5)
    assert type(leader) is kind
    assert others == [[1]] * 5
    assert slow.calls == 2


# No deadlock of its own


@both
def test_a_function_that_asks_for_its_own_key_just_runs(options: dict[str, Any]) -> None:
    depth = 0

    @cached(**options)
    def f(key: int) -> int:
        nonlocal depth
        depth += 1
        return 7 if depth > 3 else f(key)

    assert in_threads(lambda: f(1)) == [7]
    assert f(1) == 7


@both
@pytest.mark.parametrize("size", [2, 3, 8])
def test_a_ring_of_computations_is_noticed(options: dict[str, Any], size: int) -> None:
    met = threading.Barrier(size, timeout=PATIENCE)
    local = threading.local()

    @cached(**options)
    def f(key: int) -> int:
        if getattr(local, "inside", False):
            return key
        local.inside = True
        met.wait()
        return key + f((key + 1) % size) * 0

    assert in_threads(*[lambda key=key: f(key) for key in range(size)]) == list(range(size))


def test_a_ring_over_two_functions() -> None:
    met = threading.Barrier(2, timeout=PATIENCE)
    local = threading.local()

    def enter() -> bool:
        outer = not getattr(local, "inside", False)
        local.inside = True
        if outer:
            met.wait()
        return outer

    @cached
    def a() -> str:
        return "a" + (b() if enter() else "")

    @cached(cache_if=bool)
    def b() -> str:
        return "b" + (a() if enter() else "")

    results = in_threads(a, b)
    assert [result[0] for result in results] == ["a", "b"]


@both
def test_wait_timeout_ends_what_no_graph_can_see(options: dict[str, Any]) -> None:
    lock = threading.Lock()
    begun = threading.Event()
    waiting = threading.Event()
    local = threading.local()

    @cached(wait_timeout=0.05, **options)
    def f(key: int) -> int:
        if getattr(local, "holds", False):
            return key
        begun.set()
        wait(waiting)
        with lock:  # which the waiter holds
            return key

    def waiter() -> int:
        wait(begun)
        local.holds = True
        with lock:
            waiting.set()
            return f(1)

    assert in_threads(lambda: f(1), waiter) == [1, 1]


@pytest.mark.parametrize("seconds", [1e20, math.inf])
def test_a_long_wait_timeout_is_one(seconds: float) -> None:
    results = Slow(wait_timeout=seconds).with_waiters(2)
    assert len({id(result) for result in results}) == 1


@both
@pytest.mark.thread_unsafe(reason="threading is patched for the process")
def test_under_a_foreign_scheduler_nobody_waits(
    options: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    import _thread

    original = _thread.get_ident
    # As gevent and eventlet do: a function of theirs is in its place.
    monkeypatch.setattr(_thread, "get_ident", lambda: original())
    met = threading.Barrier(2, timeout=PATIENCE)

    @cached(**options)
    def f(key: int) -> int:
        met.wait()
        return key

    assert in_threads(lambda: f(1), lambda: f(1)) == [1, 1]


# Clearing during a flight


@both
@pytest.mark.parametrize("how", ["clear", "discard"])
def test_what_is_forgotten_in_flight_is_handed_out_and_not_kept(
    options: dict[str, Any], how: str
) -> None:
    slow = Slow(**options)
    forget = slow.f.cache_clear if how == "clear" else lambda: slow.f.cache_discard(1)
    results = slow.with_waiters(4, forget)
    assert results == [[1]] * 5
    assert slow.calls == 1
    assert not slow.f.cache_contains(1)
    assert slow.f(1) is not results[0]
    assert slow.f.cache_contains(1)


@both
def test_who_asks_after_a_clear_does_not_join_what_began_before(options: dict[str, Any]) -> None:
    begun = threading.Event()
    go = threading.Event()
    version = 1

    @cached(**options)
    def f() -> int:
        seen = version
        if seen == 1:
            begun.set()
            wait(go)
        return seen

    def later() -> int:
        nonlocal version
        wait(begun)
        version = 2
        f.cache_clear()
        result = f()
        go.set()
        return result

    assert in_threads(f, later) == [1, 2]
    assert f() == 2


@both
def test_discarding_one_key_leaves_other_flights_alone(options: dict[str, Any]) -> None:
    slow = Slow(**options)
    slow.with_waiters(2, lambda: slow.f.cache_discard(2))
    assert slow.f.cache_contains(1)


@both
def test_one_that_computes_by_itself_does_not_bring_back_what_was_cleared(
    options: dict[str, Any],
) -> None:
    begun, cleared = threading.Event(), threading.Event()
    local = threading.local()

    @cached(wait_timeout=0.02, **options)
    def f(key: int) -> list[int]:
        begun.set()
        wait(cleared)
        return [key]

    def waiter() -> Any:
        wait(begun)
        return f(1)

    def clear() -> None:
        wait(begun)
        time.sleep(0.2)  # the waiter computes by now
        f.cache_clear()
        cleared.set()

    results = in_threads(lambda: f(1), waiter, clear)
    assert results[:2] == [[1], [1]]
    assert not f.cache_contains(1)
    del local


# Signals, exit, fork


@isolated()
def test_a_waiting_main_thread_can_be_interrupted() -> None:
    begun, go = threading.Event(), threading.Event()

    @cached
    def f() -> int:
        begun.set()
        go.wait(20)
        return 1

    thread = threading.Thread(target=f)
    thread.start()
    begun.wait(20)
    main = threading.main_thread().ident
    assert main is not None
    # what a shell starts in the background ignores it
    signal.signal(signal.SIGINT, signal.default_int_handler)
    threading.Timer(0.2, lambda: signal.pthread_kill(main, signal.SIGINT)).start()
    try:
        f()
    except KeyboardInterrupt:
        interrupted = True
    else:
        interrupted = False
    go.set()
    thread.join()
    assert interrupted
    assert f.cache_info().currsize == 1


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="POSIX")
@isolated()
def test_a_flight_of_the_parent_does_not_stop_a_forked_child() -> None:
    import os

    begun, go = threading.Event(), threading.Event()

    @cached
    def plain(who: str) -> int:
        begun.set()
        go.wait(20)
        return os.getpid()

    @cached(cache_if=bool)
    def kept(who: str) -> int:
        return plain(who)

    thread = threading.Thread(target=kept, args=("key",))
    thread.start()
    begun.wait(20)
    child = os.fork()
    if child == 0:
        go.set()
        ok = plain("key") == os.getpid() and kept("key") == os.getpid()
        os._exit(0 if ok else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    go.set()
    thread.join()


@both
def test_nothing_is_left_of_flights(options: dict[str, Any]) -> None:
    f = cached(maxsize=8, **options)(lambda key: key)

    def ask() -> None:
        for key in range(500):
            f(key)

    in_threads(*[ask] * 4)
    gc.collect()
    locks = [one for one in gc.get_objects() if type(one).__name__ == "_Flight"]
    assert not locks
    small = sys.getsizeof(f)
    in_threads(*[ask] * 4)
    # Without the GIL, more threads than four have seats of their own: 7 KiB for all of them, once.
    seats = 7_168 if sysconfig.get_config_var("Py_GIL_DISABLED") else 0
    assert sys.getsizeof(f) <= small + 4096 + seats


def test_counts_that_are_cleared_while_somebody_waits_stay_counts() -> None:
    begun, go = threading.Event(), threading.Event()

    @cached
    def f(x: int) -> int:
        begun.set()
        wait(go)
        return x

    threads = [threading.Thread(target=f, args=(1,)) for _ in range(2)]
    threads[0].start()
    wait(begun)
    threads[1].start()
    while f.cache_info().misses < 2:
        time.sleep(0.001)
    f.cache_clear()
    go.set()
    for thread in threads:
        thread.join()
    assert 0 <= f.cache_info().misses <= 2


@isolated()
def test_deep_recursion_is_linear() -> None:
    sys.setrecursionlimit(100_000)

    @cached(maxsize=None)
    def f(n: int) -> int:
        return f(n - 1) + 1 if n else 0

    def spent(depth: int) -> float:
        times = []
        for _ in range(5):
            f.cache_clear()
            start = time.thread_time()
            assert f(depth) == depth
            times.append(time.thread_time() - start)
        return min(times)

    threading.stack_size(512 * 1024 * 1024)
    times: list[float] = []
    thread = threading.Thread(target=lambda: times.extend(map(spent, (2_000, 8_000))))
    thread.start()
    thread.join()
    # Four times the depth: quadratic would be sixteen times.
    assert times[1] < 12 * times[0], times
