"""Bound methods of cached methods: attributes, equality, copies, pickles."""

from __future__ import annotations

import copy
import functools
import inspect
import pickle
import threading
import typing
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from isolated import full_collection
from leaksafe import lru_cache
from method_classes import (
    FRESH,
    WEAK,
    Child,
    gone_at_once,
    method,
    plain,
    shares_a_class,
    slots,
    without_collections,
)

pytestmark = pytest.mark.usefixtures("frozen")


class Bound:
    """Its methods, bound."""

    def __init__(self, n: int) -> None:
        self.n = n

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Bound) and self.n == other.n

    def __hash__(self) -> int:
        return hash(self.n)

    @lru_cache
    def m(self, x: int, *, y: str = "y") -> list[int]:
        """What m says."""
        return [self.n, x]

    @functools.lru_cache  # noqa: B019
    def theirs(self, x: int, *, y: str = "y") -> list[int]:
        """What theirs says."""
        return [self.n, x]

    @classmethod
    @lru_cache
    def of_class(cls, x: int) -> list[int]:
        """What of_class says."""
        return [x]


BOUND: Any = Bound


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    yield
    for wrapper in (Bound.m, Bound.theirs, Bound.of_class):
        wrapper.cache_clear()


@shares_a_class
def test_bound_is_called_as_a_method_is() -> None:
    instance = BOUND(1)
    bound = instance.m
    assert callable(bound)
    assert bound(2) is instance.m(2) is bound(2) is BOUND.m(instance, 2) is bound.__call__(2)
    assert bound(x=2) == [1, 2] and bound(2, y="z") == [1, 2]
    assert list(map(bound, [1, 2])) == [[1, 1], [1, 2]]
    assert functools.partial(bound, 2)() is bound(2)
    assert BOUND.m.cache_info().misses == 4
    for args, kwargs in [((), {}), ((1, 2), {}), ((1,), {"x": 1}), ((1,), {"z": 1})]:
        said = []
        for one in (instance.m, instance.theirs):
            with pytest.raises(TypeError) as caught:
                one(*args, **kwargs)
            said.append(str(caught.value).replace(".theirs", ".m"))
        assert said[0] == said[1]


@shares_a_class
def test_bound_attributes() -> None:
    instance = BOUND(1)
    bound, theirs = instance.m, instance.theirs
    assert bound.__self__ is instance and bound.__func__ is BOUND.m
    assert bound.__wrapped__ is BOUND.m.__wrapped__
    assert bound.__name__ == "m" and bound.__qualname__ == "Bound.m"
    assert bound.__doc__ == "What m says." == inspect.getdoc(bound)
    # not there since 3.14, where functools' has none either
    for name in ("__annotations__", "__annotate__", "__type_params__"):
        assert hasattr(bound, name) is hasattr(theirs, name), name
    assert typing.get_type_hints(bound) == typing.get_type_hints(theirs)
    assert inspect.signature(bound) == inspect.signature(theirs)
    assert inspect.signature(BOUND.m) == inspect.signature(BOUND.theirs)
    assert str(inspect.signature(BOUND.of_class)) == "(x: 'int') -> 'list[int]'"
    assert bound.cache_parameters() == {"maxsize": 128, "typed": False}
    bound(1)
    assert bound.cache_info() == BOUND.m.cache_info() == (0, 1, 128, 1)
    bound.cache_clear()
    assert BOUND.m.cache_info() == (0, 0, 128, 0)
    with pytest.raises(AttributeError):
        bound.nothing
    with pytest.raises(AttributeError):
        bound.tag = 1
    BOUND.m.tag = "tag"
    assert bound.tag == "tag"
    del BOUND.m.tag
    assert "m" in repr(bound)


def test_bound_equality() -> None:
    """As of methods: of the same function and the very same object."""
    one, equal = BOUND(1), BOUND(1)
    assert one == equal
    for name in ("m", "theirs", "of_class"):
        assert getattr(one, name) == getattr(one, name)
        assert hash(getattr(one, name)) == hash(getattr(one, name))
        assert (getattr(one, name) != getattr(one, name)) is False
        assert (getattr(one, name) == getattr(equal, name)) is (name == "of_class")
    assert len({one.m, one.m, equal.m}) == 2
    assert one.m not in (one.theirs, BOUND.m, 5, None)
    with pytest.raises(TypeError):
        one.m < one.m


@shares_a_class
def test_bound_discard_and_contains() -> None:
    one, other = BOUND(1), BOUND(2)
    one.m(1), one.m(x=1), one.m(1, y="z"), other.m(1)
    assert one.m.cache_contains(1) and one.m.cache_contains(x=1) and one.m.cache_contains(1, y="z")
    assert not one.m.cache_contains(2) and not one.m.cache_contains()
    assert BOUND.m.cache_contains(one, 1) and not BOUND.m.cache_contains(1)
    assert one.m.cache_discard(1) is True
    assert one.m.cache_discard(1) is False and not BOUND.m.cache_contains(one, 1)
    assert (
        one.m.cache_contains(x=1) and one.m.cache_contains(1, y="z") and other.m.cache_contains(1)
    )
    assert one.m.cache_discard(1, y="z") and one.m.cache_discard(x=1)
    assert BOUND.m.cache_discard(other, 1) is True
    assert BOUND.m.cache_info() == (0, 4, 128, 0)
    discard = one.m.cache_discard
    one.m(5)
    assert discard(5) is True


def test_bound_discard_asks_nothing_of_a_new_class() -> None:
    """Before any call was made, there is nothing to find out, to warn of, or to hold."""
    m = method(FRESH["list"])
    for make in (plain(m), slots(m)):
        instance = make(1)
        assert not instance.m.cache_contains(1) and not instance.m.cache_discard(1)
    assert m.cache_info() == (0, 0, 128, 0)


def test_bound_discard_lets_results_go_at_once() -> None:
    for kind in WEAK:
        m = method(lambda self, x: Child(self))
        with without_collections():
            instance = WEAK[kind](m)(1)
            result = weakref.ref(instance.m(1))
            assert result() is not None
            assert instance.m.cache_discard(1) is True, kind
            assert result() is None, kind
            box = [instance]
            del instance
            assert gone_at_once(box), kind


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_bound_is_pickled_by_name(protocol: int) -> None:
    instance = BOUND(1)
    instance.m(1)
    for bound in (instance.m, BOUND.of_class):
        back = pickle.loads(pickle.dumps(bound, protocol))
        assert back.__func__ is bound.__func__ and back.__self__ == bound.__self__
        assert back(1) == bound(1)
    box, bound = pickle.loads(pickle.dumps((instance, instance.m), protocol))
    assert bound.__self__ is box


def test_bound_copies() -> None:
    instance = BOUND(1)
    assert copy.copy(instance.m) == instance.m
    deep = copy.deepcopy(instance.m)
    assert deep.__self__ == instance and deep.__self__ is not instance
    assert deep.__func__ is BOUND.m and deep(1) == [1, 1]


def test_bound_holds_its_instance_and_no_longer() -> None:
    with without_collections():
        instance = BOUND(1)
        bound = instance.m
        reference = weakref.ref(instance)
        bound(1)
        del instance
        assert bound(1) == [1, 1] and reference() is not None
        del bound
        assert reference() is None
    instance = BOUND(1)
    instance.callback = instance.m
    reference = weakref.ref(instance)
    del instance
    full_collection()
    assert reference() is None


def test_weak_method() -> None:
    instance = BOUND(1)
    dead: list[object] = []
    reference = weakref.WeakMethod(instance.m, dead.append)
    assert reference() == instance.m
    found: Any = reference()
    assert found(1) == [1, 1]
    del found, instance
    full_collection()
    assert reference() is None and dead == [reference]


@shares_a_class
def test_bound_in_threads() -> None:
    instance = BOUND(1)
    threads = [threading.Thread(target=instance.m, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert BOUND.m.cache_info() == (0, 4, 128, 4)
