# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of cached and cached_property. Not run: mypy and pyright read it.

Every `type: ignore` here is an error that both have to report.
"""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type, overload

from leaksafe import Living, TTLCache, cached, cached_property, census


@cached
def bare(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@cached()
def called(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@cached(maxsize=100, ttl=timedelta(minutes=1), key=str, wait_timeout=5)
def with_options(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@cached(TTLCache(1000, 60))
def in_a_cache(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@cached(max_bytes="256 MiB", ttl=300, refresh_after=240, stale_if_error=60, copy=True)
def behind(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


for function in (bare, called, with_options, in_a_cache, behind):
    assert_type(function("a", 2, end="b"), str)
    assert_type(function.cache_discard("a"), bool)
    assert_type(function.cache_contains("a"), bool)
    assert_type(function.cache_peek("a"), str | None)
    assert_type(function.cache_info().hits, int)
    assert_type(function.cache_parameters()["maxsize"], int | None)
    function.cache_put("result", "a", 2)
    function.cache_clear()


class Shop:
    @cached
    def price(self, symbol: str) -> int:
        return len(symbol)

    @cached(ttl=60)
    def name(self) -> str:
        return "shop"

    @classmethod
    @cached
    def open(cls, where: str) -> str:
        return where

    @staticmethod
    @cached
    def tax(price: int) -> float:
        return price * 0.2

    @cached_property
    def size(self) -> int:
        return 1

    @cached_property(slot="_place")
    def place(self) -> str:
        return "here"


shop = Shop()
assert_type(shop.price("a"), int)
assert_type(shop.price.cache_peek("a"), int | None)
assert_type(shop.price.cache_contains("a"), bool)
shop.price.cache_put(5, "a")
assert_type(shop.name(), str)
assert_type(Shop.open("a"), str)
assert_type(Shop.tax(1), float)
assert_type(shop.size, int)
assert_type(shop.place, str)
assert_type(Shop.size, cached_property[int])
assert_type(census(), list[Living])


@overload
def twice(one: int) -> int: ...
@overload
def twice(one: str) -> str: ...
@cached
def twice(one: int | str) -> int | str:
    return one * 2


assert_type(twice(1), int)
assert_type(twice("a"), str)

bare(1)  # type: ignore[arg-type]
shop.price()  # type: ignore[call-arg]
bare.cache_peek(1)  # type: ignore[arg-type]
cached("100")  # type: ignore[call-overload]
cached(maxsize="100")  # type: ignore[call-overload]
cached(key=5)  # type: ignore[call-overload]
