"""cached: results that grow old, are computed anew behind their callers, or outlive a failure."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from harness import PATIENCE, Boom, in_threads, wait
from isolated import isolated, run_source
from leaksafe import _refresh, cached


def eventually(what: Callable[[], object]) -> None:
    """Wait until something holds."""
    end = time.monotonic() + PATIENCE
    while not what():
        assert time.monotonic() < end, "what was waited for never came"
        time.sleep(0.002)


def test_results_expire() -> None:
    calls = []

    @cached(ttl=0.05)
    def f(x: int) -> int:
        calls.append(x)
        return x

    f(1)
    eventually(lambda: (f(1), len(calls) >= 2)[1])


def test_an_old_result_is_answered_at_once_and_computed_anew_behind() -> None:
    go = threading.Event()
    threads: list[str] = []

    @cached(refresh_after=0.02)
    def f(x: int) -> int:
        threads.append(threading.current_thread().name)
        if len(threads) > 1:
            wait(go)
        return len(threads)

    assert f(1) == 1
    time.sleep(0.03)
    # While the new one is computed, all are answered the old one, and nobody begins another.
    assert [f(1) for _ in range(20)] == [1] * 20
    eventually(lambda: len(threads) == 2)
    assert f(1) == 1
    go.set()
    eventually(lambda: f(1) == 2)
    assert threads[1].startswith("leaksafe-refresh")


def test_a_failure_behind_is_logged_and_the_old_result_stays(
    caplog: pytest.LogCaptureFixture,
) -> None:
    calls = []

    @cached(refresh_after=0.01)
    def f() -> int:
        calls.append(1)
        if len(calls) > 1:
            raise Boom("behind")
        return 1

    f()
    time.sleep(0.02)
    with caplog.at_level(logging.WARNING, "leaksafe.refresh"):
        assert f() == 1
        eventually(lambda: "behind" in caplog.text)
    assert f() == 1


def test_who_clears_meanwhile_does_not_get_it_back() -> None:
    go, begun = threading.Event(), threading.Event()
    calls = []

    @cached(refresh_after=0.01)
    def f() -> int:
        calls.append(1)
        if len(calls) == 2:
            begun.set()
            wait(go)
        return len(calls)

    f()
    time.sleep(0.02)
    f()
    wait(begun)
    f.cache_clear()
    go.set()
    eventually(lambda: not _refresh._pool._under_way)
    assert not f.cache_contains()


def test_the_context_of_the_caller_is_there() -> None:
    import contextvars

    user = contextvars.ContextVar("user", default="nobody")

    @cached(refresh_after=0.01)
    def f() -> str:
        return user.get()

    assert f() == "nobody"
    user.set("somebody")
    time.sleep(0.02)
    f()
    eventually(lambda: f.cache_peek() == "somebody")


def test_a_stale_result_is_answered_where_its_computation_fails(
    caplog: pytest.LogCaptureFixture,
) -> None:
    fails = False
    calls = []

    @cached(ttl=0.03, stale_if_error=60)
    def f(x: int) -> list[int]:
        calls.append(x)
        if fails:
            raise Boom
        return [x]

    first = f(1)
    fails = True
    with caplog.at_level(logging.WARNING, "leaksafe.refresh"):
        eventually(lambda: (f(1) is first, len(calls) >= 2)[1])
    assert f(1) is first
    assert "failed" in caplog.text
    with pytest.raises(Boom):
        f(2)
    fails = False
    assert f(1) is not first


def test_what_is_stale_is_no_result_to_look_at() -> None:
    @cached(ttl=0.02, stale_if_error=60)
    def f(x: int) -> int:
        return x

    f(1)
    eventually(lambda: not f.cache_contains(1))
    assert f.cache_peek(1) is None


def test_a_stale_result_goes_in_the_end() -> None:
    fails = False

    @cached(ttl=0.02, stale_if_error=0.05)
    def f() -> int:
        if fails:
            raise Boom
        return 1

    f()
    fails = True

    def gone() -> bool:
        try:
            f()
        except Boom:
            return True
        return False

    eventually(gone)
    eventually(lambda: f.cache_info().currsize == 0)


def test_what_is_no_exception_is_raised_though_there_is_a_stale_result() -> None:
    fails = False

    @cached(ttl=0.02, stale_if_error=60)
    def f() -> int:
        if fails:
            raise KeyboardInterrupt
        return 1

    f()
    fails = True
    time.sleep(0.03)
    with pytest.raises(KeyboardInterrupt):
        f()


def test_methods_grow_old_too() -> None:
    class Owner:
        calls = 0

        @cached(ttl=60, refresh_after=0.02)
        def me(self, x: int) -> Any:
            self.calls += 1
            return [self, x, self.calls]

    owner = Owner()
    assert owner.me(1) is owner.me(1)
    time.sleep(0.03)
    owner.me(1)
    eventually(lambda: owner.me(1)[2] >= 2)


def test_what_is_computed_behind_is_bounded_and_joined_at_exit() -> None:
    done = run_source(
        "import atexit, threading, time\n"
        "from leaksafe import cached\n"
        "ran = []\n"
        "atexit.register(lambda: print(len(ran)))\n"
        "@cached(refresh_after=0.01, maxsize=None)\n"
        "def f(x):\n"
        "    ran.append(x)\n"
        "    time.sleep(0.001)\n"
        "for x in range(50): f(x)\n"
        "time.sleep(0.02)\n"
        "for x in range(50): f(x)\n"
        "names = [t.name for t in threading.enumerate() if 'leaksafe-refresh' in t.name]\n"
        "assert 1 <= len(names) <= 4, names\n"
    )
    assert (done.code, done.stdout) == (0, "100\n"), done.report("exit")


@isolated()
def test_a_forked_child_computes_behind_with_threads_of_its_own() -> None:
    import os

    calls: list[int] = []

    @cached(refresh_after=0.01)
    def f() -> int:
        calls.append(1)
        return len(calls)

    f()
    time.sleep(0.02)
    f()
    while len(calls) < 2:
        time.sleep(0.001)
    time.sleep(0.05)
    child = os.fork()
    if child == 0:
        f()
        end = time.monotonic() + 10
        while len(calls) < 3 and time.monotonic() < end:
            time.sleep(0.001)
        os._exit(0 if len(calls) >= 3 else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_several_threads_start_one_recomputation() -> None:
    go = threading.Event()
    calls = []

    @cached(refresh_after=0.02)
    def f() -> int:
        calls.append(1)
        if len(calls) > 1:
            wait(go)
        return len(calls)

    f()
    time.sleep(0.03)
    in_threads(*[f] * 8)
    eventually(lambda: len(calls) == 2)
    go.set()
    assert len(calls) == 2
