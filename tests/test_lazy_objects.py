"""`LazyObjects` and `lazy`: objects made when looked at, and none that stays."""

from __future__ import annotations

import bisect
import gc
import multiprocessing
import pickle
import random
import sys
import threading
import weakref
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Boom, in_threads
from isolated import each, full_collection, isolated, outcome
from leaksafe import LazyObjects, LiveBoundError, lazy


class Thing:
    def __init__(self, number: int) -> None:
        self.number = number


class Slotted:
    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        self.number = number


def double(number: int) -> int:
    return 2 * number


@lazy
def create_objs(num: int, *, step: int = 1) -> Iterator[Thing]:
    for number in range(0, num, step):
        yield Thing(number)


SOURCES: list[Any] = [range(20), list(range(20)), tuple(range(20)), range(19, -1, -1), 20]


# As a list's


@each("source", SOURCES)
@each("options", [{}, {"keep": 3}])
def test_it_is_a_sequence_like_a_list(source: Any, options: Any) -> None:
    lazily: LazyObjects[int] = LazyObjects(double, source, **options)
    eagerly = [double(n) for n in (range(20) if source == 20 else source)]
    assert isinstance(lazily, Sequence)
    assert len(lazily) == 20
    assert list(lazily) == eagerly
    assert list(reversed(lazily)) == eagerly[::-1]
    assert 38 in lazily
    assert 39 not in lazily
    assert lazily.index(4) == eagerly.index(4)
    assert lazily.count(4) == 1
    for index in [0, 19, -1, -20, 20, -21, 2**70, -(2**70), True, False, 1.0, None, "a"]:
        assert outcome(lazily.__getitem__, index) == outcome(
            eagerly.__getitem__,
            index,
        )


BOUND = st.none() | st.integers(-25, 25)
SLICES = st.lists(
    st.builds(slice, BOUND, BOUND, st.none() | st.sampled_from([1, 2, 3, -1, -2, -7]))
)


@given(SLICES, st.sampled_from(SOURCES), st.booleans())
def test_slices_of_slices_are_those_of_a_list(slices: Any, source: Any, kept: bool) -> None:
    lazily: LazyObjects[int] = LazyObjects(double, source, keep=2 if kept else None)
    eagerly = list(lazily)
    for part in slices:
        lazily, eagerly = lazily[part], eagerly[part]
        assert len(lazily) == len(eagerly)
        assert list(lazily) == eagerly
        assert list(reversed(lazily)) == eagerly[::-1]
        assert [lazily[index] for index in range(-len(eagerly), len(eagerly))] == eagerly * 2
        assert outcome(lazily.__getitem__, len(eagerly)) is IndexError


@given(st.integers(1, 30), st.sampled_from(SOURCES))
def test_batches_are_slices(n: int, source: Any) -> None:
    lazily: LazyObjects[int] = LazyObjects(double, source)
    eagerly = list(lazily)
    batches = lazily.batched(n)
    assert [list(batch) for batch in batches] == [eagerly[at : at + n] for at in range(0, 20, n)]
    assert len(batches) == -(-20 // n)


def test_map_is_lazy() -> None:
    calls = []

    def noted(number: int) -> int:
        calls.append(number)
        return -number

    mapped = LazyObjects(double, 10).map(noted)
    assert len(mapped[2:4].map(str)) == 2
    assert calls == []
    assert list(mapped[2:4].map(str)) == ["-4", "-6"]
    assert calls == [4, 6]


def test_what_uses_sequences_can_use_it() -> None:
    lazily = LazyObjects(double, 1_000_000)
    assert bisect.bisect(lazily, 500_001) == 250_001
    assert all(one % 2 == 0 for one in random.Random(1).sample(lazily, 10))
    assert random.Random(1).choice(lazily) % 2 == 0


@pytest.mark.thread_unsafe(reason="starts processes")
def test_a_pool_of_processes_can_use_it() -> None:
    lazily = LazyObjects(str, 100)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert list(pool.imap(int, lazily[10:40], chunksize=7)) == list(range(10, 40))
        # What is sent is the sequence, and the objects are made over there.
        assert pool.map(lazily.map(len).__getitem__, [5, 50]) == [1, 2]


def test_it_is_a_map_style_dataset() -> None:
    """What a loader of batches asks of one: its length, and objects by index in any order."""
    dataset = LazyObjects(double, range(1_000))
    order = random.Random(1).sample(range(len(dataset)), len(dataset))
    batches = [[dataset[at] for at in order[start : start + 32]] for start in range(0, 1_000, 32)]
    assert sorted(one for batch in batches for one in batch) == list(range(0, 2_000, 2))


def test_nothing_is_made_before_it_is_looked_at() -> None:
    made: list[int] = []
    lazily = LazyObjects(made.append, 1_000)
    lazily[2:], lazily.batched(5)[3], reversed(lazily), iter(lazily), len(lazily), repr(lazily)
    assert made == []
    lazily[3]
    assert made == [3]


def test_looking_twice_makes_two() -> None:
    lazily = LazyObjects(Thing, 10)
    assert lazily[3] is not lazily[3]
    gone = weakref.ref(lazily[3])
    assert gone() is None


@each("options", [{}, {"keep": 3}, {"identity": True}, {"max_live": 9}])
@each("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_pickling(options: Any, protocol: int) -> None:
    lazily: LazyObjects[Thing] = LazyObjects(Thing, list(range(20)), **options)
    parts = [lazily, lazily[3:], lazily.batched(4)[2], lazily.map(vars)]
    for part in parts:
        copy = pickle.loads(pickle.dumps(part, protocol))
        assert len(copy) == len(part)
    assert [one.number for one in pickle.loads(pickle.dumps(lazily[::-3], protocol))] == [
        *range(19, -1, -3)
    ]


@each("limit", [10, 0])
def test_a_source_that_shrinks_while_it_is_walked(limit: int) -> None:
    source = list(range(100))
    walked = 0
    for _ in LazyObjects(double, source):
        walked += 1
        del source[limit:]
    assert walked in (1, limit)
    part = LazyObjects(double, source2 := list(range(100)))[50:]
    del source2[10:]
    assert len(part) == 50
    with pytest.raises(IndexError):
        part[0]


def test_factories_that_raise_or_recurse() -> None:
    failing: list[bool] = []

    def factory(number: int) -> Any:
        if failing.pop() if failing else False:
            raise Boom
        return lazily[number - 1] if number else "end"

    for options in ({}, {"keep": 100}):
        lazily: LazyObjects[Any] = LazyObjects(factory, 50, **options)  # type: ignore[call-overload]
        failing.append(True)
        with pytest.raises(Boom):
            lazily[3]
        assert lazily[49] == "end"


def test_wrong_arguments_are_refused() -> None:
    make: Any = LazyObjects
    for wrong in ({}, {1: 2}, {1, 2}, iter([]), 1.5, True, None, object()):
        with pytest.raises(TypeError, match="source must be a sequence or a length"):
            make(double, wrong)
    for arguments in [(1, 10), (None, 10)]:
        with pytest.raises(TypeError, match="factory must be callable"):
            make(*arguments)
    with pytest.raises(ValueError, match="must not be negative"):
        make(double, -1)
    for source in (2**70, range(2**70)):
        with pytest.raises(OverflowError):
            make(double, source)
    for name in ("keep", "max_live"):
        for wrong in (True, 1.0, "1"):
            with pytest.raises(TypeError, match=f"{name} must be an int"):
                make(double, 10, **{name: wrong})
        with pytest.raises(ValueError, match=f"{name} must be at least 1"):
            make(double, 10, **{name: 0})
    with pytest.raises(ValueError, match="less than max_live"):
        make(double, 10, keep=5, max_live=5)
    with pytest.raises(TypeError, match="identity must be a bool"):
        make(double, 10, identity=1)
    with pytest.raises(TypeError, match="n must be an int"):
        make(double, 10).batched(2.0)
    with pytest.raises(TypeError, match="map needs a callable"):
        make(double, 10).map(3)


# What is kept


def test_keep_gives_the_most_recent_again() -> None:
    lazily = LazyObjects(Thing, 10, keep=2)
    one, two = lazily[1], lazily[-8]
    assert lazily[1] is one
    assert lazily[2] is two
    assert lazily[1:][1] is two
    lazily[5]
    assert lazily[2] is two
    assert lazily[1] is not one


def test_identity_holds_while_somebody_holds() -> None:
    lazily = LazyObjects(Thing, list(range(10)), identity=True)
    held = lazily[3]
    assert lazily[3] is held
    assert lazily[-7] is held
    assert next(iter(lazily[3:])) is held
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None
    assert lazily[3].number == 3


def test_identity_with_keep() -> None:
    lazily = LazyObjects(Thing, 10, identity=True, keep=1)
    held = lazily[3]
    lazily[4]
    assert lazily[3] is held


def test_identity_from_many_threads() -> None:
    made = []

    def factory(number: int) -> Thing:
        made.append(number)
        return Thing(number)

    lazily = LazyObjects(factory, 100, identity=True)
    gate = threading.Barrier(8)

    def walk() -> list[Thing]:
        gate.wait()
        return list(lazily)

    everybody = in_threads(*[walk] * 8)
    assert sorted(made) == list(range(100))
    assert all(objects == everybody[0] for objects in everybody)


@isolated()
def test_identity_holds_for_who_asks_between_two_steps() -> None:
    """A finalizer or a signal handler may run anywhere: here one does at each step in turn."""
    lazily = LazyObjects(Thing, 1, identity=True)
    asked: list[Thing] = []
    left = 0

    def trace(frame: Any, event: str, argument: object) -> Any:
        nonlocal left
        if "leaksafe" in frame.f_code.co_filename:
            left -= 1
            if left == 0:
                asked.append(lazily[0])
        return trace

    for step in range(1, 200):
        held: Thing | None = lazily[0]
        left = step
        sys.settrace(trace)
        held = None
        held = lazily[0]
        sys.settrace(None)
        assert all(one is held is lazily[0] for one in asked), step
        if not asked:
            break
        asked.clear()
    assert 4 < step < 199


def test_identity_lets_go_of_everything() -> None:
    seen = [weakref.ref(one) for one in LazyObjects(Thing, 1_000, identity=True)]
    full_collection()
    assert [reference for reference in seen if reference() is not None] == []


@each("options", [{"identity": True}, {"max_live": 3}])
def test_what_cannot_be_weakly_referenced_is_refused(options: Any) -> None:
    with pytest.raises(TypeError, match="__weakref__"):
        LazyObjects(Slotted, 10, **options)
    lazily: LazyObjects[int] = LazyObjects(double, 10, **options)
    with pytest.raises(TypeError, match="returned one that can't be: int"):
        lazily[0]


# A bound on the living


def test_a_loop_stays_within_the_bound() -> None:
    lazily = LazyObjects(Thing, 1_000, max_live=2)
    for _ in lazily:
        assert lazily.live == 1
    del _
    assert lazily.live == 0
    assert lazily[3:].live == 0
    assert LazyObjects(Thing, 10).live is None


def test_the_loop_that_keeps_all_is_caught_and_the_holder_named() -> None:
    objs: list[Thing] = []
    lazily = LazyObjects(Thing, 1_000, max_live=100)
    with pytest.raises(LiveBoundError) as caught:
        for one in lazily:
            objs.append(one)
    assert len(objs) == 100
    assert caught.value.live == 101
    assert str(caught.value).endswith(
        "they are held by a list of 100 'objs' in "
        "test_the_loop_that_keeps_all_is_caught_and_the_holder_named()"
    )
    assert pickle.loads(pickle.dumps(caught.value)).live == 101
    objs.clear()
    del one
    full_collection()
    assert lazily.live == 0
    assert lazily[5].number == 5


KEPT: list[Thing] = []


@pytest.mark.thread_unsafe(reason="fills one global list")
def test_a_holder_that_is_global_is_named() -> None:
    with pytest.raises(LiveBoundError, match="a list of 5 'KEPT' in the module "):
        for _ in LazyObjects(Thing, 10, max_live=5).map(KEPT.append):
            pass
    KEPT.clear()


def test_cycles_are_collected_before_the_bound_is_broken() -> None:
    class Node:
        def __init__(self, number: int) -> None:
            self.me = self

    gc.disable()
    try:
        for _ in LazyObjects(Node, 200, max_live=10):
            pass
    finally:
        gc.enable()


def test_the_error_does_not_change_the_frame_that_it_names() -> None:
    objs: list[Thing] = []
    number = 3
    with pytest.raises(LiveBoundError):
        for one in LazyObjects(Thing, 10, max_live=number):
            objs.append(one)
    gone = weakref.ref(objs[0])
    assert number == 3
    del objs, one
    full_collection()
    assert gone() is None


@isolated(limit=60, malloc="default")
def test_a_million_objects_take_no_memory() -> None:
    import tracemalloc

    lazily = LazyObjects(Slotted, 1_000_000)
    tracemalloc.start()
    for _ in lazily:
        pass
    assert tracemalloc.get_traced_memory()[1] < 2**20


# lazy


def test_each_loop_starts_afresh() -> None:
    objs = create_objs(3)
    assert [one.number for one in objs] == [0, 1, 2]
    assert [one.number for one in objs] == [0, 1, 2]
    assert [one.number for one in create_objs(5, step=2)] == [0, 2, 4]


def test_a_loop_that_is_left_closes_its_generator() -> None:
    closed = []

    @lazy
    def endless() -> Iterator[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(1)

    for _ in endless():
        break
    assert closed == [1]


def test_wrong_arguments_are_refused_when_they_are_given() -> None:
    with pytest.raises(TypeError, match="create_objs"):
        create_objs(1, 2, 3)  # type: ignore[call-arg]


def test_it_keeps_name_and_signature_and_says_what_it_is() -> None:
    assert create_objs.__name__ == "create_objs"
    assert "create_objs(3, step=2)" in repr(create_objs(3, step=2))


def test_it_is_picklable() -> None:
    again = pickle.loads(pickle.dumps(create_objs(3)))
    assert [one.number for one in again] == [0, 1, 2]


def test_methods_can_be_lazy() -> None:
    class Book:
        words = "to", "be"

        @lazy
        def each_word(self) -> Iterator[str]:
            yield from self.words

    words = Book().each_word()
    assert list(words) == list(words) == ["to", "be"]


@each("wrong", [len, lambda: 1, 1, Thing])
def test_only_generator_functions_can_be_lazy(wrong: Any) -> None:
    with pytest.raises(TypeError, match="lazy decorates a function that yields"):
        lazy(wrong)


def test_an_async_generator_cannot_be_lazy() -> None:
    async def walk() -> Any:
        yield 1

    with pytest.raises(TypeError, match="async"):
        lazy(walk)


def test_no_reference_is_left_over() -> None:
    lazily = LazyObjects(Thing, 10, keep=2, identity=True, max_live=5)
    gone = weakref.ref(lazily)
    for _ in range(100):
        lazily[1], lazily[2:4][0], lazily[-1]
    before = sys.getrefcount(Thing)
    for _ in range(1_000):
        lazily[1], lazily[2:4][0], lazily[-1]
    assert sys.getrefcount(Thing) - before < 10
    del lazily
    full_collection()
    assert gone() is None
