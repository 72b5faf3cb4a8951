"""`singleton`: how its instances end, and what stands in for them."""

from __future__ import annotations

import copy
import gc
import threading
import weakref
from itertools import pairwise
from typing import Any, TypeVar

import pytest

from harness import Boom, Unraisable, in_threads, wait
from isolated import each, full_collection, isolated, run_source
from leaksafe import singleton

pytest_plugins = ["pytester"]
T = TypeVar("T")

pytestmark = pytest.mark.thread_unsafe(reason="each test resets the singletons of the process")


@singleton
class Shared:
    """At the top of a module, so that it can be pickled."""

    def __init__(self, path: str = "app.toml") -> None:
        self.path = path


class SharedBelow(Shared):
    pass


@pytest.fixture(autouse=True)
def clean(fresh_singletons: None) -> None:
    pass


def test_reset_closes_and_forgets() -> None:
    closed = []

    @singleton
    class Connection:
        def close(self) -> None:
            closed.append(self)

    first = Connection()
    singleton.reset(Connection)
    assert closed == [first]
    assert Connection() is not first
    singleton.reset(Connection)
    singleton.reset(Connection)
    assert len(closed) == 2


def test_reset_all_closes_the_last_built_first() -> None:
    closed = []

    def named(name: str) -> type:
        @singleton
        class Named:
            def close(self) -> None:
                closed.append(name)

        return Named

    a, b, c = map(named, "abc")
    for cls in (b, c, a):
        cls()
    singleton.reset_all()
    assert closed == ["a", "c", "b"]


def test_each_is_closed_even_if_others_fail() -> None:
    closed = []

    def failing(number: int) -> type:
        @singleton
        class Failing:
            def close(self) -> None:
                closed.append(number)
                raise Boom(number)

        return Failing

    for cls in (classes := [failing(number) for number in range(3)]):
        cls()
    with pytest.raises(ExceptionGroup) as caught:
        singleton.reset_all()
    assert closed == [2, 1, 0]
    assert [error.args for error in caught.value.exceptions] == [(2,), (1,), (0,)]
    assert len(classes) == 3


@isolated()
def test_an_error_of_closing_is_in_no_cycle() -> None:
    class Held: ...

    alive = []

    def make() -> type:
        @singleton
        class Failing:
            def close(self) -> None:
                held = Held()
                alive.append(weakref.ref(held))
                raise Boom

        return Failing

    gc.collect()
    gc.disable()
    for count in 1, 2:
        for kind in [make() for _ in range(count)]:
            kind()
        try:
            singleton.reset_all()
        except (Boom, ExceptionGroup):
            pass
    assert [one() for one in alive] == [None] * 3


def test_a_context_manager_is_left() -> None:
    left = []

    @singleton
    class Managed:
        def __exit__(self, *exception: object) -> None:
            left.append(exception)

    Managed()
    singleton.reset(Managed)
    assert left == [(None, None, None)]


def test_a_close_that_fails_at_exit_is_reported_and_the_others_are_closed() -> None:
    result = run_source(
        """
from leaksafe import singleton

@singleton
class First:
    def close(self):
        print("closed")

@singleton
class Second:
    def close(self):
        raise OSError("no line")

First(), Second()
"""
    )
    assert (result.code, result.stdout) == (0, "closed\n")
    assert "OSError: no line" in result.stderr


def test_what_is_awaited_to_close_is_left_to_its_loop() -> None:
    left = []

    @singleton
    class Client:
        async def close(self) -> None: ...

        def __exit__(self, *exception: object) -> None:
            left.append(1)

    Client()
    singleton.reset(Client)
    assert left == [1]


def test_override_and_its_end() -> None:
    fake = object()
    real = Shared()
    with singleton.override(Shared, fake):
        assert Shared("whatever") is fake
        assert in_threads(Shared) == [fake]
        with singleton.override(Shared, None):
            assert Shared() is None
        assert Shared() is fake
        assert SharedBelow() is not fake
    assert Shared() is real


def test_override_ends_with_an_error_and_builds_nothing() -> None:
    @singleton
    class Never:
        def __init__(self) -> None:
            raise AssertionError

    with pytest.raises(Boom), singleton.override(Never, 1):
        assert Never() == 1  # type: ignore[comparison-overlap]
        raise Boom


def test_weak_lives_while_it_is_held() -> None:
    @singleton(weak=True)
    class Passing: ...

    held = Passing()
    assert Passing() is held
    gone = weakref.ref(held)
    del held
    gc.collect()
    assert gone() is None
    assert Passing() is not None


def test_weak_needs_weak_references() -> None:
    with pytest.raises(TypeError, match="__weakref__"):

        @singleton(weak=True)
        class Slotted:
            __slots__ = ()


def test_each_thread_has_its_own() -> None:
    @singleton(scope="thread")
    class Own: ...

    def ask() -> list[Own]:
        return [Own(), Own()]

    mine = Own()
    theirs = in_threads(ask, ask)
    assert Own() is mine
    assert all(one is other for one, other in theirs)
    assert len({id(mine), *(id(one) for one, _ in theirs)}) == 3


def test_a_threads_own_goes_with_the_thread() -> None:
    @singleton(scope="thread")
    class Own: ...

    def ask() -> weakref.ref[Own]:
        return weakref.ref(Own())

    thread_gone = in_threads(ask)[0]
    full_collection()
    assert thread_gone() is None


def test_a_thread_asking_for_its_own_while_it_is_built() -> None:
    @singleton(scope="thread")
    class Ego:
        def __init__(self) -> None:
            Ego()

    with pytest.raises(RuntimeError, match="Ego → "):
        Ego()


def test_reset_reaches_every_thread() -> None:
    @singleton(scope="thread")
    class Own: ...

    asked, reset = threading.Event(), threading.Event()

    def ask() -> bool:
        first = Own()
        asked.set()
        wait(reset)
        return Own() is first

    def forget() -> bool:
        wait(asked)
        singleton.reset(Own)
        reset.set()
        return False

    assert in_threads(ask, forget) == [False, False]


@each("scope", ["process", "thread"])
@each("whole", [False, True])
def test_a_reset_while_it_is_built(scope: Any, whole: bool) -> None:
    """It is as if the reset had come just after that."""
    began, go_on = threading.Event(), threading.Event()
    closed = []

    @singleton(scope=scope)
    class Slow:
        def __init__(self) -> None:
            if not began.is_set():
                began.set()
                wait(go_on)

        def close(self) -> None:
            closed.append(self)

    def build() -> list[Slow]:
        return [Slow(), Slow()]

    def reset() -> list[Slow]:
        wait(began)
        singleton.reset_all() if whole else singleton.reset(Slow)
        second = Slow()
        go_on.set()
        return [second]

    (first, again), [second] = in_threads(build, reset)
    assert first is not second
    assert closed == [first]
    assert again is not first
    if scope == "process":
        assert again is second is Slow()
        singleton.reset(Slow)
        assert closed == [first, second]


def test_a_reset_while_it_is_built_in_vain() -> None:
    @singleton
    class Failing:
        def __init__(self) -> None:
            singleton.reset(Failing)
            raise Boom

    for _ in range(2):
        with pytest.raises(Boom):
            Failing()


def test_a_weak_one_that_was_reset_while_it_was_built_is_not_closed() -> None:
    @singleton(weak=True)
    class Weak:
        def __init__(self) -> None:
            singleton.reset(Weak)

        def close(self) -> None:
            raise AssertionError

    first = Weak()
    assert Weak() is not first


def test_who_is_waited_for_is_still_the_last_built(unraisables: list[Unraisable]) -> None:
    """What an instance builds while it is built was there before it, and is closed after it."""
    closed = []

    @singleton
    class Inner:
        def close(self) -> None:
            closed.append("inner")

    @singleton
    class Outer:
        def __init__(self) -> None:
            Inner()

        def close(self) -> None:
            closed.append("outer")
            raise Boom

    Outer()
    with pytest.raises(Boom):
        singleton.reset_all()
    assert closed == ["outer", "inner"]

    @singleton
    class Resetting:
        def __init__(self) -> None:
            singleton.reset_all()

        def close(self) -> None:
            raise Boom

    Resetting()
    assert [type(one.exception) for one in unraisables] == [Boom]


def test_the_fixture_gives_each_test_fresh_ones(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from leaksafe import singleton

        @singleton
        class Settings:
            used = False

        def test_one(fresh_singletons):
            assert not Settings().used
            Settings().used = True

        def test_two(fresh_singletons):
            assert not Settings().used
            Settings().used = True
        """
    )
    pytester.runpytest_subprocess("-p", "no:cacheprovider").assert_outcomes(passed=2)


@isolated(limit=60, malloc="default")
def test_nothing_is_left_over_after_many_rounds() -> None:
    import sys

    @singleton(extra_args="ignore")
    class Plain:
        def __init__(self, *arguments: object, **keywords: object) -> None:
            if arguments == ("fail",):
                raise Boom

    @singleton(scope="thread")
    class Own: ...

    @singleton(weak=True)
    class Passing: ...

    def round_of_all() -> None:
        singleton.reset(Plain)
        try:
            Plain("fail")
        except Boom:
            pass
        Plain(1, two=2), Plain(), Plain(3, four=4), Own(), Passing(), copy.copy(Plain())
        with singleton.override(Plain, 5):
            Plain()
        singleton.reset_all()

    def classes() -> None:
        @singleton
        class Inner: ...

        Inner()

    for function, times in ((round_of_all, 1_000), (classes, 300)):
        blocks, references = [], []
        for _ in range(8):
            for _ in range(times):
                function()
            full_collection()
            blocks.append(sys.getallocatedblocks())
            references.append(sys.getrefcount(Plain))
        # What fills up once shows in the first runs, a leak in each.
        assert min(after - before for before, after in pairwise(blocks)) < times // 10, blocks
        assert references[-1] - references[0] < 100, references
