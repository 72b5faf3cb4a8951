"""`WeakCache`."""

from __future__ import annotations

import gc
import math
import random
import sys
import time
import weakref
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from harness import in_threads
from leaksafe import WeakCache, sweeper


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


def test_looking_is_no_use() -> None:
    cache = WeakCache[int, Any](3)
    image, cache[2], cache[3] = cache.setdefault(1, Image()), 2, 3
    for _ in range(2):
        assert cache.peek(1) is image
        assert (cache.peek(4), cache.peek(4, "nothing")) == (None, "nothing")
        assert list(cache.values()) == [image, 2, 3]
        assert list(cache.items()) == [(1, image), (2, 2), (3, 3)]
        assert (1, image) in cache.items()
        assert (2, 3) not in cache.items()
        assert (4, 4) not in cache.items()
        assert image in cache.values()
        assert 4 not in cache.values()
    assert list(cache) == [1, 2, 3]


def test_what_dies_or_leaves_while_it_is_looked_through_is_left_out() -> None:
    cache, images = WeakCache[int, Any](1), [Image(number) for number in range(4)]
    cache.update(enumerate(images))
    seen = []
    for key, value in cache.items():
        seen.append(key)
        del value
        del images[1:]
        cache.pop(3, None)
    assert seen == [0]
    assert list(cache.values()) == images


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
    ages: list[tuple[Any, type[Exception]]] = [
        (0, ValueError),
        (-1.5, ValueError),
        (math.nan, ValueError),
        ("3", TypeError),
        (True, TypeError),
        (lambda: 3, TypeError),
    ]
    for age, expected in ages:
        with pytest.raises(expected, match="ttl must be"):
            WeakCache(1, ttl=age)
    with pytest.raises(TypeError, match="not both"):
        WeakCache(1, max_bytes=1)  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="max_bytes"):
        WeakCache(max_bytes="much")
    assert repr(WeakCache[int, int](2)) == "WeakCache([], maxsize=2)"
    assert (
        repr(WeakCache[int, int](2, timedelta(minutes=1))) == "WeakCache([], maxsize=2, ttl=60.0)"
    )
    assert WeakCache[int, int](2).ttl is None
    assert WeakCache[int, int](max_bytes="1 KiB").maxsize == 1024


TTL = 0.05


def until_gone(cache: WeakCache[Any, Any], key: object) -> None:
    """Wait until a key is no longer there."""
    end = time.monotonic() + 30
    while key in cache:
        assert time.monotonic() < end


def test_what_is_too_old_is_not_held() -> None:
    cache = WeakCache[str, Any](10, ttl=TTL)
    before = time.monotonic()
    cache["sum"] = 3
    until_gone(cache, "sum")
    assert time.monotonic() - before >= TTL
    image = Image()
    gone = weakref.ref(image)
    cache["image"] = image
    del image
    until_gone(cache, "image")
    assert gone() is None
    assert cache.get("image") is cache.get("sum") is None
    assert (len(cache), list(cache)) == (0, [])


def test_what_is_too_old_is_there_as_long_as_somebody_uses_it() -> None:
    cache = WeakCache[int, Any](10, ttl=TTL)
    used = cache[1] = Image()
    cache[2] = 2
    until_gone(cache, 2)
    assert cache[1] is cache.setdefault(1, Image()) is cache.get_or_create(1, Image) is used
    assert list(cache) == [1]
    del used  # asking for it did not hold it again
    assert 1 not in cache
    before = time.monotonic()
    used = cache[1] = Image()
    del used  # but setting it does
    assert 1 in cache or time.monotonic() - before >= TTL


@pytest.mark.parametrize("value", [Image, int])
def test_what_is_too_old_is_freed_with_nobody_near(value: type) -> None:
    class Key:
        pass

    cache, key = WeakCache[Key, Any](10, ttl=timedelta(seconds=TTL)), Key()
    gone = weakref.ref(key)
    cache[key] = value()
    del key
    start = time.monotonic()
    while gone() is not None:
        assert time.monotonic() - start < 30
        time.sleep(0.01)
    assert sys.getsizeof(cache) > 0  # it lives itself


def test_setting_starts_the_age_again_and_using_does_not() -> None:
    cache = WeakCache[int, int](10, ttl=TTL)
    start = time.monotonic()
    while time.monotonic() - start < 4 * TTL:
        before = time.monotonic()
        cache[1] = 1
        present = 1 in cache
        assert present or time.monotonic() - before >= TTL
    while 1 in cache:
        cache.get(1)
        assert time.monotonic() - start < 30


def test_ages_and_uses_in_any_order_keep_the_bound() -> None:
    chance = random.Random(2)
    cache, last = WeakCache[int, Any](4, ttl=0.002), dict[int, Any]()
    users: list[Any] = []
    for _ in range(20_000):
        key = chance.randrange(12)
        match chance.randrange(5):
            case 0 | 1:
                value = cache[key] = chance.choice([Image, object])() if key % 3 else (key,)
                last[key] = id(value)
                if chance.random() < 0.3:
                    users.append(value)
                del value
            case 2:
                found = cache.get(key)
                assert found is None or id(found) == last[key]
                del found
            case 3:
                del users[: chance.randrange(3)]
            case _:
                cache.pop(key, None)
        used = {id(user) for user in users}
        assert sum(id(value) not in used for value in cache.values()) <= 4
    users.clear()
    for key in range(12):
        until_gone(cache, key)
    assert len(cache) == 0


@pytest.mark.parametrize("ttl", [math.inf, 1e20, 3600])
def test_a_long_age_is_no_hindrance(ttl: float) -> None:
    cache = WeakCache[int, Any](2, ttl=ttl)
    for number in range(5):
        cache[number] = Image(number) if number % 2 else number
    assert [(key, cache[key] is not None) for key in cache] == [(3, True), (4, True)]
    assert cache.ttl == ttl


def test_the_bound_may_be_in_bytes() -> None:
    cache = WeakCache[int, Any](max_bytes="10 KiB")
    for number in range(100):
        cache[number] = bytes(1_000)
    assert 5 < len(cache) < 10
    assert list(cache) == list(range(100 - len(cache), 100))
    big = Image(bytes(5_000))
    cache["image"] = big  # type: ignore[index]
    assert 1 < len(cache) < 6
    cache.update({1: bytes(5_000), 2: bytes(4_000)})
    assert list(cache) == ["image", 1, 2]
    del big
    assert list(cache) == [1, 2]
    cache[1] = 1  # what gets lighter makes room
    cache[3] = bytes(5_000)
    assert list(cache) == [2, 1, 3]


def test_what_is_too_heavy_is_refused_and_changes_nothing() -> None:
    cache = WeakCache[int, bytes](max_bytes=2_000)
    cache[1] = b"small"
    with pytest.raises(ValueError, match="more than the whole WeakCache may, maxsize=2000"):
        cache[1] = bytes(3_000)
    with pytest.raises(ValueError, match="too heavy"):
        cache.setdefault(2, bytes(3_000))
    assert len(cache.get_or_create(3, lambda: bytes(3_000))) == 3_000
    assert dict(cache) == {1: b"small"}


def test_weights_that_can_not_be_added_up_are_refused_and_change_nothing() -> None:
    class Huge:
        def __init__(self, size: int) -> None:
            self.size = size

        def __sizeof__(self) -> int:
            return self.size

    cache = WeakCache[int, Any](max_bytes=sys.maxsize)
    used = [Huge(2**62) for _ in range(3)]
    cache.update(enumerate(used))  # the last is held, and the others known
    cache[3] = small = Huge(50)
    with pytest.raises(OverflowError, match="add up to more"):
        cache[4] = Huge(2**62)
    for _ in range(3):
        with pytest.raises(OverflowError, match="add up to more"):
            cache[3] = Huge(2**62)
    assert dict(cache) == {**dict(enumerate(used)), 3: small}
    del used
    gone = weakref.ref(small)
    del small
    assert list(cache) == [2, 3]
    for number in range(4):
        cache[number] = 1
    assert gone() is None
    assert list(cache) == [0, 1, 2, 3]


@pytest.mark.thread_unsafe(reason="counts the caches of the whole process")
def test_the_sweeper_knows_it_no_longer_than_it_lives() -> None:
    cache = WeakCache[int, int](2, ttl=1000)
    before = sweeper.state().caches
    cache[1] = 1
    assert sweeper.state().caches == before + 1
    del cache
    assert sweeper.state().caches == before


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
