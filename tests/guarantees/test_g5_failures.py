"""G5: an exception, its traceback and its frames are never kept."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import gc
import pickle
import sys
import threading
import traceback
import weakref
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

from isolated import each, isolated
from leaksafe import LRUCache, Registry, lru_cache

Cache = LRUCache[Any, Any]


class Pinned:
    """A local of the failing frame: alive as long as its traceback is."""


class Failure(Exception):
    pass


class Failing:
    """Fails with a local that only the failing frame holds."""

    def __init__(self, *at: str, kind: type[BaseException] = Failure) -> None:
        self.at = at
        self.kind = kind
        self.pinned: list[weakref.ref[Pinned]] = []

    def fail(self, where: str) -> None:
        if where in self.at:
            local = Pinned()
            self.pinned.append(weakref.ref(local))
            error = self.kind("failed")
            self.pinned.append(weakref.ref(error))  # type: ignore[arg-type]
            try:
                raise error
            finally:
                # a frame that names its own error is a cycle, for the collector to find
                del error

    def __hash__(self) -> int:
        self.fail("hash")
        return 7

    def __eq__(self, other: object) -> bool:
        self.fail("eq")
        return self is other

    def __repr__(self) -> str:
        self.fail("repr")
        return "Failing()"

    def __reduce__(self) -> Any:
        self.fail("reduce")
        return int, ()

    def __index__(self) -> int:
        self.fail("index")
        return 1

    def __call__(self, *args: object) -> int:
        self.fail("call")
        return 1

    def pairs(self) -> Iterator[tuple[int, int]]:
        yield 1, 1
        self.fail("pairs")


def failures() -> dict[str, Callable[[Failing, Cache], object]]:
    def filled(cache: Cache, key: object) -> Cache:
        cache[key] = 1
        return cache

    class Asking(LRUCache[Any, Any]):
        failing: Failing

        def __missing__(self, key: Any) -> Any:
            return self.failing()

    def ask(failing: Failing, cache: Cache) -> object:
        asking = Asking(3)
        asking.failing = failing
        return asking[1]

    def same_hash(failing: Failing) -> object:
        class Key:
            def __hash__(self) -> int:
                return 7

            def __eq__(self, other: object) -> bool:
                failing.fail("call")
                return False

        return Key()

    class Hashing:
        def __init__(self, failing: Failing) -> None:
            self.failing = failing

        def __hash__(self) -> int:
            return self.failing()

    def decorated(function: Callable[..., Any]) -> Any:
        cached = lru_cache(function)
        # the wrapper outlives the failure
        wrappers.append(cached)
        return cached

    def method(failing: Failing) -> Any:
        class Class:
            m = decorated(lambda self, x=1: failing())

        wrappers.append(Class())
        return wrappers[-1].m

    def twice(use: Any, *keys: Any) -> Any:
        return [use(key) for key in keys]

    wrappers: list[Any] = []
    return {
        "function": lambda f, c: decorated(lambda: f())(),
        "function of one": lambda f, c: decorated(lambda x: f())(1),
        "function of keywords": lambda f, c: decorated(lambda x, y=2: f())(1, y=3),
        "method": lambda f, c: method(f)(),
        "method of keywords": lambda f, c: method(f)(x=2),
        "hash of an argument": lambda f, c: decorated(lambda x: x)(Hashing(f)),
        "hash of a keyword": lambda f, c: decorated(lambda x: x)(x=Hashing(f)),
        "eq of an argument": lambda f, c: twice(decorated(lambda x: x), same_hash(f), same_hash(f)),
        "discard": lambda f, c: decorated(lambda x: x).cache_discard(Hashing(f)),
        "contains": lambda f, c: decorated(lambda x: x).cache_contains(1, Hashing(f)),
        "factory": lambda f, c: c.get_or_create(1, f),
        "nested factory": lambda f, c: c.get_or_create(1, lambda: c.get_or_create(2, f)),
        "missing": ask,
        "getsizeof set": lambda f, c: Cache(3, f).__setitem__(1, 1),
        "getsizeof create": lambda f, c: Cache(3, f).get_or_create(1, object),
        "getsizeof update": lambda f, c: Cache(3, f).update(a=1),
        "hash get": lambda f, c: c.get(Hashing(f)),
        "hash set": lambda f, c: c.__setitem__(Hashing(f), 1),
        "eq get": lambda f, c: filled(c, same_hash(f)).get(same_hash(f)),
        "eq set": lambda f, c: filled(c, same_hash(f)).__setitem__(same_hash(f), 1),
        "eq pop": lambda f, c: filled(c, same_hash(f)).pop(same_hash(f), None),
        "eq in": lambda f, c: same_hash(f) in filled(c, same_hash(f)),
        "eq create": lambda f, c: filled(c, same_hash(f)).get_or_create(same_hash(f), object),
    }


# builtin exceptions can't be weakly referenced: their subclasses can
class Interrupt(KeyboardInterrupt):
    pass


class Leave(SystemExit):
    pass


class Deep(RecursionError):
    pass


class Miss(KeyError):
    pass


KINDS: dict[str, type[BaseException]] = {
    kind.__name__: kind for kind in (Failure, Interrupt, Leave, Deep, Miss)
}


@each("kind", KINDS)
@each("place", failures())
@isolated()
def test_nothing_of_a_failure_is_kept(place: str, kind: str) -> None:
    """With the collector off: a failure in no cycle goes when its handler is left."""
    gc.disable()
    failing = Failing("call", kind=KINDS[kind])
    cache: Cache = LRUCache(8)
    operation = failures()[place]
    times = 0
    for _ in range(20):
        cache.clear()
        try:
            operation(failing, cache)
        except KINDS[kind]:
            times += 1
    assert times == 20
    assert len(failing.pinned) == 2 * times
    assert [one for one in failing.pinned if one() is not None] == []
    # and the next call runs it again, and may succeed
    failing.at = ()
    cache.clear()
    operation(failing, cache)


@each("place", ["repr", "reduce", "index", "pairs"])
@isolated()
def test_nothing_of_other_failures_is_kept(place: str) -> None:
    gc.disable()
    failing = Failing(place)
    cache: Cache = LRUCache(8)
    cache["x"] = failing
    operations: dict[str, list[Callable[[], object]]] = {
        "repr": [lambda: repr(cache), lambda: repr(cache.items()), lambda: repr(cache.values())],
        "reduce": [lambda: pickle.dumps(cache), lambda: copy.deepcopy(cache)],
        "index": [lambda: cache.resize(failing), lambda: LRUCache(failing)],
        "pairs": [lambda: cache.update(failing.pairs()), lambda: cache.__ior__(failing.pairs())],
    }
    for operation in operations[place]:
        for _ in range(5):
            try:
                operation()
            except Failure:
                pass
            else:
                raise AssertionError("it didn't fail")
    gc.collect()
    assert failing.pinned
    assert [one for one in failing.pinned if one() is not None] == []
    # a repr that failed doesn't take the next for a repr inside itself
    failing.at = ()
    assert "Failing()" in repr(cache)


@isolated()
def test_on_remove_failures_go_with_the_hook() -> None:
    gc.disable()
    told: list[str] = []
    sys.unraisablehook = lambda args: told.append(str(args.exc_value))
    failing = Failing("call")
    cache: Cache = LRUCache(2, on_remove=failing)
    for number in range(20):
        cache[number] = number
    cache.clear()
    assert told == ["failed"] * 20
    assert len(failing.pinned) == 40
    assert [one for one in failing.pinned if one() is not None] == []
    sys.unraisablehook = sys.__unraisablehook__


@isolated()
def test_the_keys_and_values_of_a_refused_entry_are_not_kept() -> None:
    gc.disable()

    class Thing:
        pass

    def sizer(key: Any, value: Any) -> Any:
        return answers[-1]

    answers: list[Any] = [1]
    cache: Cache = LRUCache(5, sizer)
    for answer in (6, -1, 1.5, "x", 2**70, None):
        answers.append(answer)
        key, value = Thing(), Thing()
        gone = [weakref.ref(key), weakref.ref(value)]
        operations: list[Callable[[Any, Any], object]] = [
            lambda key, value: cache.__setitem__(key, value),
            lambda key, value: cache.setdefault(key, value),
            lambda key, value: cache.update([(key, value)]),
            lambda key, value: cache.get_or_create(key, lambda: value),
        ]
        for operation in operations:
            try:
                operation(key, value)
            except (ValueError, TypeError, OverflowError):
                pass
            else:
                # too heavy, a created value is returned and not kept
                assert answer == 6
        del key, value
        assert [one for one in gone if one() is not None] == []
    assert len(cache) == 0


@isolated()
def test_a_miss_is_not_kept() -> None:
    gc.disable()

    class Thing:
        pass

    cache: Cache = LRUCache(5)
    for operation in (
        lambda key: cache[key],
        lambda key: cache.pop(key),
        lambda key: cache.__delitem__(key),
    ):
        key = Thing()
        gone = weakref.ref(key)
        try:
            operation(key)
        except KeyError as error:
            assert error.args == (key,)
        del key
        assert gone() is None


@isolated()
def test_waiters_each_fail_on_their_own() -> None:
    """cachebox, moka-py: one exception for all, whose traceback grows; a SystemExit for all."""
    cache: Cache = LRUCache(5)
    errors: list[tuple[int, int]] = []
    alive: list[weakref.ref[BaseException]] = []
    ran: list[int] = []
    waiting = 8
    gate = threading.Event()

    def ask(number: int) -> None:
        def factory() -> object:
            ran.append(number)
            gate.wait()
            raise Leave(number) if number % 2 else Failure(number)

        try:
            cache.get_or_create("key", factory)
        except (Failure, Leave) as error:
            errors.append((number, error.args[0]))
            alive.append(weakref.ref(error))
            assert len(traceback.extract_tb(error.__traceback__)) == 2
            assert error.__context__ is None and error.__cause__ is None

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(waiting)]
    for thread in threads:
        thread.start()
    while not ran:
        pass
    gate.set()
    for thread in threads:
        thread.join()
    # each got the error of its own factory, which ran once
    assert sorted(ran) == list(range(waiting))
    assert sorted(errors) == [(number, number) for number in range(waiting)]
    assert [one for one in alive if one() is not None] == []
    assert len(cache) == 0
    assert cache.get_or_create("key", lambda: "value") == "value"


@isolated()
def test_a_waiter_takes_over_after_a_failure() -> None:
    cache: Cache = LRUCache(5)
    started, let_go = threading.Event(), threading.Event()
    results: list[object] = []

    def failing() -> object:
        started.set()
        let_go.wait()
        raise Failure

    def lead() -> None:
        try:
            cache.get_or_create("key", failing)
        except Failure:
            results.append("failed")

    leader = threading.Thread(target=lead)
    leader.start()
    started.wait()
    runs: list[int] = []

    def follow() -> None:
        results.append(cache.get_or_create("key", lambda: runs.append(1) or "made"))

    followers = [threading.Thread(target=follow) for _ in range(4)]
    for thread in followers:
        thread.start()
    let_go.set()
    for thread in (leader, *followers):
        thread.join()
    assert sorted(map(str, results)) == ["failed"] + ["made"] * 4
    assert runs == [1]


@isolated()
def test_a_registry_keeps_nothing_of_failures() -> None:
    class Held: ...

    registry = Registry[str, object](5)

    def fail() -> object:
        held = Held()
        alive.append(weakref.ref(held))
        raise ValueError

    async def afail() -> object:
        return fail()

    class Failing:
        def close(self) -> None:
            fail()

    alive: list[weakref.ref[Held]] = []
    calls: list[Callable[[], object]] = [
        lambda: registry.get_or_create("a", fail),
        lambda: registry.use("a", fail).__enter__(),
        lambda: asyncio.run(_awaiting(registry.aget_or_create("a", afail))),
        lambda: (registry.get_or_create("b", Failing), registry.clear()),
    ]
    for call in calls:
        try:
            call()
        except (ValueError, ExceptionGroup):
            pass
        else:
            raise AssertionError("nothing was raised")
    gc.collect()
    assert [one() for one in alive] == [None] * 4
    assert list(registry) == []


async def _awaiting(coming: Awaitable[object]) -> object:
    return await coming


@each("end", ["clear", "close", "aclose", "get", "aget"])
@isolated()
def test_errors_around_a_registry_are_in_no_cycle(end: str) -> None:
    class Failing:
        def close(self) -> None:
            raise ValueError

    registry = Registry[str, Failing](5)
    alive: list[weakref.ref[Failing]] = []

    def fail() -> Failing:
        held = Failing()
        alive.append(weakref.ref(held))
        raise ValueError

    async def afail() -> Failing:
        await asyncio.sleep(0)
        return fail()

    async def main(coming: Awaitable[object]) -> None:
        with contextlib.suppress(ValueError, ExceptionGroup):
            await coming

    asyncio.run(main(asyncio.sleep(0)))
    gc.collect()
    gc.disable()
    for name in "ab":
        alive.append(weakref.ref(registry.get_or_create(name, Failing)))
    if end == "aclose":
        asyncio.run(main(registry.aclose()))
    elif end == "aget":
        asyncio.run(main(registry.aget_or_create("c", afail)))
        del alive[:2]
    else:
        call: Callable[[], object] = (
            (lambda: registry.get_or_create("c", fail)) if end == "get" else getattr(registry, end)
        )
        with contextlib.suppress(ValueError, ExceptionGroup):
            call()
        if end == "get":
            del alive[:2]
    assert [one() for one in alive] == [None] * len(alive)
