"""Cached functions in threads, in a forked child, at the end of the interpreter."""

from __future__ import annotations

import gc
import random
import sys
import threading
from collections.abc import Callable
from typing import Any

from actors import Value, nothing_left
from decorated import OURS, SIZE, Holder, Key, Result, check_function
from test_fork import in_child
from test_threads import crowd

from isolated import FREE_THREADED, each, full_collection, isolated
from leaksafe import cache, lru_cache


class Colliding:
    """Its comparison lets other threads in."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __hash__(self) -> int:
        return self.number % 3

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Colliding) and self.number == other.number


@each("how", ["one", "several", "keyword", "method", "typed"])
@isolated()
def test_four_threads_with_colliding_keys(how: str) -> None:
    """functools.lru_cache: SIGSEGV. lru-dict: 5 000 entries in a cache of 64."""

    def body(*args: Any, **kwargs: Any) -> Holder:
        key = kwargs["x"] if kwargs else args[-1]
        return Holder(key.number)

    function = OURS(64, how == "typed")(body)

    class Class(Value):
        m = function

        def __hash__(self) -> int:
            return 1

    function.__wrapped__.__name__ = function.__name__ = "m"
    instance: Any = Class()

    def use(asked: Any, number: int) -> Any:
        key = Colliding(number)
        match how:
            case "several":
                return asked(1, key)
            case "keyword":
                return asked(1, x=key)
            case "method":
                return asked(instance, key)
            case _:
                return asked(key)

    refused = [0] * 4

    def job(thread: int) -> Callable[[], None]:
        draw = random.Random(thread)

        def run() -> None:
            number, choice = draw.randrange(150), draw.randrange(100)
            try:
                if choice < 80:
                    found = use(function, number)
                    assert found.held == number and not found.dead
                elif choice < 90:
                    use(function.cache_discard, number)
                elif choice < 98:
                    use(function.cache_contains, number)
                elif choice == 98:
                    function.cache_clear()
                else:
                    # another instance, that dies with its call
                    other: Any = Class()
                    assert other.m(Colliding(number)).held == number
            except RuntimeError as error:
                # others changed the place at each of a bounded number of comparisons
                assert "chang" in str(error), repr(error)
                refused[thread] += 1
            assert function.cache_info().currsize <= 64

        return run

    rounds = crowd(*(job(thread) for thread in range(4)), seconds=1)
    # giving up is for a key that changes at every comparison, not for a busy cache
    assert sum(refused) <= sum(rounds) / 100, f"{refused} of {rounds}"
    for number in range(150):
        found = use(function, number)
        assert found is use(function, number) and found.held == number
    assert function.cache_info().currsize == 64
    del Class.m, found, instance
    del function
    nothing_left()


@isolated()
def test_collections_beside_four_threads() -> None:
    """cachebox: values that the cache still holds are finalized."""

    class Class(Value):
        @lru_cache(maxsize=None)
        def kept(self, x: int) -> Any:
            return [Value(), self]

    @lru_cache(maxsize=None)
    def kept(x: int) -> Value:
        return Value()

    @lru_cache(maxsize=16)
    def churn(x: object) -> list[Value]:
        return [Value()]

    instances = [Class() for _ in range(30)]
    for number in range(300):
        kept(number), instances[number % 30].kept(number)

    def collect() -> None:
        gc.collect()

    def read() -> None:
        for number in range(0, 300, 7):
            assert not kept(number).dead, "a result that the cache holds was finalized"
            assert not instances[number % 30].kept(number)[0].dead

    def write() -> None:
        for number in range(50):
            churn(number), churn(Colliding(number))
            Class().kept(number)

    crowd(collect, read, write, write, seconds=2)
    assert kept.cache_info().misses == 300
    del instances
    kept.cache_clear()
    churn.cache_clear()
    nothing_left()


@isolated()
def test_a_call_to_come_of_a_wrapper_that_other_threads_drop() -> None:
    def job() -> None:
        box = [OURS(lambda x: Holder(x))]
        thread = threading.Thread(target=box.clear)
        function = box[0]
        thread.start()
        assert function(1).held == 1
        del function
        thread.join()

    crowd(job, job)
    nothing_left()


@isolated()
def test_a_forked_child_may_call_it() -> None:
    """Wherever the parent's threads were: here, in a comparison and in the function itself."""
    inside, let_go = threading.Event(), threading.Event()
    main = threading.get_ident()

    class Waiting(Key):
        def __eq__(self, other: object) -> bool:
            if threading.get_ident() != main:
                inside.set()
                let_go.wait(15)
            return super().__eq__(other)

        __hash__ = Key.__hash__

    def body(key: Key) -> Result:
        if threading.get_ident() != main:
            inside.set()
            let_go.wait(15)
        return Result(key.number)

    function = OURS(SIZE)(body)
    for number in range(SIZE):
        function(Key(number))

    def use() -> None:
        for number in (0, 1, 9):
            assert function(Waiting(number)).number == number
        check_function(function)

    for key in (Waiting(1), Key(9)):
        inside.clear(), let_go.clear()
        thread = threading.Thread(target=function, args=(key,))
        thread.start()
        assert inside.wait(15)
        in_child(use)
        use()
        let_go.set()
        thread.join()
        for number in range(SIZE):
            function(Key(number))


@isolated()
def test_left_to_the_end_of_the_interpreter() -> None:
    """Finalizers that run then may call what is left."""
    global left

    class Class(Value):
        @lru_cache
        def method(self, x: int) -> Any:
            return Holder(self)

        def __del__(self) -> None:
            self.method(2)

    @cache
    def function(x: object) -> Any:
        return Holder(function)

    left = [Class(), Class.method, function, Class().method]
    left[0].method(1), function(left[0]), function(1), left[3](1)
    # as a module's global, and as what refers to itself
    left.append(left)


left: list[Any] = []


@isolated()
def test_types_are_let_go() -> None:
    """Of the types of wrappers and bound methods, a thousand of each leave no reference."""

    class Class:
        @lru_cache
        def method(self) -> list[int]:
            return [1]

    instance = Class()
    instance.method()
    types: list[Any] = [type(Class.method), type(instance.method)]
    before = [sys.getrefcount(one) for one in types]
    for _ in range(1_000):
        OURS(lambda x: [x])(1)
        Class().method.cache_info()
        Class().method()
    full_collection()
    after = [sys.getrefcount(one) for one in types]
    # without the GIL, each thread counts the references to a type by itself
    assert FREE_THREADED or all(
        abs(one - other) < 10 for one, other in zip(before, after, strict=True)
    )
