"""Subclasses of a cache, its closing, and many threads."""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Callable
from typing import Any

import pytest

from contract_maker import KEYED_OPERATIONS, Maker
from harness import Boom, in_threads


class LifeContract(Maker):
    """The tests; see the module."""

    # Subclasses

    def test_missing(self) -> None:
        asked: list[Any] = []

        def missing(self: Any, key: Any) -> Any:
            asked.append(key)
            return f"made {key}"

        cache = self.subclass(__missing__=missing)(3)
        assert cache["a"] == "made a"
        assert "a" not in cache
        cache["b"] = 1
        assert cache["b"] == 1
        assert cache.get("c") is None
        assert cache.get("c", 5) == 5
        assert cache.peek("c") is None
        assert "c" not in cache
        with pytest.raises(KeyError):
            cache.pop("c")
        with pytest.raises(KeyError):
            del cache["c"]
        assert asked == ["a"]

    def test_missing_may_store(self) -> None:
        def missing(self: Any, key: Any) -> Any:
            self[key] = key * 2
            return self[key]

        cache = self.subclass(__missing__=missing)(2)
        assert [cache[number] for number in range(5)] == [0, 2, 4, 6, 8]
        assert len(cache) == 2

    def test_missing_may_raise(self) -> None:
        def missing(self: Any, key: Any) -> Any:
            raise Boom(key)

        cache = self.subclass(__missing__=missing)(2)
        with pytest.raises(Boom, match="a"):
            cache["a"]

    def test_missing_of_the_base_raises_key_error(self) -> None:
        def missing(self: Any, key: Any) -> Any:
            return super(Sub, self).__missing__(key)  # type: ignore[misc]

        Sub = self.subclass(__missing__=missing)
        for cache in (Sub(2), self.make(2)):
            with pytest.raises(KeyError) as caught:
                cache[(1, 2)]
            assert caught.value.args == ((1, 2),)
            with pytest.raises(KeyError) as caught:
                cache.__missing__((1, 2))
            assert caught.value.args == ((1, 2),)

    def test_subclass_with_its_own_init(self) -> None:
        def init(self: Any, name: str, *, size: int = 2) -> None:
            super(Sub, self).__init__(size, on_remove=self.removed)  # type: ignore[call-arg]
            self.name = name
            self.heard = []

        def removed(self: Any, *event: Any) -> None:
            self.heard.append(event)

        Sub = self.subclass(__init__=init, removed=removed)
        cache = Sub("mine", size=1)
        assert cache.name == "mine"
        assert cache.maxsize == 1
        cache.update(a=1, b=2)
        assert cache.heard == [("a", 1, "size")]

    def test_subclass_through_multiple_inheritance(self) -> None:
        class Mixin:
            def doubled(self) -> int:
                return 2 * len(self)  # type: ignore[arg-type]

        Both = types.new_class("Both", (Mixin, self.cache_class))
        cache = Both(5)
        cache["a"] = 1
        assert cache.doubled() == 2

    def test_subclass_is_collected_with_what_it_holds(self) -> None:
        cache = self.subclass()(3)
        cache.me = cache
        reference = weakref.ref(cache)
        del cache
        gc.collect()
        assert reference() is None

    def test_subclass_can_override_a_special_method_and_call_the_base(self) -> None:
        def setitem(self: Any, key: Any, value: Any) -> None:
            super(Sub, self).__setitem__(key.upper(), value)  # type: ignore[misc]

        Sub = self.subclass(__setitem__=setitem)
        cache = Sub(3)
        cache["a"] = 1
        assert dict(cache) == {"A": 1}

    # Life

    def test_close(self) -> None:
        cache, events = self.recording(3)
        cache.update(a=1, b=2)
        assert cache.closed is False
        assert cache.close() is None
        assert cache.closed is True
        assert sorted(events) == [("a", 1, "cleared"), ("b", 2, "cleared")]
        cache.close()
        assert len(events) == 2

    def test_a_closed_cache_reads_as_empty(self) -> None:
        cache = self.filled({"a": 1}, maxsize=3)
        cache.close()
        assert len(cache) == cache.currsize == 0
        assert list(cache) == list(cache.items()) == []
        assert "a" not in cache
        assert cache.get("a", 5) == 5
        assert cache.peek("a") is None
        assert cache.pop("a", 5) == 5
        assert cache == {}
        cache.clear()
        with pytest.raises(KeyError):
            cache["a"]
        with pytest.raises(KeyError):
            del cache["a"]
        with pytest.raises(KeyError):
            cache.popitem()
        assert cache.stats().currsize == 0
        assert isinstance(repr(cache), str)

    @pytest.mark.parametrize(
        "operation", ["setitem", "setdefault", "update", "ior", "get_or_create"]
    )
    def test_a_closed_cache_takes_nothing(self, operation: str) -> None:
        cache = self.make(3)
        cache.close()
        with pytest.raises(RuntimeError, match="closed"):
            KEYED_OPERATIONS[operation](cache, "a")
        assert len(cache) == 0

    def test_close_lets_the_callables_go(self) -> None:
        class Callable_:
            def __call__(self, *arguments: object) -> int:
                return 1

        getsizeof, on_remove = Callable_(), Callable_()
        references = [weakref.ref(getsizeof), weakref.ref(on_remove)]
        cache = self.make(3, getsizeof, on_remove=on_remove)
        cache["a"] = 1
        del getsizeof, on_remove
        assert all(reference() is not None for reference in references)
        cache.close()
        gc.collect()
        assert [reference() for reference in references] == [None, None]

    def test_context_manager(self) -> None:
        with self.make(3) as cache:
            cache["a"] = 1
            assert not cache.closed
        assert cache.closed

    def test_context_manager_lets_exceptions_pass(self) -> None:
        cache = self.make(3)
        with pytest.raises(Boom), cache:
            raise Boom
        assert cache.closed

    def test_without_init(self) -> None:
        cache = self.cache_class.__new__(self.cache_class)
        assert len(cache) == cache.currsize == 0
        assert "a" not in cache
        assert cache.get("a") is None
        assert cache.pop("a", 1) == 1
        assert list(cache.items()) == []
        assert cache == {}
        assert isinstance(repr(cache), str)
        cache.clear()
        with pytest.raises(KeyError):
            cache["a"]
        for operation in ("setitem", "setdefault", "update", "get_or_create"):
            with pytest.raises(RuntimeError, match="__init__"):
                KEYED_OPERATIONS[operation](cache, "a")
        assert len(cache) == 0
        cache.close()
        late = self.cache_class.__new__(self.cache_class)
        late.__init__(3)
        late["a"] = 1
        assert dict(late) == {"a": 1}

    def test_init_that_failed_leaves_it_without_init(self) -> None:
        cache = self.cache_class.__new__(self.cache_class)
        with pytest.raises(ValueError):
            cache.__init__(-1)
        with pytest.raises(RuntimeError, match="__init__"):
            cache["a"] = 1

    def test_init_twice(self) -> None:
        cache = self.filled({"a": 1}, maxsize=3)
        with pytest.raises(RuntimeError, match="__init__"):
            cache.__init__(5)
        assert cache.maxsize == 3
        assert dict(cache) == {"a": 1}

    # Threads

    def test_bound_holds_with_many_threads(self) -> None:
        cache = self.make(16)

        def work(seed: int) -> Callable[[], int]:
            def run() -> int:
                over = 0
                for number in range(2_000):
                    key = (number * seed) % 97
                    cache[key] = -key
                    over += len(cache) > 16
                    got = cache.get((key + 1) % 97)
                    over += got is not None and got != -((key + 1) % 97)
                    cache.pop((key + 2) % 97, None)
                return over

            return run

        assert in_threads(*map(work, (3, 5, 7, 11))) == [0, 0, 0, 0]
        assert len(cache) == cache.currsize == len(list(cache)) <= 16
        assert all(value == -key for key, value in cache.items())
