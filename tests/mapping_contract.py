"""What every cache of the package does as a mapping.

A test class inherits from `MappingContract` and names its `cache_class`. Nothing here depends on
which entry a cache evicts first: that is for the tests of each class.
"""

from __future__ import annotations

import collections
import gc
import sys
import types
import weakref
from collections.abc import Callable, Hashable, Iterator, Mapping, MutableMapping
from typing import Any, ClassVar

import pytest

from harness import BadEq, BadHash, Boom, Colliding, Unraisable, in_threads

Event = tuple[Any, Any, str]


KEYED_OPERATIONS: dict[str, Callable[[Any, Any], object]] = {
    "getitem": lambda cache, key: cache[key],
    "setitem": lambda cache, key: cache.__setitem__(key, "new"),
    "delitem": lambda cache, key: cache.__delitem__(key),
    "contains": lambda cache, key: key in cache,
    "get": lambda cache, key: cache.get(key, "default"),
    "peek": lambda cache, key: cache.peek(key, "default"),
    "pop": lambda cache, key: cache.pop(key, "default"),
    "setdefault": lambda cache, key: cache.setdefault(key, "new"),
    "update": lambda cache, key: cache.update([(key, "new")]),
    "ior": lambda cache, key: cache.__ior__([(key, "new")]),
    "get_or_create": lambda cache, key: cache.get_or_create(key, lambda: "new"),
    "keys": lambda cache, key: key in cache.keys(),
    "items": lambda cache, key: (key, "new") in cache.items(),
}

keyed_operations = pytest.mark.parametrize("operation", KEYED_OPERATIONS)


class MappingContract:
    """The tests; see the module."""

    cache_class: ClassVar[Any]

    def make(
        self,
        maxsize: int | None,
        getsizeof: Callable[..., int] | None = None,
        **options: Any,
    ) -> Any:
        """Make an empty cache."""
        return self.cache_class(maxsize, getsizeof, **options)

    def filled(self, content: Mapping[Any, Any], maxsize: int | None = None) -> Any:
        """Make a cache that holds `content`."""
        cache = self.make(maxsize)
        for key, value in content.items():
            cache[key] = value
        return cache

    def recording(
        self,
        maxsize: int | None,
        getsizeof: Callable[..., int] | None = None,
    ) -> tuple[Any, list[Event]]:
        """Make an empty cache, and the list to which its `on_remove` adds."""
        events: list[Event] = []

        def on_remove(key: Any, value: Any, cause: str) -> None:
            events.append((key, value, cause))

        return self.make(maxsize, getsizeof, on_remove=on_remove), events

    def subclass(self, **namespace: Any) -> Any:
        """Make a subclass of the class under test."""
        return types.new_class("Sub", (self.cache_class,), {}, lambda ns: ns.update(namespace))

    # What it is

    def test_is_a_mutable_mapping(self) -> None:
        assert issubclass(self.cache_class, MutableMapping)
        assert isinstance(self.make(3), MutableMapping)

    def test_matches_mapping_patterns(self) -> None:
        match self.filled({"kind": "circle", "radius": 2, "color": "red"}):
            case {"kind": "circle", "radius": radius, **rest}:
                assert radius == 2
                assert rest == {"color": "red"}
            case _:
                pytest.fail("a mapping pattern doesn't match the cache")
        match self.filled({"kind": "circle"}):
            case {"radius": _}:
                pytest.fail("a mapping pattern matches a key that isn't there")
            case {}:
                pass
            case _:
                pytest.fail("the empty mapping pattern doesn't match the cache")

    def test_can_be_referenced_weakly(self) -> None:
        cache = self.make(3)
        reference = weakref.ref(cache)
        assert reference() is cache
        del cache
        gc.collect()
        assert reference() is None

    def test_is_generic_at_runtime(self) -> None:
        alias: Any = self.cache_class[int, str]
        assert type(alias).__name__ == "GenericAlias"
        assert alias.__origin__ is self.cache_class
        assert alias.__args__ == (int, str)
        cache = alias(3)
        assert type(cache) is self.cache_class
        assert cache.maxsize == 3

    def test_unpacks_as_keyword_arguments(self) -> None:
        def function(**arguments: Any) -> dict[str, Any]:
            return arguments

        assert function(**self.filled({"a": 1, "b": 2})) == {"a": 1, "b": 2}
        assert {**self.filled({"a": 1}), "b": 2} == {"a": 1, "b": 2}
        assert dict(self.filled({1: 2})) == {1: 2}

    # Reading and writing

    def test_empty(self) -> None:
        cache = self.make(3)
        assert len(cache) == 0
        assert not cache
        assert list(cache) == []
        assert cache.currsize == 0
        assert 1 not in cache
        assert cache.get(1) is None

    def test_set_get_delete(self) -> None:
        cache = self.make(3)
        cache["a"] = 1
        cache["b"] = 2
        assert cache["a"] == 1
        assert cache["b"] == 2
        assert len(cache) == 2
        assert bool(cache) is True
        cache["a"] = 3
        assert cache["a"] == 3
        assert len(cache) == 2
        del cache["a"]
        assert "a" not in cache
        assert dict(cache) == {"b": 2}

    @pytest.mark.parametrize("key", [1, None, "x", (), (1, 2), ("a",), float("nan"), frozenset()])
    def test_missing_key_is_a_key_error_with_the_key(self, key: Hashable) -> None:
        cache = self.filled({"other": 1})
        for operation in ("__getitem__", "__delitem__", "pop"):
            with pytest.raises(KeyError) as caught:
                getattr(cache, operation)(key)
            assert len(caught.value.args) == 1
            assert caught.value.args[0] is key
            assert caught.value.__context__ is None
        assert dict(cache) == {"other": 1}

    def test_get(self) -> None:
        default = object()
        cache = self.filled({"a": None})
        assert cache.get("a", default) is None
        assert cache.get("b") is None
        assert cache.get("b", default) is default
        assert cache.get("b", default=default) is default
        assert "b" not in cache

    def test_pop(self) -> None:
        default = object()
        cache = self.filled({"a": 1, "b": 2})
        assert cache.pop("a") == 1
        assert cache.pop("a", default) is default
        assert cache.pop("a", None) is None
        assert cache.pop("b", default) == 2
        assert len(cache) == 0

    def test_popitem(self) -> None:
        content = {"a": 1, "b": 2, "c": 3}
        cache = self.filled(content)
        popped = []
        while cache:
            pair = cache.popitem()
            assert type(pair) is tuple
            assert pair[0] not in cache
            popped.append(pair)
        assert sorted(popped) == sorted(content.items())
        with pytest.raises(KeyError, match="empty"):
            cache.popitem()

    def test_setdefault(self) -> None:
        first, second = object(), object()
        cache = self.make(5)
        assert cache.setdefault("a", first) is first
        assert cache.setdefault("a", second) is first
        assert cache["a"] is first
        assert cache.setdefault("b") is None
        assert cache["b"] is None
        assert cache.setdefault("b", first) is None
        assert cache.setdefault("c", default=second) is second

    def test_peek(self) -> None:
        default = object()
        cache = self.filled({"a": None})
        assert cache.peek("a", default) is None
        assert cache.peek("b") is None
        assert cache.peek("b", default) is default
        assert cache.peek("b", default=default) is default
        assert "b" not in cache

    def test_clear(self) -> None:
        cache = self.filled({1: 1, 2: 2})
        assert cache.clear() is None
        assert len(cache) == 0
        assert cache.currsize == 0
        cache[3] = 3
        assert dict(cache) == {3: 3}

    def test_values_are_the_objects_that_were_put_in(self) -> None:
        key, value = (1, "key"), object()
        cache = self.make(3)
        cache[key] = value
        assert cache[key] is value
        assert cache.get((1, "key")) is value
        assert next(iter(cache)) is key
        pair = cache.popitem()
        assert pair[0] is key
        assert pair[1] is value

    @pytest.mark.parametrize(
        ("operation", "arguments", "keywords"),
        [
            ("get", (), {}),
            ("get", (1, 2, 3), {}),
            ("get", (1,), {"other": 2}),
            ("pop", (), {}),
            ("pop", (1, 2, 3), {}),
            ("popitem", (1,), {}),
            ("setdefault", (), {}),
            ("setdefault", (1, 2, 3), {}),
            ("peek", (), {}),
            ("clear", (1,), {}),
            ("keys", (1,), {}),
            ("values", (1,), {}),
            ("items", (1,), {}),
            ("copy", (1,), {}),
            ("update", ({}, {}), {}),
            ("resize", (), {}),
            ("get_or_create", (1,), {}),
            ("__getitem__", (), {}),
            ("__setitem__", (1,), {}),
            ("__contains__", (), {}),
        ],
    )
    def test_wrong_number_of_arguments(
        self, operation: str, arguments: tuple[Any, ...], keywords: dict[str, Any]
    ) -> None:
        cache = self.filled({1: "one"})
        with pytest.raises(TypeError):
            getattr(cache, operation)(*arguments, **keywords)
        assert dict(cache) == {1: "one"}

    # Many at once

    def test_update_takes_what_dict_takes(self) -> None:
        class KeysOnly:
            def keys(self) -> list[str]:
                return ["k"]

            def __getitem__(self, key: str) -> str:
                return key * 2

        def pairs() -> Iterator[tuple[str, int]]:
            yield "g", 1

        cache = self.make(None)
        assert cache.update() is None
        cache.update({"a": 1})
        cache.update([("b", 2), ["c", 3], "de"])
        cache.update(x=4)
        cache.update({"a": 5}, y=6)
        cache.update(KeysOnly())
        cache.update(pairs())
        cache.update(self.filled({"other": 7}))
        cache.update(types.MappingProxyType({"proxy": 8}))
        assert dict(cache) == {
            "a": 5,
            "b": 2,
            "c": 3,
            "d": "e",
            "x": 4,
            "y": 6,
            "k": "kk",
            "g": 1,
            "other": 7,
            "proxy": 8,
        }

    def test_update_takes_any_keyword(self) -> None:
        cache = self.make(None)
        cache.update(self=1, other=2, key=3, default=4, maxsize=5)
        assert dict(cache) == {"self": 1, "other": 2, "key": 3, "default": 4, "maxsize": 5}
        assert cache.maxsize is None

    def test_update_with_itself(self) -> None:
        cache = self.filled({1: "one", 2: "two"}, maxsize=2)
        cache.update(cache)
        assert dict(cache) == {1: "one", 2: "two"}

    @pytest.mark.parametrize(
        ("other", "error"),
        [
            (42, TypeError),
            (None, TypeError),
            ([1], TypeError),
            ([(1, 2, 3)], ValueError),
            ([(1,)], ValueError),
            (["abc"], ValueError),
        ],
    )
    def test_update_refuses_what_dict_refuses(self, other: object, error: type[Exception]) -> None:
        cache = self.filled({1: "one"})
        with pytest.raises(error):
            dict[Any, Any]().update(other)  # type: ignore[call-overload]
        with pytest.raises(error):
            cache.update(other)
        assert dict(cache) == {1: "one"}

    def test_update_that_fails_half_way_keeps_what_came_before(self) -> None:
        def pairs() -> Iterator[tuple[int, str]]:
            yield 1, "one"
            yield 2, "two"
            raise Boom

        cache = self.make(None)
        with pytest.raises(Boom):
            cache.update(pairs())
        assert dict(cache) == {1: "one", 2: "two"}

    def test_update_of_many_stays_in_bounds(self) -> None:
        cache = self.make(3)
        cache.update((number, number) for number in range(100))
        assert len(cache) == 3

    def test_or(self) -> None:
        cache = self.filled({1: "one", 2: "two"}, maxsize=4)
        merged = cache | {2: "TWO", 3: "three"}
        assert type(merged) is self.cache_class
        assert merged.maxsize == 4
        assert dict(merged) == {1: "one", 2: "TWO", 3: "three"}
        assert dict(cache) == {1: "one", 2: "two"}
        assert dict(cache | self.filled({5: "five"})) == {1: "one", 2: "two", 5: "five"}
        assert len(cache | dict.fromkeys(range(100))) == 4

    def test_reflected_or(self) -> None:
        cache = self.filled({1: "one", 2: "two"}, maxsize=4)
        merged = {2: "TWO", 3: "three"} | cache
        assert type(merged) is self.cache_class
        assert dict(merged) == {1: "one", 2: "two", 3: "three"}
        assert merged.maxsize == 4
        assert dict(cache) == {1: "one", 2: "two"}

    def test_or_in_place(self) -> None:
        same = cache = self.filled({1: "one"}, maxsize=2)
        cache |= {2: "two"}
        cache |= [(1, "ONE")]
        assert cache is same
        assert dict(cache) == {1: "ONE", 2: "two"}
        cache |= {3: 3, 4: 4}
        assert len(cache) == 2

    @pytest.mark.parametrize("other", [1, None, "text", [(1, 2)]])
    def test_or_refuses_what_is_no_mapping(self, other: object) -> None:
        cache = self.filled({1: "one"})
        with pytest.raises(TypeError):
            cache | other
        with pytest.raises(TypeError):
            other | cache

    # Equality

    def test_equals_any_mapping_with_the_same_items(self) -> None:
        content = {1: "one", "two": 2, None: None}
        cache = self.filled(content)
        for same in (
            content,
            dict(reversed(content.items())),
            self.filled(content, maxsize=17),
            collections.OrderedDict(reversed(content.items())),
            collections.UserDict(content),
            collections.ChainMap(content),
            types.MappingProxyType(content),
        ):
            assert cache == same
            assert same == cache
            assert not (cache != same)
            assert not (same != cache)
        for other in (
            {},
            {1: "one"},
            content | {"more": 1},
            content | {1: "ONE"},
            list(content.items()),
            None,
            object(),
            self.filled({1: "one"}),
        ):
            assert cache != other
            assert other != cache
            assert not (cache == other)

    def test_equality_of_values_takes_identity_for_equality(self) -> None:
        nan = float("nan")
        cache = self.filled({1: nan})
        assert cache == {1: nan}
        assert cache != {1: float("nan")}

    def test_equality_asks_the_values(self) -> None:
        class Anything:
            def __eq__(self, other: object) -> bool:
                return True

            __hash__ = None  # type: ignore[assignment]

        class Refusing:
            def __eq__(self, other: object) -> bool:
                raise Boom

            __hash__ = None  # type: ignore[assignment]

        assert self.filled({1: Anything()}) == {1: "what"}
        with pytest.raises(Boom):
            self.filled({1: Refusing()}) == {1: "what"}

    def test_has_no_order_and_no_hash(self) -> None:
        cache = self.make(3)
        with pytest.raises(TypeError):
            cache < cache
        with pytest.raises(TypeError, match="unhashable"):
            hash(cache)
        assert not isinstance(cache, Hashable)
        assert cache is not None

    # Keys

    def test_equal_keys_are_one_key_and_the_first_stays(self) -> None:
        for first, others in (
            (1, (1.0, True)),
            (1.0, (1, True)),
            (True, (1, 1.0)),
            ("text", (str(b"text", "ascii"),)),
            ((1, "a"), ((1.0, "a"), (True, "a"))),
            (Colliding("x"), (Colliding("x"),)),
            (0, (-0.0, False)),
        ):
            cache = self.make(3)
            cache[first] = "first"
            for other in others:
                assert other in cache
                assert cache[other] == "first"
                cache[other] = "other"
                assert len(cache) == 1
                assert next(iter(cache)) is first
                assert cache[first] == "other"
                cache[first] = "first"

    def test_keys_with_equal_hashes_are_told_apart(self) -> None:
        keys = [
            -1,
            -2,
            0,
            sys.hash_info.modulus,
            1,
            sys.hash_info.modulus + 1,
            Colliding(1),
            Colliding(2),
            (-1,),
            (-2,),
            "",
        ]
        cache = self.make(None)
        for number, key in enumerate(keys):
            cache[key] = number
        assert [cache[key] for key in keys] == list(range(len(keys)))
        assert len(cache) == len(keys)
        for number, key in enumerate(keys):
            assert cache.pop(key) == number
            assert key not in cache
            assert [cache[rest] for rest in keys[number + 1 :]] == list(
                range(number + 1, len(keys))
            )

    def test_many_colliding_keys(self) -> None:
        cache = self.make(50)
        for number in range(200):
            cache[Colliding(number)] = number
            assert cache[Colliding(number)] == number
        assert len(cache) == 50
        assert sorted(cache.values()) == sorted(key.name for key in cache)

    def test_subclasses_of_str_and_int_may_have_their_own_equality(self) -> None:
        class Text(str):
            __slots__ = ()

            def __hash__(self) -> int:
                return hash(self.lower())

            def __eq__(self, other: object) -> bool:
                return isinstance(other, str) and self.lower() == other.lower()

        class Number(int):
            def __hash__(self) -> int:
                return int.__hash__(self)

            def __eq__(self, other: object) -> bool:
                return self is other

        cache = self.make(None)
        cache["abc"] = 1
        assert cache[Text("ABC")] == 1
        cache[Text("XYZ")] = 2
        assert cache["xyz"] == 2
        one = Number(1)
        cache[one] = "the number"
        assert cache[one] == "the number"
        assert Number(1) not in cache

    def test_a_key_is_found_by_identity_first(self) -> None:
        nan = float("nan")
        refusing = BadEq()
        cache = self.make(None)
        cache[nan] = "nan"
        cache[refusing] = "refusing"
        assert cache[nan] == "nan"
        assert float("nan") not in cache
        assert cache[refusing] == "refusing"
        assert refusing in cache
        del cache[refusing], cache[nan]
        assert len(cache) == 0

    @keyed_operations
    @pytest.mark.parametrize("key", [[], {}, (1, []), set()])
    def test_unhashable_keys(self, operation: str, key: object) -> None:
        cache = self.filled({1: "one"}, maxsize=1)
        with pytest.raises(TypeError, match="unhashable type"):
            KEYED_OPERATIONS[operation](cache, key)
        assert dict(cache) == {1: "one"}

    @keyed_operations
    def test_keys_whose_hash_raises(self, operation: str) -> None:
        cache = self.filled({1: "one"}, maxsize=1)
        with pytest.raises(Boom, match="hash"):
            KEYED_OPERATIONS[operation](cache, BadHash())
        assert dict(cache) == {1: "one"}

    @keyed_operations
    def test_keys_whose_equality_raises(self, operation: str) -> None:
        cache = self.make(1)
        cache[7] = "seven"
        with pytest.raises(Boom, match="eq"):
            KEYED_OPERATIONS[operation](cache, BadEq())
        assert dict(cache) == {7: "seven"}
        assert cache.currsize == 1

    @keyed_operations
    def test_keys_whose_equality_has_no_truth(self, operation: str) -> None:
        class NoTruth:
            def __bool__(self) -> bool:
                raise Boom("truth")

        class Elementwise:
            def __hash__(self) -> int:
                return 7

            def __eq__(self, other: object) -> Any:
                return NoTruth()

        cache = self.make(1)
        cache[7] = "seven"
        with pytest.raises(Boom, match="truth"):
            KEYED_OPERATIONS[operation](cache, Elementwise())
        assert dict(cache) == {7: "seven"}

    def test_a_key_whose_hash_fails_later_harms_nothing(self) -> None:
        key = BadHash()
        key.failing = False
        cache = self.make(3)
        cache[key] = "bad"
        key.failing = True
        with pytest.raises(Boom):
            cache[key]
        for number in range(10):
            cache[number] = number
        assert len(cache) == 3
        assert all(key is not other for other in cache)
        key.failing = False
        cache[key] = "again"
        key.failing = True
        cache.clear()
        assert len(cache) == 0

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
