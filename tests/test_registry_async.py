"""`Registry.aget_or_create`: instances that coroutines make, and what becomes of them."""

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

import pytest

from harness import Boom, Unraisable, in_threads, wait
from isolated import full_collection
from leaksafe import Registry
from test_registry import Any_, Thing, made
from test_registry_end import Awaited


def run(main: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(main(), 30))


async def turns(count: int = 5) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def slowly(name: Any, closed: list[Any], kind: type[Thing] = Thing) -> Callable[[], Awaitable[Any]]:
    async def make() -> Thing:
        await turns(2)
        return kind(name, closed)

    return make


def test_many_tasks_get_one() -> None:
    async def main() -> None:
        registry: Any_ = Registry(5)
        calls: list[int] = []

        async def make() -> Thing:
            calls.append(1)
            await turns()
            return Thing("a", [])

        found = await asyncio.gather(*(registry.aget_or_create("a", make) for _ in range(16)))
        assert {*map(id, found)} == {id(registry["a"])}
        assert calls == [1]
        assert await registry.aget_or_create("a", make) is found[0]
        assert registry.get_or_create("a", list) is found[0]

    run(main)


def test_the_bound_and_override_hold_for_coroutines_too() -> None:
    async def main() -> None:
        closed: list[Any] = []
        registry: Any_ = Registry(1)
        for name in 1, 2, 3:
            await registry.aget_or_create(name, slowly(name, closed))
        assert (closed, list(registry)) == ([1, 2], [3])
        with registry.override(3, "fake"):
            assert await registry.aget_or_create(3, slowly(4, closed)) == "fake"

    run(main)


def test_a_failure_leaves_nothing() -> None:
    async def main() -> None:
        registry: Any_ = Registry(5)

        async def fails() -> None:
            await turns()
            raise Boom

        asked = (registry.aget_or_create("a", fails) for _ in range(3))
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(result) for result in results] == [Boom] * 3
        assert await registry.aget_or_create("a", slowly("a", [])) is registry["a"]
        for wrong in 5, list:
            with pytest.raises(TypeError, match="factory must"):
                await registry.aget_or_create("b", wrong)  # type: ignore[arg-type]
        assert list(registry) == ["a"]

    run(main)


def test_who_is_cancelled_harms_nobody_else() -> None:
    async def main() -> None:
        registry: Any_ = Registry(5)
        make = slowly("a", [])
        first = asyncio.create_task(registry.aget_or_create("a", make))
        second = asyncio.create_task(registry.aget_or_create("a", make))
        await asyncio.sleep(0)
        first.cancel()
        assert (await second).name == "a"
        with pytest.raises(asyncio.CancelledError):
            await first

    run(main)


def test_coroutines_that_need_each_other_say_the_way() -> None:
    async def main() -> None:
        registry: Any_ = Registry(5)

        def needing(other: str) -> Callable[[], Awaitable[Any]]:
            async def make() -> Any:
                return [await registry.aget_or_create(other, needing("A"))]

            return make

        with pytest.raises(RuntimeError, match=r"needs what is made by it: A → B → A$"):
            await registry.aget_or_create("A", needing("B"))
        with pytest.raises(RuntimeError, match=r"A → A$"):
            await registry.aget_or_create("A", needing("A"))
        assert len(registry) == 0
        assert (await registry.aget_or_create("A", slowly("A", []))).name == "A"

    run(main)


def test_a_circle_across_tasks_and_registries_says_the_way() -> None:
    async def main() -> None:
        one: Any_ = Registry(5)
        two: Any_ = Registry(5)
        both = asyncio.Event()

        async def make_a() -> Any:
            await both.wait()
            return await one.aget_or_create("B", make_b)

        async def make_b() -> Any:
            return await two.aget_or_create("C", make_c)

        async def make_c() -> Any:
            both.set()
            await turns()
            return await one.aget_or_create("A", make_a)

        asked = one.aget_or_create("A", make_a), two.aget_or_create("C", make_c)
        results = await asyncio.gather(*asked, return_exceptions=True)
        assert "A → B → C → A" in str(results[1])
        assert all(isinstance(result, RuntimeError) for result in results)
        assert (len(one), len(two)) == (0, 0)

    run(main)


def test_who_comes_second_is_closed() -> None:
    """A thread and a loop make the same: one is kept, and everybody gets that one."""
    closed: list[Any] = []

    async def main() -> None:
        registry: Any_ = Registry(5)

        async def make() -> Thing:
            in_threads(lambda: registry.get_or_create("a", made("thread", closed)))
            return Thing("loop", closed)

        assert (await registry.aget_or_create("a", make)).name == "thread"
        assert closed == ["loop"]
        assert registry["a"].name == "thread"

    run(main)


def test_a_registry_that_is_closed_meanwhile() -> None:
    async def main() -> None:
        closed: list[Any] = []
        registry: Any_ = Registry(5)
        task = asyncio.create_task(registry.aget_or_create("a", slowly("a", closed, Awaited)))
        await asyncio.sleep(0)
        registry.close()
        with pytest.raises(RuntimeError, match="this Registry is closed"):
            await task
        await turns()
        assert closed == ["a"]
        with pytest.raises(RuntimeError, match="this Registry is closed"):
            await registry.aget_or_create("b", slowly("b", closed))

    run(main)


def test_what_has_to_go_elsewhere_is_awaited_in_its_own_loop() -> None:
    closed: list[Any] = []
    where: list[Any] = []

    class Here(Awaited):
        async def close(self) -> None:  # type: ignore[override]
            where.append(asyncio.get_running_loop())
            await super().close()

    async def main() -> None:
        registry: Any_ = Registry(1)
        await registry.aget_or_create(1, slowly(1, closed, Here))
        in_threads(lambda: registry.get_or_create(2, made(2, closed)))
        while not closed:
            await asyncio.sleep(0.001)
        assert where == [asyncio.get_running_loop()]

    run(main)


def test_what_expires_is_awaited_in_its_own_loop() -> None:
    async def main() -> None:
        closed: list[Any] = []
        registry: Any_ = Registry(5, ttl=0.02)
        await registry.aget_or_create(1, slowly(1, closed, Awaited))
        while not closed:
            await asyncio.sleep(0.001)

    run(main)


@pytest.mark.thread_unsafe(reason="looks at sys.unraisablehook")
def test_an_instance_whose_loop_is_closed(unraisables: list[Unraisable]) -> None:
    closed: list[Any] = []
    registry: Any_ = Registry(1)

    async def fill() -> None:
        await registry.aget_or_create(1, slowly(1, closed, Awaited))

    run(fill)
    registry.get_or_create(2, made(2, closed))
    assert "event loop for it does not run" in str(unraisables[0].exception)
    registry.pop(2)
    run(fill)
    with pytest.raises(ExceptionGroup) as caught:
        registry.close()
    assert "await registry.aclose()" in str(caught.value.exceptions[0])
    assert closed == []


def test_loops_in_many_threads() -> None:
    registry: Any_ = Registry(50)
    closed: list[Any] = []

    def work() -> list[Any]:
        async def main() -> list[Any]:
            asked = (registry.aget_or_create(n % 5, slowly(object(), closed)) for n in range(20))
            return await asyncio.gather(*asked)

        return asyncio.run(main())

    results = in_threads(*[work] * 4)
    assert all(result == results[0] for result in results)
    assert len(registry) == 5
    assert not {one.name for one in results[0]} & {*closed}


def test_a_loop_in_which_something_was_being_made_leaves_nothing() -> None:
    registry: Any_ = Registry(5)
    began = threading.Event()
    gone: list[weakref.ref[Any]] = []

    class Held: ...

    async def never() -> None:
        held = Held()
        gone.append(weakref.ref(held))
        began.set()
        await asyncio.Event().wait()

    async def main() -> None:
        task = asyncio.create_task(registry.aget_or_create("a", never))
        while not began.is_set():
            await asyncio.sleep(0)
        task.cancel()

    asyncio.run(main())
    wait(began)
    full_collection()
    assert gone[0]() is None
    assert registry.get_or_create("a", list) == []
