"""The interpreter leaves, or isn't the only one, and caches are alive."""

from __future__ import annotations

import atexit
import builtins
import gc
import sys
import threading
import time
import types
from typing import Any

from actors import Cache, Value

from isolated import DONE, each, isolated, run_source
from leaksafe import LRUCache

kept: list[Any] = []


class UsesItsCache:
    """Dies when modules are half gone, and uses the cache that is dying too."""

    def __init__(self, cache: Cache) -> None:
        self.cache = cache

    def __del__(self) -> None:
        cache = self.cache
        cache["late"] = [1]
        cache.get("late")
        cache.pop("late", None)
        list(cache.items())
        len(cache)


def busy(cache: Cache) -> Cache:
    """A cache in a cycle with values whose finalizers use it."""
    for number in range(4):
        cache[number] = UsesItsCache(cache)
    return cache


@each("place", ["module", "builtins", "main", "sys.modules", "class", "itself", "thread-local"])
@isolated()
def test_alive_at_exit(place: str) -> None:
    cache = busy(LRUCache(8, lambda value: 1, on_remove=lambda key, value, cause: str(cause)))
    match place:
        case "module":
            kept.append(cache)
        case "builtins":
            builtins.kept = cache  # type: ignore[attr-defined]
        case "main":
            sys.modules["__main__"].kept = cache  # type: ignore[attr-defined]
        case "sys.modules":
            module = types.ModuleType("kept")
            module.cache = cache  # type: ignore[attr-defined]
            sys.modules["kept"] = module
        case "class":
            UsesItsCache.kept = cache  # type: ignore[attr-defined]
        case "itself":
            cache["me"] = cache
        case "thread-local":
            local = threading.local()
            local.cache = cache
            kept.append(local)


@isolated(stdout="used at exit\n")
def test_used_in_atexit() -> None:
    cache = busy(LRUCache(8, on_remove=lambda *args: None))

    def last() -> None:
        cache["x"] = 1
        assert cache["x"] == 1
        assert cache.get_or_create("y", lambda: 2) == 2
        gc.collect()
        print("used at exit")

    atexit.register(last)


@isolated(stdout="closed\n")
def test_closed_in_atexit() -> None:
    """A context manager left open by a generator that is closed at exit."""
    cache: Cache = LRUCache(8, on_remove=lambda key, value, cause: print("closed"))

    def hold() -> Any:
        with cache:
            cache[1] = 2
            yield

    generator = hold()
    next(generator)
    atexit.register(generator.close)


class Slow:
    """Python code that other threads, and the exit, can interrupt."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        time.sleep(0)
        return 7

    def __eq__(self, other: object) -> bool:
        time.sleep(0)
        return isinstance(other, Slow) and self.number == other.number


WORK = ["plain", "waiting", "walk"]
# Until 3.14, CPython ends a daemon thread that comes back for the GIL at exit by unwinding its
# stack (gh-87135), which no frame of Rust may be part of: the process aborts where our code has
# called Python's. See docs/design.md.
if sys.version_info >= (3, 14):
    WORK += ["eq", "factory", "sleeping factory", "on_remove", "sleeping eq"]


@each("work", WORK)
@isolated()
def test_daemon_threads_inside_at_exit(work: str) -> None:
    """Daemon threads are stopped wherever they are, inside our code too."""
    cache: Cache = LRUCache(8, on_remove=lambda *args: time.sleep(0))
    plain: Cache = LRUCache(64)
    started = threading.Event()

    class Sleeping(Slow):
        def __eq__(self, other: object) -> bool:
            started.set()
            time.sleep(0.02)
            return False

        __hash__ = Slow.__hash__

    def loop(number: int) -> None:
        step = 0
        while True:
            step += 1
            match work:
                case "plain":
                    plain[step % 100] = step
                    plain.get(step % 50)
                case "eq":
                    cache[Slow(step % 10)] = step
                case "factory":
                    cache.get_or_create(step, lambda: time.sleep(0))
                case "sleeping factory":
                    cache.get_or_create(number, lambda: started.set() or time.sleep(0.02))
                    cache.pop(number, None)
                case "waiting":
                    cache.get_or_create("one key", lambda: started.set() or time.sleep(3600))
                case "on_remove":
                    cache[step] = step
                case "walk":
                    try:
                        list(plain.items())
                        plain[step % 10] = 1
                    except RuntimeError:
                        pass
                case "sleeping eq":
                    cache.setdefault(Sleeping(1), 1)
                    cache.get(Sleeping(2))
            if step > 10:
                started.set()

    for number in range(4):
        threading.Thread(target=loop, args=(number,), daemon=True).start()
    started.wait()
    time.sleep(0.1)
    kept.append(busy(LRUCache(8)))


@isolated(stdout="ended\n")
def test_threads_that_outlive_main() -> None:
    """Threads that are no daemons go on after the main module's end, and join at exit."""
    cache: Cache = LRUCache(8)

    def late() -> None:
        threading.main_thread().join()
        for number in range(100):
            cache[number] = Value()
            cache.get_or_create(number, Value)
        cache.clear()
        print("ended")

    threading.Thread(target=late).start()


@isolated(code=3)
def test_exit_from_inside() -> None:
    """SystemExit from a factory leaves the process as any other does."""
    cache = busy(LRUCache(8))

    def leave() -> Any:
        print(DONE, flush=True)
        raise SystemExit(3)

    kept.append(cache)
    cache.get_or_create("x", leave)


SUBINTERPRETER = """
import os, sys
import leaksafe

cache = leaksafe.LRUCache(3)
cache[1] = 2
script = '''
import os
try:
    import leaksafe
    leaksafe.LRUCache(3)[1] = 2
except ImportError:
    os.write(1, b"refused ")
else:
    os.write(1, b"imported ")
'''
try:
    import _interpreters as interpreters
except ImportError:
    import _xxsubinterpreters as interpreters
try:
    kinds = ("legacy", "isolated") if interpreters.__name__ == "_interpreters" else (None,)
    for kind in kinds:
        new = interpreters.create(kind) if kind else interpreters.create()
        for _ in range(2):
            interpreters.run_string(new, script)
        interpreters.destroy(new)
finally:
    os.write(1, b"end ")
assert cache[1] == 2
cache[2] = [cache]
import gc
gc.collect()
"""


def test_subinterpreter_is_refused() -> None:
    """PyO3 modules serve one interpreter: another gets an ImportError, and nothing breaks."""
    result = run_source(SUBINTERPRETER)
    words = result.stdout.split()
    assert result.code == 0 and words[-1:] == ["end"], result.report("subinterpreter")
    assert len(words) >= 3 and set(words[:-1]) == {"refused"}, result.report("subinterpreter")
    assert not result.stderr, result.report("subinterpreter")


def test_imported_again_after_it_was_forgotten() -> None:
    result = run_source(
        "import sys, leaksafe\n"
        "cache = leaksafe.LRUCache(3)\n"
        "cache[1] = [cache]\n"
        "for name in [name for name in sys.modules if name.startswith('leaksafe')]:\n"
        "    del sys.modules[name]\n"
        "try:\n"
        "    import leaksafe\n"
        "except ImportError:\n"
        "    pass\n"
        "else:\n"
        "    again = leaksafe.LRUCache(3)\n"
        "    again[1] = cache\n"
        "assert cache[1][0] is cache\n"
        "print('fine')\n"
    )
    assert (result.code, result.stdout, result.stderr) == (0, "fine\n", ""), result.report("again")
