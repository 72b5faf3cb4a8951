"""`WeakCache`."""

from __future__ import annotations

import gc
import random
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

from harness import in_threads
from leaksafe import WeakCache


class Image:
    def __init__(self, name: object = "") -> None:
        self.name = name


@pytest.fixture(autouse=True)
def _no_gc() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


def test_the_most_recent_are_held_and_the_others_as_long_as_they_are_used() -> None:
    cache = WeakCache[int, Image](2)
    used = cache[0] = Image(0)
    for number in range(1, 5):
        cache[number] = Image(number)
    assert list(cache) == [0, 3, 4]
    assert cache[0] is used  # it is held again, and 3 is not
    assert list(cache) == [4, 0]
    del used
    assert cache[0].name == 0
    assert len(cache) == 2


def test_what_can_not_be_weak_is_held_within_the_same_bound() -> None:
    cache = WeakCache[str, object](2)
    cache["sum"], cache["text"] = 3, "three"
    assert cache["sum"] == 3
    image = cache["image"] = Image()
    assert list(cache) == ["sum", "image"]
    cache["a"], cache["b"] = (1,), None
    assert list(cache) == ["image", "a", "b"]
    assert cache.get("image") is image
    assert list(cache) == ["b", "image"]


def test_a_bound_of_zero_holds_nothing() -> None:
    cache = WeakCache[int, Any](0)
    image = cache[1] = Image()
    cache[2], cache[3] = Image(), 3
    assert list(cache) == [1]
    assert cache[1] is image
    del image
    assert 1 not in cache
    assert cache.get_or_create(1, lambda: 5) == 5
    assert len(cache) == 0


def test_a_value_is_replaced_and_removed() -> None:
    cache = WeakCache[int, Any](3)
    first, second = Image(1), Image(2)
    for value in (first, 1, second, "x", first):
        cache[1] = value
        assert cache[1] is value
        assert len(cache) == 1
    gone = weakref.ref(first)
    del first, value
    del cache[1]
    assert gone() is None
    with pytest.raises(KeyError):
        del cache[1]
    cache[2] = second
    assert cache.pop(2) is second
    assert cache.pop(2, None) is None
    cache.update({3: second, 4: 4})
    assert dict(cache) == {3: second, 4: 4} == dict(cache.items())
    assert cache.popitem() == (3, second)
    cache.clear()
    assert len(cache) == 0
    with pytest.raises(KeyError, match="empty"):
        cache.popitem()
    assert list(cache) == []


def test_everybody_gets_the_same() -> None:
    cache = WeakCache[int, Image](1)
    made: list[int] = []

    def make() -> Image:
        made.append(1)
        return Image()

    images = in_threads(*[lambda: cache.get_or_create(1, make)] * 4)
    assert len(made) == len(set(images)) == 1
    cache[2] = cache.setdefault(1, Image())
    assert cache.setdefault(1, Image()) is images[0]


def test_closed_it_holds_and_takes_nothing() -> None:
    with WeakCache[int, Any](2) as cache:
        image = cache[1] = Image()
    assert cache.closed
    assert list(cache) == []
    with pytest.raises(RuntimeError, match="is closed"):
        cache[1] = image


def test_its_arguments() -> None:
    assert WeakCache[int, int]().maxsize == 128
    for wrong, error in (
        (-1, ValueError),
        (1.5, TypeError),
        (None, TypeError),
        (2**70, OverflowError),
    ):
        with pytest.raises(error, match="maxsize"):
            WeakCache(wrong)  # type: ignore[arg-type]
    with pytest.raises(NotImplementedError, match="ttl"):
        WeakCache(1, ttl=3)  # type: ignore[arg-type]
    assert repr(WeakCache[int, int](2)) == "WeakCache([], maxsize=2)"


def test_it_holds_what_a_simple_model_holds() -> None:
    chance = random.Random(1)
    cache, model = WeakCache[int, Any](4), dict[int, Any]()
    held: list[int] = []
    users: list[Image] = []
    for _ in range(5_000):
        key, what = chance.randrange(12), chance.randrange(6)
        used = False
        if what == 0:
            model[key] = cache[key] = chance.choice([Image, int])()
            used = True
        elif what == 1:
            assert cache.get(key) is model.get(key)
            used = key in model
        elif what == 2:
            assert cache.pop(key, None) is model.pop(key, None)
            held = [other for other in held if other != key]
        elif what == 3 and isinstance(model.get(key), Image):
            users.append(model[key])
        elif what == 4 and users:
            users.pop(chance.randrange(len(users)))
        if used:
            model[key] = model.pop(key)
            held = [*(other for other in held if other != key), key][-4:]
        for other in [other for other in model if other not in held]:
            if model[other] not in users:
                del model[other]
        assert list(cache) == list(model)
