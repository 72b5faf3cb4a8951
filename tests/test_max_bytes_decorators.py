"""A decorated function's bound in bytes: what counts, what goes, and what stays as it was."""

from __future__ import annotations

import gc
import sys
import weakref
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness import Boom
from leaksafe import deep_sizeof, lru_cache, ttl_cache

SLOT = 51
"""Bytes of a result's place, as documented."""

BOTH = pytest.mark.parametrize("decorator", [lru_cache, ttl_cache])
Decorator = Callable[..., Callable[[Callable[..., Any]], Any]]


def filler(decorator: Decorator, max_bytes: int | str, **options: Any) -> tuple[Any, list[int]]:
    """A function whose result has as many bytes as its argument says, and the calls it got."""
    calls: list[int] = []

    @decorator(max_bytes=max_bytes, **options)
    def fill(number: int) -> bytes:
        calls.append(number)
        return bytes(number)

    return fill, calls


def weight(number: int) -> int:
    """What a result of `fill` is documented to weigh."""
    return deep_sizeof(number) + sys.getsizeof(bytes(number)) + SLOT


@BOTH
def test_a_result_weighs_its_key_itself_and_its_place(decorator: Decorator) -> None:
    fill, _ = filler(decorator, "1 MiB")
    fill(1_000)
    fill(5)
    info = fill.cache_info()
    assert info.currsize == weight(1_000) + weight(5)
    assert info.maxsize == 2**20
    parameters = fill.cache_parameters()
    assert parameters["maxsize"] == parameters["max_bytes"] == 2**20
    assert fill.cache_discard(1_000)
    assert fill.cache_info().currsize == weight(5)
    fill.cache_clear()
    assert fill.cache_info().currsize == 0


@BOTH
def test_several_arguments_weigh_as_their_tuple(decorator: Decorator) -> None:
    @decorator(max_bytes="1 MiB")
    def join(*parts: Any) -> None:
        return None

    parts = (1_000, str(10**9), 2.5)
    join(*parts)
    assert join.cache_info().currsize == deep_sizeof(parts) + SLOT


@BOTH
def test_what_result_and_arguments_share_counts_once(decorator: Decorator) -> None:
    @decorator(max_bytes="1 MiB")
    def echo(data: bytes) -> list[bytes]:
        return [data, data]

    data = bytes(1_000)
    result = echo(data)
    assert echo.cache_info().currsize == deep_sizeof([data, result]) - deep_sizeof([0, 0]) + SLOT


@BOTH
def test_the_least_recent_go(decorator: Decorator) -> None:
    fill, calls = filler(decorator, 3 * weight(1_000))
    for number in (1_000, 1_001, 999, 1_000):
        fill(number)
    fill(998)
    assert [fill.cache_contains(number) for number in (1_000, 1_001, 999, 998)] == [
        *(True, False, True, True)
    ]
    assert calls == [1_000, 1_001, 999, 998]


@BOTH
def test_what_is_too_heavy_is_returned_and_not_kept(decorator: Decorator) -> None:
    fill, calls = filler(decorator, "1 kB")
    fill(100)
    for _ in range(2):
        assert fill(5_000) == bytes(5_000)
    assert calls == [100, 5_000, 5_000]
    assert fill.cache_contains(100)
    assert fill.cache_info().currsize == weight(100)


@BOTH
@pytest.mark.parametrize("max_bytes", [0, "0 B", 50])
def test_a_bound_below_one_place_keeps_nothing(decorator: Decorator, max_bytes: Any) -> None:
    fill, calls = filler(decorator, max_bytes)
    assert fill(0) == fill(0) == b""
    assert calls == [0, 0]
    assert fill.cache_info().currsize == 0


@BOTH
def test_a_sizeof_that_raises_is_the_callers_and_keeps_nothing(decorator: Decorator) -> None:
    class Broken:
        def __sizeof__(self) -> int:
            raise Boom("size")

    @decorator(max_bytes="1 kB")
    def make(broken: bool) -> object:
        return [Broken()] if broken else 1

    make(False)
    before = make.cache_info().currsize
    with pytest.raises(Boom):
        make(True)
    assert make.cache_info().currsize == before
    assert make.cache_contains(False)
    assert not make.cache_contains(True)


@BOTH
def test_a_sizeof_may_call_the_function(decorator: Decorator) -> None:
    class Curious:
        def __sizeof__(self) -> int:
            make(0)
            make.cache_clear()
            return 16

    @decorator(max_bytes="1 MiB")
    def make(number: int) -> object:
        return Curious() if number else 0

    assert make(1) is make(1)
    assert make.cache_contains(1)


@BOTH
def test_the_function_itself_is_not_charged(decorator: Decorator) -> None:
    @decorator(max_bytes="1 MiB")
    def make(number: int) -> object:
        return bytes(100_000) if number == 0 else [make]

    make(0)
    before = make.cache_info().currsize
    make(1)
    assert make.cache_info().currsize - before < 200


@BOTH
class TestMethods:
    """The instance isn't held, and so isn't charged."""

    def test_results_count_and_the_instance_does_not(self, decorator: Decorator) -> None:
        class Page:
            def __init__(self) -> None:
                self.text = bytes(1_000_000)

            @decorator(max_bytes="20 kB")
            def part(self, number: int) -> list[Any]:
                return [self, bytes(number)]

        page: Any = Page()
        for number in range(5_000, 5_010):
            assert page.part(number) is page.part(number)
        info = page.part.cache_info()
        assert 10_000 < info.currsize <= 20_000
        assert page.part.cache_contains(5_009)
        assert not page.part.cache_contains(5_000)
        gone = weakref.ref(page)
        del page
        gc.collect()
        assert gone() is None
        assert Page.part.cache_info().currsize == 0

    def test_what_is_too_heavy_is_not_left_with_the_instance(self, decorator: Decorator) -> None:
        class Thing:
            pass

        class Page:
            @decorator(max_bytes="1 kB")
            def part(self) -> list[Any]:
                return [Thing(), bytes(10_000)]

        page: Any = Page()
        gone = weakref.ref(page.part()[0])
        assert gone() is None
        assert Page.part.cache_info().currsize == 0

    def test_a_result_that_went_with_its_place_is_replaced(self, decorator: Decorator) -> None:
        class Page:
            @decorator(max_bytes="10 kB")
            def part(self) -> list[Any]:
                return [self, bytes(1_000)]

        page: Any = Page()
        first = page.part()
        before = Page.part.cache_info().currsize
        vars(page).clear()
        assert page.part() is not first
        assert page.part() is page.part()
        assert Page.part.cache_info().currsize == before


def test_the_expired_make_room_before_the_least_recent() -> None:
    now = 0
    fill, _ = filler(ttl_cache, 10 * weight(1_000), ttl=10, timer=lambda: now)
    for number in range(1_000, 1_005):
        fill(number)
    now = 5
    for number in range(990, 995):
        fill(number)
    now = 10
    fill(4 * 1_000)
    assert all(fill.cache_contains(number) for number in range(990, 995))
    assert fill.cache_info().currsize == weight(4_000) + sum(map(weight, range(990, 995)))


@BOTH
@given(
    st.lists(st.sampled_from([0, 10, 300, 301, 500, 999, 5_000]), max_size=40),
    st.sampled_from([0, 60, 400, 900, 2_000, 100_000]),
)
def test_it_is_an_ordered_dict_of_weights(
    decorator: Decorator, numbers: list[int], bound: int
) -> None:
    fill, calls = filler(decorator, bound)
    model: OrderedDict[int, int] = OrderedDict()
    expected: list[int] = []
    for number in numbers:
        assert fill(number) == bytes(number)
        if number in model:
            model.move_to_end(number)
            continue
        expected.append(number)
        if weight(number) <= bound:
            while sum(model.values()) + weight(number) > bound:
                model.popitem(last=False)
            model[number] = weight(number)
    assert calls == expected
    assert fill.cache_info().currsize == sum(model.values())
    assert {number for number in numbers if fill.cache_contains(number)} == set(model)


@BOTH
@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"max_bytes": 1.5}, TypeError),
        ({"max_bytes": True}, TypeError),
        ({"max_bytes": -1}, ValueError),
        ({"max_bytes": "64 M"}, ValueError),
        ({"max_bytes": 2**63}, OverflowError),
        ({"max_bytes": 10, "maxsize": 10}, TypeError),
        ({"max_bytes": 10, "maxsize": 128}, TypeError),
        ({"max_bytes": 10, "maxsize": None}, TypeError),
    ],
)
def test_a_bound_that_makes_no_sense_is_refused_at_once(
    decorator: Decorator, options: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error, match="max_bytes"):
        decorator(**options)


@BOTH
def test_it_may_be_given_the_function(decorator: Any) -> None:
    function = decorator(bytes, max_bytes="1 kB")
    assert function(3) == bytes(3)
    assert function.cache_info().maxsize == 1_000
