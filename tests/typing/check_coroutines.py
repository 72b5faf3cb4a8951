# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of cached coroutines. Not run: mypy and pyright read it.

Every `type: ignore` here is an error that both have to report.
"""

from __future__ import annotations

import asyncio
from typing import assert_type

from leaksafe import (
    LRUCache,
    TTLCache,
    WeakCache,
    WeakValueDictionary,
    cached,
    lru_cache,
    ttl_cache,
)


@cached
async def bare(text: str, times: int = 1) -> str:
    return text * times


@cached(maxsize=100, ttl=60)
async def called(text: str, times: int = 1) -> str:
    return text * times


@lru_cache
async def least(text: str, times: int = 1) -> str:
    return text * times


@ttl_cache(ttl=60)
async def aged(text: str, times: int = 1) -> str:
    return text * times


class Page:
    @cached(ttl=60)
    async def body(self, width: int) -> bytes:
        return b"-" * width

    @classmethod
    @lru_cache
    async def title(cls, width: int) -> str:
        return "-" * width

    @staticmethod
    @ttl_cache
    async def footer(width: int) -> str:
        return "-" * width


async def main(page: Page) -> None:
    assert_type(await bare("a", 2), str)
    assert_type(await called("a", times=2), str)
    assert_type(await least("a"), str)
    assert_type(await aged("a"), str)
    assert_type(await page.body(3), bytes)
    assert_type(await Page.title(3), str)
    assert_type(await Page.footer(3), str)
    assert_type(await asyncio.gather(bare("a"), page.body(3)), tuple[str, bytes])
    task = asyncio.create_task(bare("a"))
    assert_type(await task, str)

    assert_type(bare.cache_peek("a"), str | None)
    assert_type(page.body.cache_peek(3), bytes | None)
    assert_type(bare.cache_contains("a", 2), bool)
    assert_type(page.body.cache_discard(3), bool)

    await bare(5)  # type: ignore[arg-type]
    await page.body("wide")  # type: ignore[arg-type]
    bare("a").upper()  # type: ignore[attr-defined]


async def number() -> int:
    return 1


async def page() -> Page:
    return Page()


def not_async() -> int:
    return 1


async def caches() -> None:
    assert_type(await LRUCache[str, int](9).aget_or_create("a", number), int)
    assert_type(await TTLCache[str, int](9, 60).aget_or_create("a", number), int)
    assert_type(await WeakCache[str, Page](9).aget_or_create("a", page), Page)
    assert_type(await WeakValueDictionary[str, Page]().aget_or_create("a", page), Page)
    await LRUCache[str, int](9).aget_or_create("a", not_async)  # type: ignore[arg-type]
    await LRUCache[str, int](9).aget_or_create(5, number)  # type: ignore[arg-type]
