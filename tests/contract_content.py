"""What a cache holds and finds: reading, writing, equality, keys."""

from __future__ import annotations

import collections
import gc
import sys
import types
import weakref
from collections.abc import Hashable, Iterator, MutableMapping
from typing import Any

import pytest

from contract_maker import KEYED_OPERATIONS, Maker, keyed_operations
from harness import BadEq, BadHash, Boom, Colliding


class ContentContract(Maker):
    """The tests; see the module."""

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
