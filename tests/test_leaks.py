"""leaksafe.leaks: who holds an object, what outlives a block, and whether calls leave something."""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import functools
import gc
import io
import json
import math
import re
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable
from typing import Any, ClassVar

import pytest

from harness import wait
from isolated import FREE_THREADED, isolated, run_source
from leaksafe import LRUCache, _core, leaks

pytestmark = pytest.mark.thread_unsafe(reason="looks at every object of the process")


class Thing:
    pass


class Service:
    cache: ClassVar[dict[str, Any]] = {}

    def __init__(self) -> None:
        self.handlers: list[Any] = []


class Slotted:
    __slots__ = ("held",)

    held: Any


class Hostile:
    """Objects none of whose own code may run when they are looked at."""

    def __init__(self) -> None:
        object.__setattr__(self, "held", Thing())

    def _boom(self, *_: object) -> Any:
        raise AssertionError("code of the object ran")

    __getattribute__ = __getattr__ = __eq__ = __len__ = __bool__ = __repr__ = _boom
    __iter__ = __getitem__ = __str__ = __sizeof__ = __dir__ = __contains__ = _boom
    __hash__ = object.__hash__
    __class__ = property(_boom)


SERVICE = Service()
HOLDER: Any = None
HOSTILE: list[Any] = []
GROWING: list[Any] = []


def chains(thing: object) -> list[str]:
    """Who holds a thing, beside the variables of the test."""
    lines = [line.strip() for line in leaks.why_alive(thing, chains=10).splitlines()[1:]]
    return [line for line in lines if not line.startswith(("local thing", "only local"))]


def closure_over(thing: object) -> Callable[[], object]:
    return lambda: thing


def with_default(thing: object = Thing(), *, other: object = Thing()) -> tuple[object, object]:
    return thing, other


@functools.lru_cache(maxsize=8)
def cached(thing: object) -> int:
    return 1


def test_a_chain_is_told_from_the_nearest_holder_to_the_global() -> None:
    thing = Thing()
    SERVICE.handlers[:] = [None, thing]
    try:
        assert chains(thing) == ["Service.handlers[1] ← test_leaks.py global SERVICE"]
    finally:
        SERVICE.handlers.clear()


def test_holders_by_their_kind() -> None:
    global HOLDER
    thing = Thing()
    for make, wanted in holders_of(thing):
        HOLDER = make()
        found = chains(thing)
        assert any(wanted in line for line in found), (wanted, found)
    HOLDER = None
    Service.cache["thing"] = thing
    assert any(one.startswith("class attribute Service.cache['thing'] ← ") for one in chains(thing))
    Service.cache.clear()


def slotted_with(thing: object) -> Slotted:
    slotted = Slotted()
    slotted.held = thing
    return slotted


def cache_with(thing: object) -> LRUCache[int, Any]:
    cache: LRUCache[int, Any] = LRUCache(4)
    cache[1] = thing
    return cache


def holders_of(thing: object) -> list[tuple[Callable[[], Any], str]]:
    return [
        (lambda: thing, "test_leaks.py global HOLDER"),
        (lambda: [[thing]], "test_leaks.py global HOLDER[0][0]"),
        (lambda: {"key": thing}, "test_leaks.py global HOLDER['key']"),
        (lambda: {(1, 2): thing}, "test_leaks.py global HOLDER[<tuple>]"),
        (lambda: {thing: 1}, "test_leaks.py global HOLDER key <Thing>"),
        (
            lambda: closure_over(thing),
            "closure variable thing of closure_over.<locals>.<lambda>() ← ",
        ),
        (lambda: slotted_with(thing), "Slotted.held ← test_leaks.py global HOLDER"),
        (lambda: cache_with(thing), "a leaksafe.LRUCache ← test_leaks.py global HOLDER"),
    ]


def test_defaults_and_caches() -> None:
    positional, keyword = with_default()
    assert "default argument thing of with_default() ← test_leaks.py global with_default" in chains(
        positional
    )
    assert "default argument other of with_default() ← test_leaks.py global with_default" in chains(
        keyword
    )
    thing = Thing()
    cached(thing)
    assert any("functools.lru_cache" in line and "cached()" in line for line in chains(thing))
    cached.cache_clear()


def test_variables_of_running_functions_in_any_thread() -> None:
    handed: list[Thing] = []
    ready, done = threading.Event(), threading.Event()

    def work() -> None:
        kept = Thing()
        handed.append(kept)
        ready.set()
        wait(done)

    thread = threading.Thread(target=work, name="worker")
    thread.start()
    try:
        wait(ready)
        told = leaks.why_alive(handed.pop())
        if FREE_THREADED:
            assert "C holder: unknown" in told
        else:
            assert re.search(r"local kept of test_.* in thread 'worker'", told)
    finally:
        done.set()
        thread.join()


def test_the_callers_variable_counts_only_where_nothing_else_does() -> None:
    thing = Thing()
    assert "only local thing of test_the_callers" in leaks.why_alive(thing)


def test_thread_locals_and_atexit() -> None:
    local = threading.local()
    thing = local.thing = Thing()
    assert any(line.startswith("thread-local['thing']") for line in chains(thing))
    del local, thing

    thing = Thing()
    callback = closure_over(thing)
    atexit.register(callback)
    try:
        assert any(
            line.endswith("atexit callback closure_over.<locals>.<lambda>()")
            for line in chains(thing)
        )
    finally:
        atexit.unregister(callback)


def test_a_running_task() -> None:
    async def work(found: list[str]) -> None:
        thing = Thing()
        handed.append(weakref.ref(thing))
        await asyncio.sleep(0)
        del thing

    handed: list[weakref.ref[Thing]] = []

    async def main() -> str:
        task = asyncio.ensure_future(work([]))
        await asyncio.sleep(0)
        try:
            return leaks.why_alive(handed[0]())
        finally:
            await task

    assert "variable thing of coroutine test_a_running_task.<locals>.work()" in asyncio.run(main())


@isolated()
def test_a_free_list_that_an_extension_shows_is_left_alone() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = loop.create_future()
        loop.call_soon(future.set_result, None)
        await future

    for _ in range(3):
        # An iterator of `_asyncio` goes into its free list, which 3.12 shows to the collector.
        asyncio.run(main())
        thing = Thing()
        assert "local thing" in leaks.why_alive(thing)
        with leaks.check():
            pass


def test_references_that_only_c_has_are_counted() -> None:
    thing = Thing()
    for _ in range(3):
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))
    try:
        assert leaks.why_alive(thing).splitlines()[1].strip() == "C holder: unknown, 3 references"
    finally:
        for _ in range(3):
            ctypes.pythonapi.Py_DecRef(ctypes.py_object(thing))


def test_the_dict_of_an_instance_is_held_by_the_instance() -> None:
    def keep() -> None:
        thing = Thing()
        thing.names = ["a"]  # type: ignore[attr-defined]
        vars(thing)
        GROWING.append(thing)

    try:
        with leaks.check() as found:
            keep()
        groups = found.report().groups
        assert groups and all("global GROWING" in group.path for group in groups), groups
        assert "C holder" not in leaks.why_alive(vars(GROWING[0]))
    finally:
        GROWING.clear()


def test_what_a_thing_holds_itself_does_not_keep_it_alive() -> None:
    thing = Thing()
    thing.itself = thing  # type: ignore[attr-defined]
    assert "only local thing" in leaks.why_alive(thing)


def test_no_code_of_an_object_runs() -> None:
    HOSTILE.append(Hostile())
    thing = object.__getattribute__(HOSTILE[0], "held")
    try:
        with leaks.check() as found:
            HOSTILE.append(Hostile())
        assert chains(thing) == ["Hostile.held ← test_leaks.py global HOSTILE[0]"]
        assert found.report().groups[0].types == {f"{__name__}.Hostile": 1}
        assert Hostile.__name__ in leaks.why_alive(HOSTILE[1])
    finally:
        HOSTILE.clear()


def test_any_object_can_be_asked_about() -> None:
    for thing in (None, 1, "text", Thing, sys, print, (), object()):
        assert leaks.why_alive(thing).splitlines()[0].endswith("is alive:")


def test_bad_arguments() -> None:
    with pytest.raises(ValueError, match="chains must be at least 1, not 0"):
        leaks.why_alive(None, chains=0)
    with pytest.raises(ValueError, match="max_calls must be at least 24, not 23"):
        leaks.repeat(print, max_calls=23)
    with pytest.raises(RuntimeError, match="when the `with` block is left"):
        leaks.check().report()


def test_expect_gone() -> None:
    thing = Thing()
    leaks.expect_gone(thing)
    SERVICE.handlers.append(thing)
    try:
        with pytest.raises(
            leaks.LeakError, match=r"Service\.handlers\[0\] ← test_leaks.py global SERVICE"
        ):
            leaks.expect_gone(thing)
    finally:
        SERVICE.handlers.clear()
    reference = weakref.ref(thing)
    with pytest.raises(leaks.LeakError, match="only local thing"):
        leaks.expect_gone(reference)
    thing.itself = thing  # type: ignore[attr-defined]
    del thing
    leaks.expect_gone(reference)


def test_a_check_of_nothing_finds_nothing_not_even_itself() -> None:
    for _ in range(3):
        with leaks.check() as found:
            pass
        report = found.report()
        assert not found.leaked, report
        assert report == "nothing outlives the block"
        assert report.late == [] and report.imported == []


def test_a_check_groups_what_outlives_it_by_path() -> None:
    def work() -> None:
        for number in range(40):
            SERVICE.handlers.append([Thing(), Thing()])
            Service.cache[f"add_{number}"] = number + 1000

    with leaks.check() as found:
        work()
    try:
        cache, handlers = sorted(found.report().groups, key=lambda group: group.count)
        assert handlers.path == "Service.handlers[…] ← test_leaks.py global SERVICE"
        assert handlers.count == 120
        assert handlers.types == {"list": 40}
        assert handlers.bytes >= 40 * sys.getsizeof([1, 2])
        assert cache.path == "class attribute Service.cache ← test_leaks.py global Service"
        assert cache.count == 40
        assert cache.bytes >= 40 * sys.getsizeof(1000)
        assert "LRUCache" in cache.advice
    finally:
        SERVICE.handlers.clear()
        Service.cache.clear()


def test_garbage_that_waits_is_told_apart() -> None:
    def work() -> None:
        for _ in range(200):
            thing = Thing()
            thing.itself = thing  # type: ignore[attr-defined]

    gc.collect()
    gc.disable()
    try:
        with leaks.check() as found:
            work()
    finally:
        gc.enable()
    report = found.report()
    assert not found.leaked, report
    assert [(one.type, one.count, one.attribute) for one in report.late] == [
        (f"{__name__}.Thing", 200, "Thing.itself")
    ]
    assert "weakattr frees them at once" in report


def test_the_line_is_told_where_tracemalloc_runs() -> None:
    tracemalloc.start()
    try:
        with leaks.check() as found:
            SERVICE.handlers.append([1])
    finally:
        tracemalloc.stop()
        SERVICE.handlers.clear()
    (group,) = found.report().groups
    assert group.line is not None and "test_leaks.py:" in group.line


def test_a_report_as_json_and_in_a_terminal() -> None:
    with leaks.check() as found:
        SERVICE.handlers.append(Thing())
    SERVICE.handlers.clear()
    fields = json.loads(found.report().to_json())
    assert fields["groups"][0]["path"] == "Service.handlers[…] ← test_leaks.py global SERVICE"
    assert fields["groups"][0]["count"] == 1
    console = pytest.importorskip("rich.console")
    screen = console.Console(width=200, record=True, file=io.StringIO())
    screen.print(found.report())
    assert "Service.handlers" in screen.export_text()


def test_a_module_that_is_imported_is_no_leak(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "only_for_this_test.py").write_text(
        "class A: pass\nTABLE = {n: [n] for n in range(9)}\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with leaks.check() as found:
        import only_for_this_test  # type: ignore[import-not-found]  # noqa: F401
    del sys.modules["only_for_this_test"]
    assert found.report().imported == ["only_for_this_test.py"]
    assert not [one for one in found.report().groups if "only_for" in str(one)], found.report()


def test_repeat_proves_a_leak_with_its_rate_and_path() -> None:
    def work() -> None:
        SERVICE.handlers.append(Thing())
        SERVICE.handlers.append(Thing())

    try:
        verdict = leaks.repeat(work)
    finally:
        SERVICE.handlers.clear()
    assert verdict.leaks
    assert verdict.error < 0.001
    (growth,) = verdict.growth
    assert (growth.what, growth.per_call) == (f"{__name__}.Thing", 2)
    assert verdict.report.groups[0].growth == 2


def test_repeat_excludes_one() -> None:
    @functools.lru_cache(maxsize=100)
    def fills(thing: object) -> None:
        pass

    def cycles() -> None:
        thing = Thing()
        thing.itself = thing  # type: ignore[attr-defined]

    for function in (lambda: [Thing() for _ in range(10)], cycles, lambda: fills(Thing())):
        verdict = leaks.repeat(function)
        assert not verdict.leaks, verdict
        # the share of calls that could leak unseen
        assert math.exp(-verdict.calls / verdict.rate) <= verdict.error * 1.01


def test_repeat_with_few_calls() -> None:
    kept: list[Thing] = []
    verdict = leaks.repeat(lambda: kept.append(Thing()), max_calls=60)
    assert verdict.leaks
    # and those that the report is made by
    assert verdict.calls <= 60 + 10


@isolated(malloc="default", limit=60)
def test_repeat_finds_what_only_c_holds() -> None:
    def lose() -> None:
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(f"a string {id(object())}" + "x"))

    verdict = leaks.repeat(lose)
    assert verdict.leaks, verdict
    assert "not visible to the collector" in str(verdict)


@isolated(malloc="default", limit=60)
def test_repeat_finds_native_memory_and_descriptors() -> None:
    import os

    malloc = ctypes.CDLL(None).malloc
    verdict = leaks.repeat(lambda: malloc(4096))
    assert verdict.leaks, verdict
    assert any("native" in one.what for one in verdict.growth), verdict
    verdict = leaks.repeat(lambda: os.dup(1))
    assert any(one.what == "file descriptors" for one in verdict.growth), verdict


@isolated(malloc="default")
def test_importing_leaksafe_imports_none_of_it() -> None:
    result = run_source(
        "import sys, leaksafe; print([n for n in sys.modules if n.startswith('leaksafe.leaks')])"
    )
    assert result.stdout.strip() == "[]", result


@isolated(limit=60)
def test_the_walk_beside_threads_that_change_what_it_walks() -> None:
    """Nothing is freed under it, with the GIL or without."""
    stop = threading.Event()
    shared: dict[int, Any] = {}

    def churn(start: int) -> None:
        number = start
        while not stop.is_set():
            thing = Thing()
            thing.others = [dict(shared), {number}, (number,)]  # type: ignore[attr-defined]
            shared[number % 50] = thing.others[1:]  # type: ignore[attr-defined]
            number += 1

    threads = [threading.Thread(target=churn, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    try:
        for _ in range(10):
            snapshot = _core._HeapSnapshot()
            snapshot.compare()
            leaks.why_alive(shared)
            _core._count_types()
    finally:
        stop.set()
        for thread in threads:
            thread.join()


@isolated()
def test_a_function_and_a_class_are_held_by_nobody_unseen() -> None:
    """Without the GIL, their counts are not what they say."""

    def make() -> Callable[[], None]:
        def function() -> None:
            pass

        return function

    class Local:
        pass

    function = make()
    assert "C holder" not in leaks.why_alive(function)
    assert "C holder" not in leaks.why_alive(Local)


def test_the_walk_leaves_counts_as_they_were() -> None:
    thing = Thing()
    holder = [thing, {"a": thing}]
    for _ in range(3):
        leaks.why_alive(thing)
        with leaks.check():
            pass
    before = sys.getrefcount(thing)
    for _ in range(3):
        leaks.why_alive(thing)
        with leaks.check():
            pass
    assert sys.getrefcount(thing) == before
    assert not leaks.repeat(lambda: leaks.why_alive(holder), max_calls=24).leaks


def test_a_watch_tells_of_a_container_that_grows() -> None:
    reports: list[leaks.GrowthReport] = []
    told = threading.Event()

    def on_growth(report: leaks.GrowthReport) -> None:
        if any("global GROWING" in one.path for one in report.containers):
            reports.append(report)
            told.set()

    def grow() -> None:
        while not told.wait(0.001):
            GROWING.append(len(GROWING) + 1000)

    try:
        with leaks.watch(every=0.05, on_growth=on_growth) as watching:
            thread = threading.Thread(target=grow)
            thread.start()
            wait(told)
            thread.join()
        assert watching.closed
        assert not [one for one in threading.enumerate() if one.name == "leaks.watch"]
        (container,) = [one for one in reports[0].containers if "GROWING" in one.path]
        assert container.path == "test_leaks.py global GROWING"
        assert (container.type, container.before < container.now) == ("list", True)
        assert "global GROWING: a list that held " in str(reports[0])
        assert container.advice.startswith("a list that only grows: ")
        assert container.advice in str(reports[0])
        assert json.loads(reports[0].to_json())["containers"][0]["now"] == container.now
    finally:
        told.set()
        GROWING.clear()


def test_a_watch_that_is_dropped_ends() -> None:
    watching = leaks.watch(every=0.01)
    thread = watching._thread
    del watching
    gc.collect()
    thread.join(30)
    assert not thread.is_alive()


@pytest.mark.parametrize("every", [0, -1, math.nan, math.inf])
def test_a_watch_refuses_senseless_times(every: float) -> None:
    with pytest.raises(ValueError, match="every must be over 0 and at most"):
        leaks.watch(every=every)


@pytest.mark.parametrize("every", [True, "60", None])
def test_a_watch_refuses_what_is_no_time(every: Any) -> None:
    with pytest.raises(TypeError, match="every must be a number of seconds"):
        leaks.watch(every=every)
