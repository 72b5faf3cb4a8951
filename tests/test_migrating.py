"""Each row of the tables of differences in docs/migrating-from-*.md, seen in both libraries."""

from __future__ import annotations

import asyncio
import functools
import gc
import itertools
import math
import sys
import threading
import time
import weakref
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import cachetools
import cachetools.func as cachetools_func
import pytest

import leaksafe
from harness import filling
from leaksafe.compat import cachetools as stand_in
from leaksafe.compat.cachetools import func as stand_in_func

pytestmark = pytest.mark.thread_unsafe(reason="collects, and counts warnings")


Decorator = Callable[[Any], Any]


def outlives(decorate: Decorator) -> bool:
    """Whether a cached method keeps its instance, which nobody else holds."""

    class Report:
        @decorate
        def words(self) -> int:
            return 3

    report = Report()
    report.words()
    gone = weakref.ref(report)
    del report
    gc.collect()
    return gone() is not None


def calls_in_other_words(decorate: Decorator) -> int:
    calls = []

    @decorate
    def f(x: int) -> None:
        calls.append(x)

    f(1)
    f(x=1)
    return len(calls)


class TestFunctools:
    def test_a_cached_method_and_its_instance(self) -> None:
        assert outlives(functools.lru_cache)
        assert not outlives(leaksafe.lru_cache)

    def test_equal_instances(self) -> None:
        def hits(lru_cache: Decorator) -> Any:
            class Money:
                def __eq__(self, other: object) -> bool:
                    return True

                def __hash__(self) -> int:
                    return 1

                @lru_cache
                def cents(self) -> int:
                    return 1

            for _ in range(3):
                Money().cents()
            return Money.cents.cache_info().hits

        assert hits(functools.lru_cache) == 2
        assert hits(leaksafe.lru_cache) == 0
        assert hits(leaksafe.lru_cache(weak_self=False)) == 2

    def test_an_instance_without_weak_references(self, recwarn: Any) -> None:
        def call(lru_cache: Decorator) -> None:
            class Point:
                __slots__ = ()

                @lru_cache
                def norm(self) -> int:
                    return 1

            Point().norm()

        call(functools.lru_cache)
        assert not recwarn
        with pytest.warns(leaksafe.LeakWarning):
            call(leaksafe.lru_cache)

    def test_results_in_the_instance(self) -> None:
        def names(lru_cache: Decorator) -> list[str]:
            class Node:
                @lru_cache
                def children(self) -> list[object]:
                    return [self]

            node = Node()
            node.children()
            return list(vars(node))

        assert names(functools.lru_cache) == []
        assert names(leaksafe.lru_cache) == ["__leaksafe_results__"]

    def test_coroutines(self) -> None:
        def twice(lru_cache: Decorator) -> int:
            @lru_cache
            async def f() -> int:
                return 1

            async def main() -> int:
                return int(await f() + await f())

            return asyncio.run(main())

        with pytest.raises(RuntimeError, match="cannot reuse already awaited coroutine"):
            twice(functools.lru_cache)
        assert twice(leaksafe.lru_cache) == 2

    def test_a_property_and_threads(self) -> None:
        def at_once(cached_property: Decorator, instances: int) -> int:
            """Ask in two threads for the property of one or two instances: most at one time."""
            inside = []
            both = threading.Barrier(2)

            class Report:
                @cached_property
                def words(self) -> int:
                    with suppress(threading.BrokenBarrierError):
                        both.wait(0.3)
                        inside.append(self)
                    return 3

            reports = [Report() for _ in range(instances)] * (3 - instances)
            threads = [threading.Thread(target=lambda one=one: one.words) for one in reports]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return len(inside)

        if sys.version_info >= (3, 12):
            assert at_once(functools.cached_property, 1) == 2
        else:
            assert at_once(functools.cached_property, 2) == 0
        assert at_once(leaksafe.cached_property, 1) == 0
        assert at_once(leaksafe.cached_property, 2) == 2

    def test_a_property_and_slots(self) -> None:
        class Slots:
            __slots__ = ("_two",)
            one = functools.cached_property(lambda self: 1)
            two = leaksafe.cached_property(slot="_two")(lambda self: 2)

        with pytest.raises(TypeError, match="__dict__"):
            _ = Slots().one
        assert Slots().two == 2


class Thing:
    def method(self) -> None: ...


class TestWeakref:
    def test_adding_in_a_loop(self) -> None:
        def loop(container: Any) -> int:
            things = [Thing() for _ in range(3)]
            container.update(enumerate(things))
            for key in container:
                things.append(Thing())
                container[key + 100] = things[-1]
            return len(container)

        if sys.version_info < (3, 14):
            with pytest.raises(RuntimeError, match="changed size"):
                loop(weakref.WeakValueDictionary())
        assert loop(leaksafe.WeakValueDictionary()) == 6

    def test_the_order_of_a_set(self) -> None:
        class Hashed(Thing):
            def __init__(self, number: int) -> None:
                self.number = number

            def __hash__(self) -> int:
                return self.number

        things = [Hashed(number) for number in (3, 1, 2)]
        assert [one.number for one in weakref.WeakSet(things)] == [1, 2, 3]
        assert [one.number for one in leaksafe.WeakSet(things)] == [3, 1, 2]

    def test_bound_methods(self) -> None:
        def held(members: Any) -> int:
            members.add(thing.method)
            return len(members)

        thing = Thing()
        assert held(weakref.WeakSet()) == 0
        assert held(leaksafe.WeakSet()) == 1

    def test_the_references_inside(self) -> None:
        def keys(container: Any) -> list[str]:
            thing = container["key"] = Thing()
            return [ref.key for ref in weakref.getweakrefs(thing) if hasattr(ref, "key")]

        assert keys(weakref.WeakValueDictionary()) == ["key"]
        assert keys(leaksafe.WeakValueDictionary()) == []

    def test_keys_without_a_hash(self) -> None:
        class Unhashable(set[int]): ...

        key = Unhashable()
        both: list[Any] = [weakref.WeakKeyDictionary(), leaksafe.WeakKeyDictionary()]
        for container in both:
            with pytest.raises(TypeError, match="unhashable"):
                container[key] = 1
        by_identity = leaksafe.WeakIdDictionary[Any, int]()
        by_identity[key] = 1
        assert by_identity[key] == 1

    def test_what_cannot_be_referenced(self) -> None:
        with pytest.raises(TypeError, match=r"to 'int' object$"):
            weakref.WeakValueDictionary[str, Any]()["key"] = 1
        with pytest.raises(TypeError, match="'int' object: WeakCache"):
            leaksafe.WeakValueDictionary[str, Any]()["key"] = 1


class TestCachetools:
    def test_sizes_that_are_no_numbers(self) -> None:
        cache = cachetools.LRUCache[int, int](math.nan)
        cache.update(dict.fromkeys(range(100), 1))
        assert len(cache) == 100
        with pytest.raises(ValueError, match="nan"):
            stand_in.LRUCache(math.nan)

    def test_keys_that_use_the_cache(self) -> None:
        def holds(module: Any) -> bool:
            cache: Any = module.Cache(3)
            key = filling(cache)
            for number in range(12):
                cache[key()] = number
                if len(cache) > 3 or cache.currsize != len(cache):
                    return False
            return True

        assert not holds(cachetools)
        assert holds(stand_in)

    def test_keys_whose_hash_changes(self) -> None:
        class Key:
            value = 1

            def __hash__(self) -> int:
                return self.value

        def fill(module: Any) -> int:
            cache = module.LRUCache(2)
            key = Key()
            cache[key] = 1
            key.value = 2
            for number in range(10):
                cache[number] = number
            return len(cache)

        with pytest.raises(KeyError):
            fill(cachetools)
        assert fill(stand_in) == 2

    def test_inserting_while_iterating(self) -> None:
        def steps(module: Any) -> int:
            cache = module.TTLCache(10_000, 100)
            cache[0] = 0
            count = 0
            for key in itertools.islice(cache, 1_000):
                cache[key + 1] = 0
                count += 1
            return count

        assert steps(cachetools) == 1_000
        assert steps(stand_in) == 1

    def test_a_function_that_asks_for_its_own_key(self) -> None:
        class Impatient(threading.Condition):
            def wait(self, timeout: float | None = None) -> bool:
                raise TimeoutError

        def ask(module: Any) -> int:
            def compute(levels: int) -> int:
                return int(deep(levels - 1)) if levels else 7

            remember = module.cached(
                module.LRUCache(10), key=lambda levels: 1, condition=Impatient()
            )
            deep = remember(compute)
            return int(deep(3))

        with pytest.raises(TimeoutError):
            ask(cachetools)
        assert ask(stand_in) == 7

    def test_one_decorator_for_two_functions(self) -> None:
        def answers(module: Any) -> list[str]:
            decorate = module.lru_cache(10)
            name, other = decorate(lambda number: "one"), decorate(lambda number: "other")
            return [name(1), other(1)]

        assert answers(cachetools_func) == ["one", "one"]
        assert answers(stand_in_func) == ["one", "other"]

    def test_what_has_expired(self) -> None:
        def fill(module: Any) -> tuple[Any, weakref.ref[Thing]]:
            cache = module.TTLCache(10, 0.02)
            thing = cache["key"] = Thing()
            return cache, weakref.ref(thing)

        (theirs, kept), (ours, gone) = fill(cachetools), fill(stand_in)
        end = time.monotonic() + 30
        while gone() is not None and time.monotonic() < end:
            time.sleep(0.1)
        assert gone() is None and not ours
        assert kept() is not None
        theirs["another"] = 1
        assert kept() is None

    @pytest.mark.parametrize("kind", ["LRUCache", "FIFOCache"])
    def test_the_order_of_iteration(self, kind: str) -> None:
        def order(module: Any) -> tuple[list[str], str]:
            cache = getattr(module, kind)(3)
            cache.update(a=1, b=2, c=3)
            cache["a"] = 1
            return list(cache), cache.popitem()[0]

        assert order(cachetools) == (["a", "b", "c"], "b")
        assert order(stand_in) == (["b", "c", "a"], "b")

    def test_what_choice_is_given(self) -> None:
        def given(module: Any) -> Any:
            seen: list[Any] = []

            def choice(keys: Any) -> Any:
                seen.append(keys)
                return keys[0]

            cache = module.RRCache(1, choice=choice)
            cache["a"] = cache["b"] = 1
            return seen[0]

        assert isinstance(given(cachetools), list)
        assert not isinstance(given(stand_in), list)
        assert isinstance(given(stand_in), Sequence)

    def test_what_a_method_leaves_in_its_instance(self) -> None:
        def left(module: Any) -> tuple[bool, bool]:
            class Report:
                def __init__(self) -> None:
                    self.cache = module.LRUCache(10)

                double = module.cachedmethod(lambda self: self.cache)(lambda self, n: 2 * n)

            gc.disable()
            try:
                report = Report()
                report.double(2)
                has_wrapper = "double" in vars(report)
                gone = weakref.ref(report)
                del report
                return has_wrapper, gone() is not None
            finally:
                gc.enable()

        assert left(cachetools) == (True, True)
        assert left(stand_in) == (False, False)


class TestCachebox:
    @pytest.fixture
    def cachebox(self) -> Any:
        return pytest.importorskip("cachebox")

    def test_no_entries(self, cachebox: Any) -> None:
        theirs, ours = cachebox.LRUCache(0), leaksafe.LRUCache[int, int](0)
        theirs[1] = ours[1] = 1
        assert (len(theirs), len(ours)) == (1, 0)

    def test_the_default_bound(self, cachebox: Any) -> None:
        theirs, ours = cachebox.cached(None)(str), leaksafe.cached(lambda number: str(number))
        for number in range(1_000):
            theirs(number)
            ours(number)
        assert len(theirs.cache) == 1_000
        assert ours.cache_info().currsize == 128

    def test_a_cached_method_and_its_instance(self, cachebox: Any) -> None:
        assert outlives(cachebox.cached(cachebox.LRUCache(10)))
        assert not outlives(leaksafe.cached)
        assert not outlives(leaksafe.cached(leaksafe.LRUCache(10)))

    def test_what_has_expired(self, cachebox: Any) -> None:
        def fill(cache: Any) -> weakref.ref[Thing]:
            thing = cache["key"] = Thing()
            return weakref.ref(thing)

        theirs, ours = cachebox.TTLCache(10, 0.02), leaksafe.TTLCache[str, Thing](10, 0.02)
        kept, gone = fill(theirs), fill(ours)
        end = time.monotonic() + 30
        while gone() is not None and time.monotonic() < end:
            time.sleep(0.1)
        assert gone() is None
        assert kept() is not None

    def test_copies_of_results(self, cachebox: Any) -> None:
        def one(decorate: Decorator) -> bool:
            f = decorate(list)
            return f() is f()

        assert not one(cachebox.cached(cachebox.LRUCache(10)))
        assert one(leaksafe.cached)
        assert not one(leaksafe.cached(copy=True))

    def test_calls_in_other_words(self, cachebox: Any) -> None:
        assert calls_in_other_words(cachebox.cached(cachebox.LRUCache(10))) == 2
        assert calls_in_other_words(leaksafe.cached) == 1
        assert calls_in_other_words(leaksafe.cached(normalize=False)) == 2

    def test_equality(self, cachebox: Any) -> None:
        def equal(cache: Any) -> tuple[bool, bool]:
            small, large = cache(10), cache(20)
            small[1] = large[1] = 1
            return small == large, small == {1: 1}

        assert equal(cachebox.LRUCache) == (False, False)
        assert equal(leaksafe.LRUCache) == (True, True)

    def test_names(self, cachebox: Any) -> None:
        cache = cachebox.LRUCache(10)
        ours = leaksafe.LRUCache[str, int](10)
        for key in "abc":
            assert cache.setdefault_with(key, lambda: 1) == ours.get_or_create(key, lambda: 1)
        assert cache.least_recently_used() == next(iter(ours)) == "a"
        assert cache.most_recently_used() == next(reversed(ours)) == "c"


class TestAsyncLru:
    @pytest.fixture
    def alru_cache(self) -> Any:
        return pytest.importorskip("async_lru").alru_cache

    def test_a_cached_method_and_its_instance(self, alru_cache: Any) -> None:
        def kept(decorate: Decorator) -> bool:
            class Client:
                @decorate
                async def fetch(self) -> int:
                    return 1

            async def main() -> bool:
                client = Client()
                await client.fetch()
                gone = weakref.ref(client)
                del client
                gc.collect()
                return gone() is not None

            return asyncio.run(main())

        assert kept(alru_cache)
        assert not kept(leaksafe.cached)

    @pytest.mark.filterwarnings("ignore")
    def test_another_event_loop(self, alru_cache: Any) -> None:
        def computed(decorate: Decorator) -> int:
            calls = []

            @decorate
            async def f() -> None:
                calls.append(1)

            asyncio.run(f())
            asyncio.run(f())
            return len(calls)

        assert computed(alru_cache) == 2
        assert computed(leaksafe.cached) == 1

    def test_asking_for_its_own_key(self, alru_cache: Any) -> None:
        def ends(decorate: Decorator) -> bool:
            depth = []

            @decorate
            async def f() -> int:
                depth.append(1)
                return 1 if len(depth) > 1 else 1 + await f()

            async def main() -> bool:
                with suppress(TimeoutError):
                    async with asyncio.timeout(0.3 if decorate is alru_cache else 60):
                        return bool(await f() == 2)
                return False

            return asyncio.run(main())

        assert not ends(alru_cache)
        assert ends(leaksafe.cached)

    def test_failures(self, alru_cache: Any) -> None:
        def errors(decorate: Decorator) -> int:
            @decorate
            async def f() -> None:
                await asyncio.sleep(0)
                raise ValueError

            async def main() -> int:
                found = await asyncio.gather(f(), f(), f(), return_exceptions=True)
                assert all(isinstance(one, ValueError) for one in found)
                return len({id(one) for one in found})

            return asyncio.run(main())

        assert errors(alru_cache) == 1
        assert errors(leaksafe.cached) == 3

    def test_calls_in_other_words(self, alru_cache: Any) -> None:
        def computed(decorate: Decorator) -> int:
            calls = []

            @decorate
            async def f(x: int) -> None:
                calls.append(x)

            async def main() -> int:
                await f(1)
                await f(x=1)
                return len(calls)

            return asyncio.run(main())

        assert computed(alru_cache) == 2
        assert computed(leaksafe.cached) == 1
