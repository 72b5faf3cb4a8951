# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of ttl_cache. Not run: mypy and pyright read it.

Every `type: ignore` here is an error that both have to report.
"""

from __future__ import annotations

import time
from datetime import timedelta
from typing import assert_type

from leaksafe import ttl_cache


@ttl_cache
def bare(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@ttl_cache()
def called(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@ttl_cache(100, 60, time.monotonic, True)
def in_order(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@ttl_cache(maxsize=None, ttl=timedelta(minutes=1), weak_self=False)
def named(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


@ttl_cache(max_bytes="64 MiB", ttl=60)
def in_bytes(text: str, times: int = 1, *, end: str = "") -> str:
    return text * times + end


class Shop:
    @ttl_cache(ttl=60)
    def price(self, symbol: str) -> int:
        return len(symbol)


for function in (bare, called, in_order, named, in_bytes):
    assert_type(function("a", 2, end="b"), str)
    assert_type(function.cache_discard("a"), bool)
    assert_type(function.cache_info().hits, int)
    assert_type(function.cache_parameters()["maxsize"], int | None)

assert_type(Shop().price("a"), int)
assert_type(Shop().price.cache_contains("a"), bool)

bare(1)  # type: ignore[arg-type]
Shop().price()  # type: ignore[call-arg]
ttl_cache("100")  # type: ignore[call-overload]
ttl_cache(100, "600")  # type: ignore[call-overload]
ttl_cache(100, timer=600)  # type: ignore[call-overload]
ttl_cache(max_bytes=1.5)  # type: ignore[call-overload]
