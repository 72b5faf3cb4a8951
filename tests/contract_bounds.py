"""What a cache keeps and tells: bounds, weights, removals, counts, repr."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import Any

import pytest

from contract_maker import Event, Maker
from harness import Boom, Unraisable, in_threads


class BoundsContract(Maker):
    """The tests; see the module."""

    # Bounds

    def test_bound_by_number(self) -> None:
        cache = self.make(3)
        for number in range(20):
            cache[number] = number
            assert len(cache) == cache.currsize == min(number + 1, 3)
            assert number in cache

    def test_no_bound(self) -> None:
        cache = self.make(None)
        cache.update((number, number) for number in range(5_000))
        assert len(cache) == cache.currsize == 5_000
        assert cache.maxsize is None

    def test_bound_of_zero_keeps_nothing(self) -> None:
        cache, events = self.recording(0)
        cache["a"] = 1
        cache.update(b=2)
        assert cache.setdefault("c", 3) == 3
        assert cache.get_or_create("d", lambda: 4) == 4
        assert events == [
            ("a", 1, "size"),
            ("b", 2, "size"),
            ("c", 3, "size"),
            ("d", 4, "size"),
        ]
        assert len(cache) == cache.currsize == cache.maxsize == 0
        with pytest.raises(KeyError):
            cache["a"]

    def test_bound_of_zero_keeps_nothing_that_has_weight(self) -> None:
        for weight in (0, 1, 7):
            cache, events = self.recording(0, lambda value, weight=weight: weight)
            cache["a"] = 1
            assert events == [("a", 1, "size")]
            assert len(cache) == cache.currsize == 0
            cache.resize(10)
            cache["b"] = 2
            cache.resize(0)
            assert events == [("a", 1, "size"), ("b", 2, "size")]
            assert len(cache) == cache.currsize == 0

    def test_replacing_at_the_bound_evicts_nothing(self) -> None:
        cache, events = self.recording(2)
        cache.update(a=1, b=2)
        cache["a"] = 3
        assert dict(cache) == {"a": 3, "b": 2}
        assert events == [("a", 1, "replaced")]

    def test_resize(self) -> None:
        cache, events = self.recording(5)
        cache.update((number, str(number)) for number in range(5))
        assert cache.resize(2) is None
        assert cache.maxsize == 2
        assert len(cache) == 2
        assert [cause for _, _, cause in events] == ["size"] * 3
        assert {key for key, _, _ in events} | set(cache) == set(range(5))
        cache.resize(10)
        cache.update((number, str(number)) for number in range(100))
        assert len(cache) == 10
        cache.resize(None)
        assert cache.maxsize is None
        cache.update((number, str(number)) for number in range(100))
        assert len(cache) == 100
        cache.resize(maxsize=0)
        assert cache.maxsize == len(cache) == 0

    def test_sizes_cannot_be_assigned(self) -> None:
        cache = self.make(5)
        for name in ("maxsize", "currsize", "closed"):
            with pytest.raises(AttributeError):
                setattr(cache, name, 3)

    # Weights

    def test_bound_by_weight(self) -> None:
        cache, events = self.recording(10, len)
        cache["a"] = "xxxx"
        cache["b"] = "xxxx"
        assert cache.currsize == 8
        cache["c"] = "xxx"
        assert "c" in cache
        assert cache.currsize == sum(map(len, cache.values())) <= 10
        assert [cause for _, _, cause in events] == ["size"]
        cache["d"] = "x" * 10
        assert dict(cache) == {"d": "x" * 10}
        assert cache.currsize == 10
        del cache["d"]
        assert cache.currsize == 0

    def test_weight_by_key_and_value(self) -> None:
        cache = self.make(10, lambda key, value: len(key) + len(value))
        cache["aa"] = "xxx"
        assert cache.currsize == 5
        cache["aa"] = "x"
        assert cache.currsize == 3

    def test_entries_without_weight_are_not_bounded(self) -> None:
        cache = self.make(1, lambda value: 0)
        cache.update((number, number) for number in range(100))
        assert len(cache) == 100
        assert cache.currsize == 0

    def test_replacing_a_value_changes_the_weight(self) -> None:
        cache, events = self.recording(10, len)
        cache.update(a="xxx", b="xxx", c="xxx")
        cache["b"] = "xxxx"
        assert cache.currsize == 10
        assert events == [("b", "xxx", "replaced")]
        cache["b"] = "x"
        assert cache.currsize == 7
        cache["b"] = "x" * 10
        assert dict(cache) == {"b": "x" * 10}
        assert sorted(event for event in events if event[2] == "size") == [
            ("a", "xxx", "size"),
            ("c", "xxx", "size"),
        ]

    @pytest.mark.parametrize(
        "operation",
        [
            lambda cache, key, value: cache.__setitem__(key, value),
            lambda cache, key, value: cache.update({key: value}),
            lambda cache, key, value: cache.__ior__({key: value}),
        ],
        ids=["setitem", "update", "ior"],
    )
    def test_too_heavy(self, operation: Callable[[Any, str, str], object]) -> None:
        cache, events = self.recording(5, len)
        cache.update(a="xx", b="xxx")
        for key in ("a", "new"):
            with pytest.raises(ValueError, match=r"6.*5|5.*6"):
                operation(cache, key, "x" * 6)
            assert dict(cache) == {"a": "xx", "b": "xxx"}
            assert cache.currsize == 5
        assert events == []

    def test_too_heavy_default(self) -> None:
        cache = self.make(5, len)
        cache["a"] = "xx"
        assert cache.setdefault("a", "x" * 6) == "xx"
        with pytest.raises(ValueError, match=r"6.*5|5.*6"):
            cache.setdefault("b", "x" * 6)
        assert dict(cache) == {"a": "xx"}

    def test_resize_by_weight(self) -> None:
        cache, events = self.recording(10, len)
        cache.update(a="xxx", b="xxx", c="xxx")
        cache.resize(5)
        assert len(cache) == 1
        assert cache.currsize == 3
        assert len(events) == 2
        with pytest.raises(ValueError):
            cache["d"] = "x" * 6

    # Removals

    def test_causes(self) -> None:
        cache, events = self.recording(2)
        cache.update(a=1, b=2)
        assert events == []
        cache["a"] = 3
        assert events.pop() == ("a", 1, "replaced")
        del cache["a"]
        assert events.pop() == ("a", 3, "explicit")
        assert cache.pop("b") == 2
        assert events.pop() == ("b", 2, "explicit")
        cache["c"] = 4
        assert cache.popitem() == ("c", 4)
        assert events.pop() == ("c", 4, "explicit")
        cache.update(d=5, e=6)
        cache.clear()
        assert sorted(events) == [("d", 5, "cleared"), ("e", 6, "cleared")]
        events.clear()
        cache.update(f=7, g=8, h=9)
        assert [cause for _, _, cause in events] == ["size"]
        events.clear()
        cache.close()
        assert [cause for _, _, cause in events] == ["cleared", "cleared"]

    def test_what_removes_nothing_is_not_told(self) -> None:
        cache, events = self.recording(3)
        cache["a"] = 1
        cache.pop("b", None)
        cache.setdefault("a", 2)
        cache.get("b")
        cache.resize(5)
        with pytest.raises(KeyError):
            del cache["b"]
        cache.get_or_create("a", lambda: 3)
        cache.update()
        assert events == []

    def test_replacing_a_value_by_itself_is_a_replacement(self) -> None:
        cache, events = self.recording(3)
        value = object()
        cache["a"] = value
        cache["a"] = value
        assert events == [("a", value, "replaced")]

    def test_the_removed_key_is_the_kept_one(self) -> None:
        cache, events = self.recording(3)
        cache[1] = "int"
        cache[True] = "bool"
        assert events == [(1, "int", "replaced")]
        del cache[1.0]
        key, value, cause = events[1]
        assert (type(key), value, cause) == (int, "bool", "explicit")

    def test_on_remove_runs_after_the_change(self) -> None:
        seen: list[tuple[dict[Any, Any], int]] = []
        cache: Any = None

        def on_remove(key: Any, value: Any, cause: str) -> None:
            seen.append((dict(cache), cache.currsize))

        cache = self.make(1, on_remove=on_remove)
        cache["a"] = 1
        cache["b"] = 2
        cache["b"] = 3
        cache.clear()
        assert seen == [({"b": 2}, 1), ({"b": 3}, 1), ({}, 0)]

    def test_on_remove_may_be_any_callable(self) -> None:
        class Listener:
            def __init__(self) -> None:
                self.heard: list[Event] = []

            def __call__(self, *event: Any) -> None:
                self.heard.append(event)

            def method(self, key: Any, value: Any, cause: str) -> None:
                self.heard.append((key, value, cause))

        listener = Listener()
        for on_remove in (listener, listener.method):
            cache = self.make(0, on_remove=on_remove)
            cache["a"] = 1
        assert listener.heard == [("a", 1, "size")] * 2

    def test_what_on_remove_raises_is_reported_and_the_operation_succeeds(
        self, unraisables: list[Unraisable]
    ) -> None:
        def on_remove(key: Any, value: Any, cause: str) -> None:
            raise Boom(cause)

        cache = self.make(2, on_remove=on_remove)
        cache.update(a=1, b=2)
        cache["a"] = 3
        cache["c"] = 4
        assert len(cache) == 2
        assert "c" in cache
        assert cache.pop("c") == 4
        cache.clear()
        assert len(cache) == 0
        causes = [str(report.exception) for report in unraisables]
        assert causes == ["replaced", "size", "explicit", "cleared"]
        for report in unraisables:
            assert isinstance(report.exception, Boom)
            assert report.source is cache

    def test_on_remove_of_the_wrong_signature_is_reported(
        self, unraisables: list[Unraisable]
    ) -> None:
        cache = self.make(0, on_remove=lambda: None)
        cache["a"] = 1
        assert [type(report.exception) for report in unraisables] == [TypeError]

    def test_a_dropped_cache_tells_nobody(self) -> None:
        cache, events = self.recording(3)
        cache.update(a=1, b=2)
        del cache
        gc.collect()
        assert events == []

    # Counting

    def test_stats_count_hits_and_misses(self) -> None:
        cache = self.filled({"a": 1}, maxsize=3)
        before = cache.stats()
        assert (before.hits, before.misses) == (0, 0)
        assert before.hit_ratio == 0.0
        cache["a"]
        cache.get("a")
        cache.get_or_create("a", lambda: 2)
        with pytest.raises(KeyError):
            cache["b"]
        cache.get("b")
        cache.get("b", 3)
        cache.get_or_create("c", lambda: 2)
        cache.setdefault("a", 3)
        cache.setdefault("d", 3)
        stats = cache.stats()
        assert (stats.hits, stats.misses) == (4, 5)
        assert stats.hit_ratio == pytest.approx(4 / 9)
        assert (before.hits, before.misses) == (0, 0)

    def test_looking_without_using_is_not_counted(self) -> None:
        cache = self.filled({"a": 1}, maxsize=3)
        assert "a" in cache
        assert "b" not in cache
        cache.peek("a")
        cache.peek("b")
        cache["a"] = 1
        cache.pop("b", None)
        list(cache.items())
        assert cache == {"a": 1}
        repr(cache)
        cache.copy()
        stats = cache.stats()
        assert (stats.hits, stats.misses) == (0, 0)

    def test_stats_count_insertions_and_removals(self) -> None:
        cache = self.make(2)
        cache.update(a=1, b=2, c=3)
        cache["c"] = 4
        del cache["c"]
        cache.resize(5)
        cache.update(d=5, e=6)
        cache.clear()
        cache["f"] = 7
        stats = cache.stats()
        assert stats.removals.size == 1
        assert stats.removals.replaced == 1
        assert stats.removals.explicit == 1
        assert stats.removals.cleared == 3
        assert stats.removals.expired == 0
        assert stats.removals.collected == 0
        assert stats.insertions == 6
        assert stats.currsize == 1
        assert stats.maxsize == 5
        assert stats._fields == (
            "hits",
            "misses",
            "insertions",
            "removals",
            "currsize",
            "maxsize",
        )
        assert stats.removals._fields == (
            "size",
            "replaced",
            "explicit",
            "expired",
            "cleared",
            "collected",
        )

    def test_stats_of_what_has_no_bound(self) -> None:
        stats = self.make(None).stats()
        assert stats.maxsize is None
        assert stats.currsize == 0
        assert stats.insertions == 0
        assert sum(stats.removals) == 0

    # repr

    def test_repr(self) -> None:
        name = self.cache_class.__name__
        cache = self.filled({1: 2, "a": "b"}, maxsize=3)
        text = repr(cache)
        assert text.startswith(f"{name}({{1: 2, 'a': 'b'}}, maxsize=3, currsize=2")
        assert text.endswith(")")
        assert f"{cache}" == text
        assert "maxsize=None" in repr(self.make(None))
        assert repr(self.make(2)).startswith(f"{name}({{}}, maxsize=2, currsize=0")

    def test_repr_of_what_holds_itself(self) -> None:
        name = self.cache_class.__name__
        cache = self.make(3)
        cache["self"] = cache
        cache["list"] = [cache]
        text = repr(cache)
        assert text.startswith(f"{name}({{'self': {name}(...), 'list': [{name}(...)]}}")
        assert repr(cache) == text
        assert in_threads(lambda: repr(cache), lambda: repr(cache)) == [text, text]
        cache.clear()

    def test_repr_of_many_is_abbreviated(self) -> None:
        cache = self.filled(dict.fromkeys(range(10_000)))
        text = repr(cache)
        assert "..." in text
        assert len(text) < 5_000
        assert "currsize=10000" in text
        assert "..." not in repr(self.filled(dict.fromkeys(range(100))))

    def test_repr_that_raises(self) -> None:
        class BadRepr:
            def __repr__(self) -> str:
                raise Boom

        cache = self.filled({1: BadRepr()})
        for _ in range(2):
            with pytest.raises(Boom):
                repr(cache)
        cache[1] = "good"
        assert "good" in repr(cache)

    def test_repr_names_the_subclass(self) -> None:
        assert repr(self.subclass()(3)).startswith("Sub({}, maxsize=3")

    def test_repr_nested_too_deep(self) -> None:
        outer = self.make(1)
        for _ in range(100_000):
            inner, outer = outer, self.make(1)
            outer[1] = inner
        with pytest.raises(RecursionError):
            repr(outer)

    def test_equality_nested_too_deep(self) -> None:
        chains = []
        for _ in range(2):
            outer = self.make(1)
            for _ in range(100_000):
                inner, outer = outer, self.make(1)
                outer[1] = inner
            chains.append(outer)
        first, second = chains
        with pytest.raises(RecursionError):
            first == second
