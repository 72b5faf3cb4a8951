"""Cached methods whose instances die at every moment."""

from __future__ import annotations

import gc
import threading
import weakref
from collections.abc import Callable
from typing import Any

from actors import Value, nothing_left
from decorated import Holder
from test_threads import crowd

from isolated import full_collection, isolated
from leaksafe import lru_cache


@isolated()
def test_an_instance_dies_during_its_own_call() -> None:
    box: list[Any] = []

    class Class(Value):
        @lru_cache
        def method(self, x: int) -> Any:
            box.clear()
            gc.collect()
            return [Value()] if x else 5

    gc.disable()
    for x in (0, 1):
        box.append(Class())
        bound = box[0].method
        box[0].method(x)
        assert Value.living() == 1 + x
        # a hit, by what holds it now
        bound(x)
        del bound
        assert Value.living() == 0 and Class.method.cache_info().currsize == 0
        box.append(Class())
        box[0].method(x)
        assert Value.living() == 0
        Class.method(Class(), x)
        assert Value.living() == 0 and Class.method.cache_info().currsize == 0
    assert Class.method.cache_info() == (2, 6, 128, 0)


@isolated()
def test_an_instance_dies_while_it_is_compared() -> None:
    alive: list[Any] = []

    class Class(Value):
        act: Any = None

        @lru_cache
        def method(self) -> Any:
            return [Value()]

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            if Class.act is not None:
                act, Class.act = Class.act, None
                act()
            return True

    def kill() -> None:
        alive.clear()

    def kill_and_collect() -> None:
        alive.clear()
        gc.collect()

    def kill_and_call() -> None:
        alive.clear()
        alive.append(Class())
        alive[0].method()

    for act in (kill, kill_and_collect, kill_and_call):
        for use in (
            lambda one: one.method(),
            lambda one: one.method.cache_discard(),
            lambda one: one.method.cache_contains(),
        ):
            alive[:] = [Class()]
            alive[0].method()
            Class.act = act
            one = Class()
            use(one)  # type: ignore[no-untyped-call]
            assert Class.act is None, "the comparison never ran"
            assert type(one.method()[0]) is Value and one.method() is one.method()
            del one
            alive.clear()
            assert Value.living() == 0 and Class.method.cache_info().currsize == 0
    nothing_left()


@isolated()
def test_instances_die_in_cycles() -> None:
    class Class(Value):
        def __init__(self) -> None:
            super().__init__()
            self.me = self

        @lru_cache(maxsize=None)
        def method(self, x: int) -> Any:
            return [self, x] if x % 2 else [x]

    for _ in range(3):
        for _ in range(100):
            one, other = Class(), Class()
            one.me, other.me = other, one
            for x in range(4):
                one.method(x), other.method(x)
        del one, other
        nothing_left()
        assert Class.method.cache_info().currsize == 0


@isolated()
def test_an_instance_resurrected_by_its_finalizer() -> None:
    """By reference counts, or by the collector, which clears weak references before."""
    kept: list[Any] = []

    class Class:
        def __init__(self, *, cycle: bool) -> None:
            self.value = Value()
            self.me = self if cycle else None

        @lru_cache
        def method(self, x: int) -> Any:
            return [Value(), self.me]

        def __del__(self) -> None:
            kept.append(self)

    for cycle in (False, True):
        instance = Class(cycle=cycle)
        first = weakref.ref(instance.method(1)[0])
        del instance
        gc.collect()
        (instance,) = kept
        kept.clear()
        # what the cache says now is right, whichever way it went
        assert instance.method(1) is instance.method(1) and type(instance.method(1)[0]) is Value
        assert instance.method(2) is instance.method(2)
        assert Class.method.cache_info().currsize == 2
        # and the second time, it goes for good: a finalizer runs once
        reference = weakref.ref(instance)
        del instance
        full_collection()
        assert reference() is None and first() is None and not kept
        assert Class.method.cache_info().currsize == 0
        nothing_left()


@isolated()
def test_a_finalizer_that_calls_its_own_cached_method() -> None:
    class Class(Value):
        def __init__(self, number: int, *, cycle: bool) -> None:
            super().__init__()
            self.number = number
            self.me = self if cycle else None

        @lru_cache(maxsize=8)
        def method(self, x: int) -> list[int]:
            return [self.number, x]

        def __del__(self) -> None:
            assert self.method(1) == [self.number, 1] == self.method(1)
            assert self.method(2) == [self.number, 2] == self.method(2)
            super().__del__()

    for cycle in (False, True):
        for number in range(200):
            instance = Class(number, cycle=cycle)
            if number % 2:
                assert instance.method(1) == [number, 1]
            if number % 20 == 0:
                gc.collect()
        del instance
        nothing_left()
        # what was called of the dying may be there still, within the bound, and is no one else's
        assert Class.method.cache_info().currsize <= 8
        others = [Class(number, cycle=False) for number in range(1_000, 1_200)]
        for other in others:
            assert other.method(1) == [other.number, 1]
        assert Class.method.cache_info().currsize == 8
        del other, others
        assert Class.method.cache_info().currsize == 0


@isolated()
def test_weak_references_of_the_instance_strike_back() -> None:
    """Callbacks run while its entries are on their way, some before and some after ours."""

    class Class(Value):
        @lru_cache
        def method(self, x: int) -> Any:
            return [Value(), x]

    other = Class()
    actions: list[Callable[[], object]] = [
        lambda: Class.method.cache_clear(),
        lambda: other.method(1),
        lambda: [other.method(x) for x in range(200)],
        lambda: other.method.cache_discard(1),
        lambda: Class().method(1),
        lambda: Class.method.cache_info(),
        gc.collect,
    ]
    for action in actions:
        for after in (False, True):
            ran: list[int] = []

            def callback(_: object, action: Any = action, ran: Any = ran) -> None:
                ran.append(1)
                action()

            instance = Class()
            references = []
            if not after:
                references.append(weakref.ref(instance, callback))
            instance.method(1), instance.method(2), other.method(7)
            if after:
                references.append(weakref.ref(instance, callback))
            weakref.finalize(instance, callback, None)
            del instance
            assert len(ran) == 2
            assert other.method(7) is other.method(7)
            other.method.cache_clear()
            assert Value.living() == 1
    del other, actions, action, callback, references
    nothing_left()


@isolated()
def test_results_that_call_the_method_as_they_die() -> None:
    """When an instance goes, so do its results, whose finalizers make calls of others."""

    class Class(Value):
        @lru_cache(maxsize=16)
        def method(self, x: int) -> Any:
            return Calling() if x < 5 else [x]

    other = Class()

    class Calling(Value):
        def __del__(self) -> None:
            super().__del__()
            assert other.method(7) == [7] and other.method.cache_contains(7)
            other.method.cache_discard(7)
            Class().method(6)

    for _ in range(20):
        instance = Class()
        for x in range(10):
            instance.method(x)
        del instance
        assert Value.living() == 1
    assert Class.method.cache_info().currsize <= 1
    Class.method.cache_clear()
    del other
    # Calling refers to it no longer: the names here are all there was
    del Calling
    gc.collect()


@isolated()
def test_instances_die_in_another_thread() -> None:
    class Class(Value):
        def __init__(self, number: int) -> None:
            super().__init__()
            self.number = number

        @lru_cache(maxsize=64)
        def method(self, x: int) -> Any:
            return [self.number, x]

        @lru_cache(maxsize=64)
        def slow(self, x: int) -> Any:
            return Holder(x)

    handed: list[Any] = []

    def make() -> None:
        for number in range(20):
            one = Class(number)
            assert one.method(1) == [number, 1] and one.slow(number).held == number
            handed.append(one)

    def drop() -> None:
        for _ in range(20):
            try:
                one = handed.pop()
            except IndexError:
                return
            assert one.method(1) == [one.number, 1] and one.slow(2).held == 2

    def look() -> None:
        assert Class.method.cache_info().currsize <= 64
        for one in handed[:5]:
            assert one.method(2) == [one.number, 2]
            one.method.cache_discard(1)

    def collect() -> None:
        gc.collect(0)

    crowd(make, drop, look, collect, seconds=2)
    handed.clear()
    nothing_left()
    assert Class.method.cache_info().currsize == Class.slow.cache_info().currsize == 0


@isolated()
def test_one_instance_is_dropped_by_four_threads_at_once() -> None:
    class Class(Value):
        @lru_cache
        def method(self, x: int) -> Any:
            return [x]

    boxes: list[list[Any]] = [[] for _ in range(4)]
    start, end = threading.Barrier(5), threading.Barrier(5)
    rounds = 300

    def drop(box: list[Any]) -> None:
        for _ in range(rounds):
            start.wait()
            assert box.pop().method(1) == [1]
            end.wait()

    threads = [threading.Thread(target=drop, args=(box,), daemon=True) for box in boxes]
    for thread in threads:
        thread.start()
    for _ in range(rounds):
        instance = Class()
        for box in boxes:
            box.append(instance)
        del instance
        start.wait()
        end.wait()
        assert Value.living() == 0 and Class.method.cache_info().currsize == 0
    for thread in threads:
        thread.join()
