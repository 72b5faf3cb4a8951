"""The examples work, with the libraries that they are made with."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import pytest

from leaksafe import clear_all, singleton

httpx = pytest.importorskip("httpx")
pytestmark = pytest.mark.thread_unsafe(reason="a server, and the caches of the examples' modules")

EXAMPLES = Path(__file__).resolve().parent.parent / "examples"


@pytest.fixture(autouse=True)
def _examples(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    clear_all()
    yield
    for name in ("service", "crawler"):
        sys.modules.pop(name, None)


class TestService:
    @pytest.fixture
    def service(self) -> Any:
        pytest.importorskip("fastapi")
        import service

        return service

    def test_requests_at_once_are_one_query(self, service: Any) -> None:
        async def main() -> None:
            transport = httpx.ASGITransport(app=service.app)
            async with (
                service.lifespan(service.app),
                httpx.AsyncClient(transport=transport, base_url="http://service") as client,
            ):
                answers = await asyncio.gather(*(client.get("/profiles/ada") for _ in range(50)))
                assert {answer.json()["profile"] for answer in answers} == {"Ada of acme"}
                other = await client.get("/profiles/ada", params={"tenant": "other"})
                assert other.json() == {"profile": "Ada of other"}
                both = [service.databases[tenant] for tenant in ("acme", "other")]
                assert [one.queries for one in both] == [1, 1]
            assert all(one.closed for one in both)

        asyncio.run(main())

    def test_an_unknown_user_is_not_remembered(self, service: Any) -> None:
        async def main() -> None:
            transport = httpx.ASGITransport(app=service.app)
            async with httpx.AsyncClient(transport=transport, base_url="http://service") as client:
                for _ in range(2):
                    assert (await client.get("/profiles/nobody")).status_code == 404
                assert service.databases["acme"].queries == 2
                await service.databases.aclose()

        asyncio.run(main())

    def test_pages_are_bounded_and_listed(self, service: Any) -> None:
        async def main() -> None:
            transport = httpx.ASGITransport(app=service.app)
            settings = service.Settings()
            settings.greeting = "Good day"
            with singleton.override(service.Settings, settings):
                async with httpx.AsyncClient(
                    transport=transport, base_url="http://service"
                ) as client:
                    page = await client.get("/pages/ada")
                    assert page.text.startswith("Good day, ada!")
                    rows = (await client.get("/caches")).json()
            bounds = {row["bound"]: row["entries"] for row in rows}
            assert bounds[16 * 1024 * 1024] == 1
            assert bounds[10_000] == 0

        asyncio.run(main())


class Site(BaseHTTPRequestHandler):
    """Pages in a ring, each with a link to the next ones, to one that fails and to another site."""

    asked: ClassVar[Counter[str]] = Counter()

    def do_GET(self) -> None:
        self.asked[self.path] += 1
        number = self.path.removeprefix("/")
        self.send_response(200 if number.isdigit() else 404)
        self.send_header("Content-Type", "text/html")
        self.end_headers()
        if number.isdigit():
            links = [f"/{(int(number) + step) % 30}#top" for step in (1, 2, 3)]
            links += ["/missing", "http://elsewhere.invalid/"]
            self.wfile.write("".join(f'<a href="{link}">' for link in links).encode())

    def log_message(self, *_args: object) -> None:
        pass


@pytest.fixture
def site() -> Iterator[str]:
    Site.asked.clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


class TestCrawler:
    def test_each_page_is_fetched_once(self, site: str) -> None:
        from crawler import Crawler

        async def main() -> None:
            async with Crawler(at_once=4) as crawler:
                found = {address: links async for address, links in crawler.crawl(f"{site}/0")}
            assert found.keys() == {f"{site}/{n}" for n in range(30)} | {f"{site}/missing"}
            assert found[f"{site}/29"][0] == f"{site}/0"
            assert found[f"{site}/missing"] == ()
            assert set(Site.asked.values()) == {1}
            assert crawler.fetched == 31

        asyncio.run(main())

    def test_a_page_that_many_ask_for_is_fetched_once(self, site: str) -> None:
        from crawler import Crawler

        async def main() -> None:
            async with Crawler() as crawler:
                await asyncio.gather(*(crawler.links(f"{site}/1") for _ in range(100)))
                assert Site.asked == {"/1": 1}

        asyncio.run(main())

    def test_a_crawler_goes_with_what_it_fetched(self, site: str) -> None:
        from crawler import Crawler

        async def main() -> weakref.ref[Crawler]:
            async with Crawler() as crawler:
                await crawler.links(f"{site}/1")
                assert Crawler.links.cache_info().currsize > 0
                return weakref.ref(crawler)

        gone = asyncio.run(main())
        gc.collect()
        assert gone() is None
        assert Crawler.links.cache_info().currsize == 0
