"""What the weak dictionaries do beyond weakref's."""

from __future__ import annotations

import copy
import gc
import itertools
import pickle
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from harness import Boom, Unraisable, in_threads
from isolated import FREE_THREADED
from leaksafe import WeakIdDictionary, WeakKeyDictionary, WeakValueDictionary


class Thing:
    def __init__(self, name: object = None) -> None:
        self.name = name


class Row(list[int]):
    """Weakly referenceable, unhashable, and equal to other rows."""


@pytest.fixture
def no_gc() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


@pytest.mark.usefixtures("no_gc")
def test_an_entry_leaves_when_its_referent_dies() -> None:
    values, keys = WeakValueDictionary[str, Thing](), WeakKeyDictionary[Thing, str]()
    thing = Thing()
    values["a"], keys[thing] = thing, "a"
    del thing
    assert (len(values), len(keys)) == (0, 0)
    assert (list(values), list(keys)) == ([], [])
    assert "a" not in values and values.get("a") is None


def test_iteration_leaves_out_what_dies_meanwhile() -> None:
    things = [Thing(number) for number in range(10)]
    values = WeakValueDictionary(enumerate(things))
    seen = []
    for number in values:
        seen.append(number)
        del things[-1:]
    assert seen == [0, 1, 2, 3, 4]


def test_iteration_goes_on_whatever_the_loop_does() -> None:
    things = [Thing(number) for number in range(100)]
    values = WeakValueDictionary(enumerate(things))
    seen = []
    for number, thing in values.items():
        seen.append(number)
        values[1000 + number] = thing
        del values[number]
        if number == 50:
            del things[60:]
    assert seen == list(range(60))
    assert sorted(values) == list(range(1000, 1060))


def test_iterators_keep_what_they_go_through() -> None:
    things = [Thing(number) for number in range(3)]
    iterator = iter(WeakValueDictionary(enumerate(things)).values())
    gc.collect()
    assert [thing.name for thing in iterator] == [0, 1, 2]


def test_entries_stay_in_the_order_of_insertion() -> None:
    things = [Thing(number) for number in range(1000)]
    values = WeakValueDictionary[int, Thing]()
    model: dict[int, Thing] = {}
    for number, thing in zip(
        itertools.chain(range(1000), range(0, 1000, 3)), things * 2, strict=False
    ):
        for mapping in (values, model):
            mapping[number] = thing
            if number % 7 == 0:
                del mapping[number]
    assert list(values.items()) == list(model.items())
    assert values.popitem() == model.popitem()


@pytest.mark.parametrize("value", [1, "a", (), None, 1.5], ids=repr)
def test_what_can_not_be_weak_is_refused_by_name(value: object) -> None:
    name = type(value).__name__
    with pytest.raises(TypeError, match=rf"weak reference to '{name}' object.*WeakCache"):
        WeakValueDictionary[str, object]()["a"] = value
    for dictionary in (WeakKeyDictionary[object, int](), WeakIdDictionary[object, int]()):
        with pytest.raises(TypeError, match=rf"weak reference to '{name}' object"):
            dictionary[value] = 1
        assert value not in dictionary


def test_unhashable_keys_are_sent_to_the_dictionary_by_identity() -> None:
    row = Row()
    with pytest.raises(TypeError, match=r"unhashable type: 'Row'.*WeakIdDictionary"):
        WeakKeyDictionary[Row, int]()[row] = 1
    by_id = WeakIdDictionary([(row, 1)])
    assert by_id[row] == 1
    assert Row() not in by_id
    assert by_id.copy() == by_id != WeakIdDictionary([(Row(), 1)])
    assert copy.deepcopy(by_id)[row] == 1
    del row
    assert len(by_id) == 0


def test_by_identity_what_a_key_says_of_itself_is_not_asked() -> None:
    class Evil:
        def __hash__(self) -> int:
            raise Boom("hash")

        def __eq__(self, other: object) -> bool:
            raise Boom("eq")

    evil = Evil()
    by_id = WeakIdDictionary[Evil, int]()
    by_id[evil] = 1
    by_id[evil] += 1
    assert by_id.setdefault(evil, 5) == by_id.get_or_create(evil, int) == by_id.pop(evil) == 2
    assert by_id.get_or_create(evil, lambda: 7) == 7


def test_on_collect_is_told_after_the_removal(unraisables: list[Unraisable]) -> None:
    values, keys = WeakValueDictionary[str, Thing](), WeakKeyDictionary[Thing, str]()
    told: list[object] = []
    values.on_collect = lambda key: told.append((key, key in values, len(values)))
    keys.on_collect = told.append
    thing, other = Thing(), Thing()
    values["a"] = values["b"] = thing
    values["c"] = other
    keys[thing] = "value"
    del values["b"], other
    assert told == [("c", False, 1)]
    del told[:], thing
    assert sorted(told, key=str) == [("a", False, 0), "value"]
    thing = Thing()
    failing: dict[str, object] = {}
    values.on_collect = failing.__getitem__
    values["d"] = thing
    del thing
    assert [type(report.exception) for report in unraisables] == [KeyError]
    values.on_collect = None
    assert values.on_collect is None
    with pytest.raises(TypeError, match="on_collect must be callable or None"):
        values.on_collect = 3  # type: ignore[assignment]


def test_a_finalizer_may_insert_again() -> None:
    values = WeakValueDictionary[int, Any]()

    class Phoenix:
        def __init__(self, life: int) -> None:
            self.life = life
            values[life] = self

        def __del__(self) -> None:
            if self.life:
                survivors.append(Phoenix(self.life - 1))

    survivors: list[Phoenix] = []
    Phoenix(3)
    for life in (2, 1, 0):
        assert list(values) == [life]
        survivors.clear()
    assert list(values) == []


def test_what_is_resurrected_is_not_found_again() -> None:
    values, saved = WeakValueDictionary[int, Any](), []

    class Lazarus:
        def __del__(self) -> None:
            saved.append(self)

    cycle = Lazarus()
    cycle.self = cycle  # type: ignore[attr-defined]
    values[1] = cycle
    del cycle
    gc.collect()
    assert len(saved) == 1
    assert len(values) == 0


@pytest.mark.parametrize("attempt", range(3))
def test_threads_that_set_a_default_get_the_same(attempt: int) -> None:
    values = WeakValueDictionary[int, Thing]()
    rounds = 2_000 if FREE_THREADED else 500
    barrier = threading.Barrier(4)

    def ask() -> list[Thing]:
        barrier.wait()
        return [values.setdefault(number, Thing()) for number in range(rounds)]

    first, *others = in_threads(ask, ask, ask, ask)
    for other in others:
        assert all(one is another for one, another in zip(first, other, strict=True))


def test_a_factory_runs_once_for_all_threads() -> None:
    values, keys = WeakValueDictionary[int, Thing](), WeakKeyDictionary[Thing, list[int]]()
    calls: list[int] = []
    key = Thing()
    barrier = threading.Barrier(4)

    def value() -> Thing:
        calls.append(1)
        return Thing()

    def data() -> list[int]:
        calls.append(2)
        return []

    def ask() -> tuple[Thing, list[int]]:
        barrier.wait()
        return values.get_or_create(1, value), keys.get_or_create(key, data)

    answers = in_threads(ask, ask, ask, ask)
    assert sorted(calls) == [1, 2]
    assert len({(id(thing), id(numbers)) for thing, numbers in answers}) == 1


def test_a_factory_that_fails_leaves_nothing() -> None:
    values = WeakValueDictionary[int, Thing]()

    def fail() -> Thing:
        raise Boom

    with pytest.raises(Boom):
        values.get_or_create(1, fail)
    with pytest.raises(TypeError, match="weak reference to 'int' object"):
        values.get_or_create(1, lambda: 3)  # type: ignore[arg-type,return-value]
    with pytest.raises(TypeError, match="factory must be callable"):
        values.get_or_create(1, 3)  # type: ignore[arg-type]
    assert len(values) == 0
    thing = values.get_or_create(1, Thing)
    assert values.get_or_create(1, fail) is thing


def test_neither_is_pickled_as_weakrefs_are_not() -> None:
    for original in (WeakValueDictionary[int, Thing](), WeakKeyDictionary[Thing, int]()):
        with pytest.raises(TypeError, match="cannot pickle"):
            pickle.dumps(original)


def test_the_references_it_gives_are_plain_ones() -> None:
    thing = Thing()
    values = WeakValueDictionary[str, Thing](a=thing)
    keys = WeakKeyDictionary({thing: 1})
    given = [*values.valuerefs(), *values.itervaluerefs(), *keys.keyrefs()]
    assert [reference() for reference in given] == [thing] * 3
    assert len({*given, weakref.ref(thing)}) == 1


def test_a_comparison_that_raises_is_the_callers() -> None:
    class Key:
        raises = False

        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            if self.raises:
                raise Boom
            return self is other

    one, two = Key(), Key()
    keys = WeakKeyDictionary({one: 1, two: 2})
    one.raises = True
    for operation in (
        lambda: keys[two],
        lambda: keys.pop(two),
        lambda: two in keys,
        lambda: keys.__setitem__(two, 3),
    ):
        with pytest.raises(Boom):
            operation()
    one.raises = False
    assert dict(keys) == {one: 1, two: 2}
