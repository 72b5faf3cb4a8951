"""While the interpreter is watched: profiled, traced, monitored, without a collector, frozen."""

from __future__ import annotations

import faulthandler
import gc
import sys
import tempfile
import threading
import weakref
from typing import Any

import leaksafe
from isolated import FREE_THREADED, isolated, skip_unless


class Thing:
    def __init__(self) -> None:
        self.link: object = None


@leaksafe.cached(maxsize=3)
def made(number: int) -> Thing:
    return Thing()


def use() -> list[Any]:
    """Use one of most kinds; the structures, some of them in cycles."""
    cache = leaksafe.LRUCache[object, object](3, on_remove=lambda *_: None)
    timed = leaksafe.TTLCache[int, object](3, 100)
    weak = leaksafe.WeakValueDictionary[int, Thing]()
    registry = leaksafe.Registry[int, Thing](2)
    for number in range(10):
        thing = cache.get_or_create(number, Thing)
        assert isinstance(thing, Thing) and cache[number] is thing
        thing.link = cache
        timed[number] = thing
        weak[number] = thing
        assert made(number) is made(number)
        registry.get_or_create(number, Thing)
    assert len(cache) == len(timed) == made.cache_info().currsize == 3
    assert weak[9] is timed[9]
    return [cache, timed, weak, registry]


def gone(structures: list[Any]) -> None:
    watched = [weakref.ref(one) for one in structures]
    structures.clear()
    made.cache_clear()
    for _ in range(2):
        gc.collect()
    assert [one() for one in watched] == [None] * len(watched)
    assert not any(type(one) is Thing for one in gc.get_objects())


@isolated()
def test_a_profiler_sees_calls_and_changes_nothing() -> None:
    seen: list[str] = []

    def profile(frame: object, event: str, argument: object) -> None:
        if event == "c_call":
            seen.append(getattr(argument, "__name__", ""))

    sys.setprofile(profile)
    structures = use()
    sys.setprofile(None)
    assert "get_or_create" in seen
    gone(structures)


@isolated()
def test_a_tracer_that_uses_the_structures_itself() -> None:
    mine = leaksafe.LRUCache[object, int](10)

    def trace(frame: Any, event: str, argument: object) -> Any:
        mine[frame.f_code.co_name, frame.f_lineno] = made.cache_info().currsize
        return trace

    sys.settrace(trace)
    threading.settrace(trace)
    structures = use()
    sys.settrace(None)
    assert 0 < len(mine) <= 10
    gone(structures)


@skip_unless(hasattr(sys, "monitoring"), "sys.monitoring is of Python 3.12")
@isolated()
def test_monitoring() -> None:
    monitoring: Any = sys.monitoring  # type: ignore[attr-defined,unused-ignore]
    names: list[str] = []
    monitoring.use_tool_id(3, "test")
    monitoring.register_callback(
        3,
        monitoring.events.CALL,
        lambda code, at, what, first: names.append(what.__class__.__name__),
    )
    monitoring.set_events(3, monitoring.events.CALL)
    structures = use()
    monitoring.set_events(3, 0)
    monitoring.free_tool_id(3)
    assert names
    gone(structures)


@isolated()
def test_without_the_collector_what_is_in_no_cycle_goes_at_once() -> None:
    gc.disable()
    cache = leaksafe.LRUCache[int, Thing](2)
    cache[1] = thing = Thing()
    watched = weakref.ref(thing)
    del thing
    cache[2] = cache[3] = Thing()
    assert watched() is None
    del cache
    structures = use()
    gc.enable()
    gone(structures)


@isolated()
def test_frozen_and_unfrozen() -> None:
    structures = use()
    gc.freeze()
    gc.collect()
    assert all(len(one) <= 3 for one in structures)
    more = use()
    gone(more) if not FREE_THREADED else more.clear()
    gc.unfreeze()
    gone(structures)


@isolated()
def test_faulthandler_shows_a_thread_within_a_factory() -> None:
    cache = leaksafe.LRUCache[int, str](2)
    inside, over = threading.Event(), threading.Event()

    def slow_factory() -> str:
        inside.set()
        over.wait(10)
        return "made"

    thread = threading.Thread(target=lambda: cache.get_or_create(1, slow_factory))
    thread.start()
    assert inside.wait(10)
    with tempfile.TemporaryFile("w+") as out:
        faulthandler.dump_traceback(out, all_threads=True)
        out.seek(0)
        assert "slow_factory" in out.read()
    over.set()
    thread.join()
    assert cache[1] == "made"
