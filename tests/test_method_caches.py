"""Cached methods of all sorts of classes: what they return, and that no instance is kept alive."""

from __future__ import annotations

import warnings
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isolated import full_collection
from leaksafe import LeakWarning
from method_classes import (
    ALL,
    BACK,
    FRESH,
    NOT_BACK,
    NOT_WEAK,
    OURS,
    RESULTS,
    THEIRS,
    WEAK,
    WITH_DICT,
    WITHOUT_DICT,
    Child,
    compared,
    each_kind,
    each_not_weak,
    each_weak,
    each_with_dict,
    frozen_dataclass,
    frozen_slots_dataclass,
    method,
    slots,
    unwarned,
    without_collections,
)

pytestmark = pytest.mark.usefixtures("frozen")


@each_kind
@unwarned
def test_hits_and_misses(kind: str) -> None:
    for name, body in RESULTS.items():
        m = method(body)
        make = ALL[kind](m)
        one, other = make(1), make(2)
        results = [one.m(1), one.m(2), other.m(1)]
        assert m.cache_info() == (0, 3, 128, 3), name
        assert m.runs() == 3, name
        assert one.m(1) is results[0] and one.m(2) is results[1] and other.m(1) is results[2], name
        assert m(one, 1) is results[0], name
        assert m.cache_info() == (4, 3, 128, 3), name


@each_weak
def test_the_instance_is_freed_at_once(kind: str) -> None:
    for name, body in NOT_BACK.items():
        m = method(body)
        make = WEAK[kind](m)
        with without_collections():
            one, other = make(1), make(2)
            reference = weakref.ref(one)
            for x in (1, 2, 1):
                one.m(x)
                other.m(x)
            kept = other.m(1)
            assert m.cache_info().currsize == 4
            del one
            assert reference() is None, name
            assert m.cache_info().currsize == 2, name
            # the other's entries are there still
            assert other.m(1) is kept, name
            assert m.cache_info() == (4, 4, 128, 2), name


@each_weak
def test_results_are_freed_with_it_at_once(kind: str) -> None:
    m = method(lambda self, x: Child(x))
    make = WEAK[kind](m)
    with without_collections():
        instance = make(1)
        results = [weakref.ref(instance.m(x)) for x in range(5)]
        assert all(result() is not None for result in results)
        del instance
        assert [result() for result in results] == [None] * 5


@each_with_dict
def test_results_that_refer_back_go_with_the_instance(kind: str) -> None:
    """The collector finds that only they and the instance hold each other."""
    methods = {name: method(body) for name, body in BACK.items()}
    instances = {name: WITH_DICT[kind](m)(1) for name, m in methods.items()}
    references = {name: weakref.ref(instance) for name, instance in instances.items()}
    for name, instance in instances.items():
        assert instance.m(1) is instance.m(1), name
    del instance
    full_collection()
    assert [name for name, reference in references.items() if reference() is None] == []
    assert [m.cache_info().currsize for m in methods.values()] == [1] * len(BACK)
    instances.clear()
    full_collection()
    assert [name for name, reference in references.items() if reference() is not None] == []
    assert [m.cache_info().currsize for m in methods.values()] == [0] * len(BACK)


@pytest.mark.parametrize("kind", WITHOUT_DICT)
def test_without_a_dict_what_refers_back_is_bounded(kind: str) -> None:
    m = method(BACK["child"], maxsize=2)
    make = WITHOUT_DICT[kind](m)
    references = []
    for number in range(6):
        instance = make(number)
        instance.m(1)
        references.append(weakref.ref(instance))
    del instance
    full_collection()
    assert [reference() is None for reference in references] == [True] * 4 + [False] * 2
    assert m.cache_info().currsize == 2
    m.cache_clear()
    full_collection()
    assert [reference() for reference in references] == [None] * 6


@each_not_weak
def test_what_cannot_be_weakly_referenced_is_bounded_and_warned_of(kind: str) -> None:
    m = method(FRESH["list"], maxsize=2)
    make = NOT_WEAK[kind](m)
    one = make(1)
    with pytest.warns(LeakWarning, match=type(one).__name__) as caught:
        result = one.m(1)
    assert len(caught) == 1
    assert caught[0].filename == __file__
    said = str(caught[0].message)
    # and the cure, where the class can have one
    assert ("__weakref__" in said) is ("slots" in kind), said
    # once a class: no further warning, or it would be an error
    assert one.m(1) is result
    for number in range(2, 5):
        make(number).m(1)
    assert m.cache_info() == (1, 4, 2, 2)
    # held as by functools': equal instances made one after the other hit, where they are equal
    if one == make(1):
        assert make(4).m(1) is make(4).m(1)


def test_each_class_is_warned_of() -> None:
    m = method(FRESH["list"])
    base = slots(m)

    class Sub(base):  # type: ignore[misc, valid-type]
        __slots__ = ()

    class Another(base):  # type: ignore[misc, valid-type]
        pass

    with pytest.warns(LeakWarning, match="Slots"):
        base(1).m(1)
    with pytest.warns(LeakWarning, match="Sub"):
        Sub(1).m(1)
    # this one has what its base lacks
    Another(1).m(1)
    base(2).m(1), Sub(2).m(1)


def test_a_warning_that_is_an_error() -> None:
    m = method(FRESH["list"])
    instance = slots(m)(1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(LeakWarning):
            instance.m(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert instance.m(2) is instance.m(2)
        assert instance.m(1) is instance.m(1)


@each_weak
def test_maxsize_bounds_all_instances_together(kind: str) -> None:
    m = method(FRESH["list"], maxsize=4)
    make = WEAK[kind](m)
    with without_collections():
        instances = [make(number) for number in range(3)]
        results = [weakref.ref(instance) for instance in instances]
        for instance in instances:
            for x in range(3):
                instance.m(x)
        assert m.cache_info() == (0, 9, 4, 4)
        # the most recent are the last one's three, and one before
        for x in range(3):
            assert m.cache_contains(instances[2], x)
        assert m.cache_contains(instances[1], 2)
        assert not m.cache_contains(instances[1], 1) and not m.cache_contains(instances[0], 2)
        del instance
        instances.pop()
        assert m.cache_info().currsize == 1
        instances.clear()
        assert m.cache_info().currsize == 0
        assert [result() for result in results] == [None] * 3


@each_weak
def test_evicted_results_are_freed_at_once(kind: str) -> None:
    """Wherever they live, the bound is on them, not only on their entries."""
    m = method(lambda self, x: Child(x), maxsize=3)
    instance = WEAK[kind](m)(1)
    with without_collections():
        results = [weakref.ref(instance.m(x)) for x in range(10)]
        assert [result() is None for result in results] == [True] * 7 + [False] * 3
        assert m.cache_discard(instance, 9)
        assert results[9]() is None and results[8]() is not None
        m.cache_clear()
        assert [result() for result in results] == [None] * 10


@each_weak
def test_nothing_is_kept_at_maxsize_0(kind: str) -> None:
    m = method(lambda self, x: Child(self), maxsize=0)
    with without_collections():
        instance = WEAK[kind](m)(1)
        reference, result = weakref.ref(instance), weakref.ref(instance.m(1))
        assert result() is None and m.cache_info() == (0, 1, 0, 0)
        del instance
        assert reference() is None


ACTORS = st.tuples(
    st.integers(0, 3),
    st.sampled_from([1, 1.0, True, 2, "a"]),
    st.sampled_from(["position", "name", "function", "bound", "clear"]),
)


@given(
    st.sampled_from(sorted(WEAK)),
    st.sampled_from([None, 0, 1, 3, 128]),
    st.booleans(),
    st.lists(ACTORS, max_size=40),
)
def test_as_functools_while_the_instances_live(
    kind: str, maxsize: int | None, typed: bool, steps: list[tuple[int, Any, str]]
) -> None:
    """Equal instances share their entries where the class says that they are equal."""
    sides: list[tuple[Any, list[Any], list[Any]]] = []
    for decorate in (OURS, THEIRS):
        made: list[Any] = []

        def body(self: Any, x: Any, made: list[Any] = made) -> list[Any]:
            made.append([self.n, x, len(made)])
            return made[-1]  # type: ignore[no-any-return]

        m = method(body, decorate, maxsize=maxsize, typed=typed)
        make = WEAK[kind](m)
        sides.append((m, [make(1), make(1), make(2), make(2)], made))
    for which, x, how in steps:
        got: list[Any] = []
        for m, instances, _ in sides:
            instance = instances[which]
            match how:
                case "position":
                    got.append(instance.m(x))
                case "name":
                    got.append(instance.m(x=x))
                case "function":
                    got.append(m(instance, x))
                case "bound":
                    bound = instance.m
                    got.append(bound(x))
                case _:
                    got.append(m.cache_clear())
        assert repr(got[0]) == repr(got[1])
        assert sides[0][0].cache_info() == sides[1][0].cache_info()


def test_equal_instances_share_while_the_first_lives() -> None:
    for kind in ("compared", "frozen_dataclass", "frozen_slots_dataclass"):
        for name, body in NOT_BACK.items():
            m = method(body)
            make = WEAK[kind](m)
            with without_collections():
                first, second = make(1), make(1)
                result = first.m(1)
                assert second.m(1) is result and m.cache_info() == (1, 1, 128, 1), name
                del first, result
                # its results went with it
                assert m.cache_info().currsize == 0, name
                assert second.m(1) is second.m(1)
                assert m.cache_info() == (2, 2, 128, 1), name


def test_temporaries_equal_by_value() -> None:
    for make_class in (frozen_dataclass, compared, frozen_slots_dataclass):
        weak, strong = method(FRESH["list"]), method(FRESH["list"], weak_self=False)
        make = make_class(weak)
        # an assert would keep its temporaries
        results = [make(1).m(2), make(1).m(2)]
        assert results == [[1, 2], [1, 2]]
        assert weak.cache_info() == (0, 2, 128, 0)
        make = make_class(strong)
        assert make(1).m(2) is make(1).m(2)
        assert strong.cache_info() == (1, 1, 128, 1)


@each_kind
def test_weak_self_false_is_functools_way(kind: str) -> None:
    """No warning, nothing in the instance, which is held until its entries are evicted."""
    for name, body in RESULTS.items():
        m = method(body, maxsize=1, weak_self=False)
        make = ALL[kind](m)
        instance = make(1)
        before = dict(getattr(instance, "__dict__", {}))
        result = instance.m(1)
        assert instance.m(1) is result and m.cache_info() == (1, 1, 1, 1), name
        assert dict(getattr(instance, "__dict__", {})) == before, name
        assert m.cache_parameters() == {"maxsize": 1, "typed": False}
        if kind in WEAK:
            with without_collections():
                reference = weakref.ref(instance)
                del instance, result
                assert reference() is not None, name
                make(2).m(1)
                assert reference() is None, name


def test_weak_self_is_a_keyword() -> None:
    with pytest.raises(TypeError):
        OURS(3, True, False)
    with pytest.raises(TypeError):
        OURS(method, False, False)
    assert OURS(weak_self=False)(len)("ab") == OURS(3, weak_self=True)(len)("ab") == 2
