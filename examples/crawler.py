"""A crawler that doesn't grow with the web: asyncio, httpx and leaksafe.

`python crawler.py https://example.org` prints the pages that are linked from there, on the same
site, and what they link to.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from html.parser import HTMLParser
from typing import Self
from urllib.parse import urldefrag, urljoin, urlsplit

import httpx

from leaksafe import LRUCache, Registry, cached


class Links(HTMLParser):
    """The targets of a page's links, in their order."""

    def __init__(self, address: str, text: str) -> None:
        super().__init__()
        self.address = address
        self.found: dict[str, None] = {}
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a link, made absolute and without its fragment."""
        for name, value in attrs:
            if (tag, name) == ("a", "href") and value:
                self.found[urldefrag(urljoin(self.address, value)).url] = None


class Crawler:
    """Walks over the pages of one site, some at a time."""

    def __init__(self, *, at_once: int = 8, remembered: int = 100_000) -> None:
        self._room = asyncio.Semaphore(at_once)
        # Addresses seen, and not a set that grows with the web: what is forgotten is fetched again.
        self._seen: LRUCache[str, bool] = LRUCache(remembered)
        # One client a host, with its pool of connections: at most 16, closed when they have to go.
        self._clients: Registry[str, httpx.AsyncClient] = Registry(maxsize=16)
        self.fetched = 0

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *_error: object) -> None:
        """Close the connections."""
        await self._clients.aclose()

    # A page that many others link to is fetched once, by the first task that asks. The crawler
    # itself isn't kept alive by what it has fetched.
    @cached(max_bytes="64 MiB", ttl=600)
    async def links(self, address: str) -> tuple[str, ...]:
        """Return the links of a page; none of what is no HTML, or fails."""

        async def connect() -> httpx.AsyncClient:
            return httpx.AsyncClient(follow_redirects=True, timeout=10)

        client = await self._clients.aget_or_create(urlsplit(address).netloc, connect)
        async with self._room:
            self.fetched += 1
            try:
                answer = await client.get(address)
                answer.raise_for_status()
            except httpx.HTTPError as error:
                print(f"{address}: {error!r}", file=sys.stderr)
                return ()
        if "html" not in answer.headers.get("content-type", ""):
            return ()
        return tuple(Links(str(answer.url), answer.text).found)

    async def crawl(self, start: str) -> AsyncIterator[tuple[str, tuple[str, ...]]]:
        """Yield each page of the site of `start` with its links, the nearest first."""
        site = urlsplit(start).netloc
        level = [start]
        while level:
            pages = await asyncio.gather(*map(self.links, level))
            found = list(zip(level, pages, strict=True))
            level = []
            for address, links in found:
                self._seen[address] = True
                yield address, links
            for link in dict.fromkeys(link for _, links in found for link in links):
                if urlsplit(link).netloc == site and link not in self._seen:
                    self._seen[link] = True
                    level.append(link)


async def main(start: str) -> None:
    """Print the pages of a site."""
    async with Crawler() as crawler:
        async for address, links in crawler.crawl(start):
            print(f"{address}: {len(links)} links")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
