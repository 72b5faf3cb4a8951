"""What becomes of a `Registry`'s instances: who closes them, when, how, and what of failures."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import pytest

from harness import Boom, Unraisable, in_threads, wait
from isolated import each, full_collection
from leaksafe import Registry
from test_registry import Any_, Thing, made


class Failing(Thing):
    def close(self) -> None:
        super().close()
        raise Boom(self.name)


class Awaited(Thing):
    """Is closed by awaiting that."""

    async def close(self) -> None:  # type: ignore[override]
        await asyncio.sleep(0)
        self.closed.append(self.name)


def filled(
    closed: list[Any], *names: Any, size: int | None = None, kind: type[Thing] = Thing
) -> Any_:
    registry: Any_ = Registry(size)
    for name in names:
        registry.get_or_create(name, partial(kind, name, closed))
    return registry


# Which way


def ends() -> Iterator[tuple[str, Callable[[list[str]], Any], list[str], list[str]]]:
    """Classes by what they have, what `close` calls, what `aclose` calls."""

    def note(name: str) -> Callable[[Any], None]:
        return lambda self: self.calls.append(name)

    def leave(self: Any, *exception: object) -> None:
        assert exception == (None, None, None)
        self.calls.append("__exit__")

    async def aleave(self: Any, *exception: object) -> None:
        assert exception == (None, None, None)
        self.calls.append("__aexit__")

    def later(name: str) -> Callable[[Any], Any]:
        async def end(self: Any) -> None:
            self.calls.append(name)

        return end

    def returning(self: Any) -> Any:
        return later("close")(self)

    for methods, now, awaiting in [
        ({}, [], []),
        ({"close": note("close")}, ["close"], ["close"]),
        ({"close": note("close"), "__exit__": leave}, ["close"], ["close"]),
        ({"close": note("close"), "aclose": later("aclose")}, ["close"], ["aclose"]),
        ({"__exit__": leave}, ["__exit__"], ["__exit__"]),
        ({"__exit__": leave, "acquire": note("acquire")}, [], []),
        ({"aclose": later("aclose"), "__exit__": leave}, ["aclose"], ["aclose"]),
        ({"close": later("close")}, ["close"], ["close"]),
        ({"close": returning}, ["close"], ["close"]),
        ({"__aexit__": aleave}, ["__aexit__"], ["__aexit__"]),
        ({"close": 5}, [], []),
    ]:
        members: dict[str, Any] = methods  # type: ignore[assignment]
        yield " and ".join(members) or "nothing", type("Kind", (), members), now, awaiting


ENDS: dict[str, Any] = {f"{name}, {number}": rest for number, (name, *rest) in enumerate(ends())}


@each("name", ENDS)
@each("awaiting", [False, True])
def test_what_closes_an_instance(name: str, awaiting: bool) -> None:
    kind, now, later = ENDS[name]
    instance: Any = kind()
    instance.calls = []

    async def main() -> None:
        registry: Any_ = Registry(1)
        registry.get_or_create("a", lambda: instance)
        if awaiting:
            await registry.aclose()
        else:
            registry.close()
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    asyncio.run(main())
    assert instance.calls == (later if awaiting else now)


def test_classes_modules_and_locks_are_nobodys_to_close() -> None:
    lock = threading.Lock()
    registry: Any_ = Registry(None)
    for instance in Thing, asyncio, lock, asyncio.Lock(), 5, None:
        registry.get_or_create(id(instance), partial(next, iter([instance])))
    with lock:
        registry.close()
        assert lock.locked()


# When


def test_the_oldest_has_to_go_and_is_closed() -> None:
    closed: list[Any] = []
    registry = filled(closed, 1, 2, 3, 4, size=2)
    assert closed == [1, 2]
    assert list(registry) == [3, 4]


def test_clear_and_close_begin_with_the_youngest() -> None:
    closed: list[Any] = []
    registry = filled(closed, 1, 2, 3)
    registry.clear()
    assert closed == [3, 2, 1]
    registry.get_or_create(4, made(4, closed))
    assert not registry.closed
    with registry:
        registry.get_or_create(5, made(5, closed))
    assert closed == [3, 2, 1, 5, 4]
    registry.close()
    assert (registry.closed, len(registry)) == (True, 0)
    with pytest.raises(RuntimeError, match="this Registry is closed and makes no instances"):
        registry.get_or_create(6, made(6, closed))
    with pytest.raises(KeyError):
        registry[5]


def test_pop_gives_it_away() -> None:
    closed: list[Any] = []
    registry = filled(closed, 1)
    with registry.use(1) as thing:
        assert registry.pop(1) is thing
    registry.close()
    assert closed == []


def test_a_registry_that_is_dropped_closes_nothing() -> None:
    closed: list[Any] = []
    registry = filled(closed, 1)
    gone = weakref.ref(registry[1])
    del registry
    assert (closed, gone()) == ([], None)


def test_what_is_used_stays_open() -> None:
    closed: list[Any] = []
    registry = filled(closed, 1, size=1)
    with registry.use(1) as thing, registry.use(1) as same:
        assert thing is same
        registry.get_or_create(2, made(2, closed))
        with registry.use(2):
            registry.close()
            assert closed == []
        assert closed == [2]
    assert closed == [2, 1]


def test_those_not_used_have_to_go_first() -> None:
    closed: list[Any] = []
    registry = filled(closed, 1, 2, 3, size=3)
    with registry.use(1), registry.use(2):
        registry.get_or_create(4, made(4, closed))
        assert (closed, list(registry)) == ([3], [1, 2, 4])
        with registry.use(4):
            registry.get_or_create(5, made(5, closed))
            assert (closed, list(registry)) == ([3], [2, 4, 5])
        assert closed == [3]
    assert closed == [3, 1]


def test_use_makes_what_is_not_there_and_ends_with_an_error() -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(1)
    with pytest.raises(Boom), registry.use("a", made("a", closed)) as thing:
        registry.clear()
        assert thing.name == "a"
        raise Boom
    assert closed == ["a"]


def test_many_threads_use_what_others_evict() -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(2)

    def work(seed: int) -> int:
        for turn in range(300):
            key = (seed + turn) % 5
            with registry.use(key, lambda: Thing(object(), closed)) as thing:
                if thing.name in closed:
                    return 1
        return 0

    assert in_threads(*(partial(work, seed) for seed in range(4))) == [0] * 4
    registry.close()
    assert len(registry) == 0
    assert len(closed) == len({*closed})


def test_what_expires_is_closed_though_nobody_asks() -> None:
    closed, over = list[Any](), threading.Event()

    class Telling(Thing):
        def close(self) -> None:
            super().close()
            over.set()

    registry: Any_ = Registry(None, ttl=0.02)
    registry.get_or_create("a", lambda: Telling("a", closed))
    wait(over)
    assert (closed, list(registry)) == (["a"], [])


def test_what_expires_while_it_is_used_is_closed_afterwards() -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(None, ttl=0.02)
    with registry.use("a", made("a", closed)):
        while "a" in registry:
            time.sleep(0.005)
        assert closed == []
        other = registry.get_or_create("a", made("b", closed))
        assert other.name == "b"
    assert "a" in closed


# Failures


def test_each_is_closed_even_if_others_fail() -> None:
    closed: list[Any] = []
    for end in Registry.clear, Registry.close:
        registry = filled(closed, 1, 2, 3, kind=Failing)
        with pytest.raises(ExceptionGroup, match="closing a Registry") as caught:
            end(registry)
        assert [error.args for error in caught.value.exceptions] == [(3,), (2,), (1,)]
        assert closed == [3, 2, 1]
        assert len(registry) == 0
        closed.clear()


def test_an_interrupt_waits_until_all_are_closed() -> None:
    closed: list[Any] = []

    class Interrupted(Thing):
        def close(self) -> None:
            raise KeyboardInterrupt

    registry = filled(closed, 1, 2)
    registry.get_or_create(3, lambda: Interrupted(3, closed))
    registry.get_or_create(4, lambda: Failing(4, closed))
    with pytest.raises(KeyboardInterrupt) as caught:
        registry.close()
    assert closed == [4, 2, 1]
    assert isinstance(caught.value.__cause__, ExceptionGroup)


@pytest.mark.thread_unsafe(reason="looks at sys.unraisablehook")
def test_what_fails_when_it_has_to_go_is_not_the_callers(unraisables: list[Unraisable]) -> None:
    closed: list[Any] = []
    registry = filled(closed, 1, 2, kind=Failing, size=1)
    with registry.use(2):
        registry.get_or_create(3, made(3, closed))
    assert closed == [1, 2]
    assert [str(one.exception) for one in unraisables] == ["1", "2"]
    assert unraisables[0].source is registry


# Awaiting


def test_aclose_awaits_one_after_the_other() -> None:
    closed: list[Any] = []

    class Refusing(Awaited):
        async def close(self) -> None:  # type: ignore[override]
            await super().close()
            raise Boom(self.name)

    async def main() -> None:
        async with Registry[Any, Any](None) as registry:
            registry.get_or_create(1, lambda: Awaited(1, closed))
            registry.get_or_create(2, made(2, closed))
        assert (closed, registry.closed) == ([2, 1], True)
        registry = filled(closed, 3, 4, kind=Refusing)
        with pytest.raises(ExceptionGroup) as caught:
            await registry.aclose()
        assert [error.args for error in caught.value.exceptions] == [(4,), (3,)]
        assert closed == [2, 1, 4, 3]

    asyncio.run(main())


def test_a_cancellation_waits_until_all_are_closed() -> None:
    closed: list[Any] = []

    class Slow(Awaited):
        async def close(self) -> None:  # type: ignore[override]
            await asyncio.Event().wait()

    async def main() -> None:
        registry = filled(closed, 1, 2, kind=Awaited)
        registry.get_or_create(3, lambda: Slow(3, closed))
        task = asyncio.create_task(registry.aclose())
        await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert closed == [2, 1]

    asyncio.run(main())


def test_what_has_to_go_in_a_loop_is_awaited_there() -> None:
    closed: list[Any] = []

    async def main() -> None:
        registry = filled(closed, 1, 2, kind=Awaited, size=1)
        while closed != [1]:
            await asyncio.sleep(0)
        registry.close()
        while closed != [1, 2]:
            await asyncio.sleep(0)

    asyncio.run(main())


def test_what_fails_in_a_loop_is_told_to_the_loop() -> None:
    class Refusing(Awaited):
        async def close(self) -> None:  # type: ignore[override]
            raise Boom(self.name)

    async def main() -> None:
        told: list[Any] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, context: told.append(context))
        filled([], 1, kind=Refusing).close()
        while not told:
            await asyncio.sleep(0)
        assert isinstance(told[0]["exception"], Boom)
        assert "Refusing" in told[0]["message"]

    asyncio.run(main())


def test_without_a_loop_it_is_an_error() -> None:
    closed: list[Any] = []
    registry = filled(closed, 1, 2, kind=Awaited)
    registry.get_or_create(3, made(3, closed))
    with pytest.raises(ExceptionGroup) as caught:
        registry.close()
    assert len(caught.value.exceptions) == 2
    assert "has to be awaited" in str(caught.value.exceptions[0])
    assert "await registry.aclose()" in str(caught.value.exceptions[0])
    assert closed == [3]


@contextmanager
def no_warnings() -> Iterator[None]:
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield
        gc.collect()


@pytest.mark.thread_unsafe(reason="changes the filters of warnings")
def test_a_coroutine_that_nobody_awaits_leaves_no_warning() -> None:
    with no_warnings(), pytest.raises(ExceptionGroup):
        filled([], 1, kind=Awaited).close()


def test_nothing_is_held_by_what_was_closed() -> None:
    gone: list[weakref.ref[Any]] = []

    async def main() -> None:
        registry = filled([], 1, kind=Awaited)
        gone.append(weakref.ref(registry[1]))
        registry.close()
        for _ in range(5):
            await asyncio.sleep(0)

    asyncio.run(main())
    full_collection()
    assert gone[0]() is None
