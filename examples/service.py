"""A web service that keeps what it is asked for, within bounds: FastAPI and leaksafe.

`uvicorn service:app`, started in this directory, serves it. GET /profiles/ada answers, and
GET /caches says what is held.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from fastapi.responses import PlainTextResponse

from leaksafe import LRUCache, Registry, cached, census, singleton


@singleton
class Settings:
    """What the service is started with: one for all, and `singleton.override` in tests."""

    def __init__(self) -> None:
        self.greeting = "Hello"


class Database:
    """A stand-in for a connection: slow, counted, and to be closed."""

    def __init__(self, tenant: str) -> None:
        self.tenant = tenant
        self.queries = 0
        self.closed = False

    async def profile(self, name: str) -> str | None:
        """Return what is known of a user."""
        self.queries += 1
        await asyncio.sleep(0.01)
        return f"{name.title()} of {self.tenant}" if name != "nobody" else None

    async def aclose(self) -> None:
        """Give the connection back."""
        await asyncio.sleep(0)
        self.closed = True


# One connection a tenant, at most eight, and closed when it has to go.
databases: Registry[str, Database] = Registry(maxsize=8)
# What the pages look like, bounded by what they weigh.
pages: LRUCache[tuple[str, str], str] = LRUCache(max_bytes="16 MiB")


async def database(tenant: str = "acme") -> Database:
    """Return the tenant's connection, made once however many requests ask."""

    async def connect() -> Database:
        return Database(tenant)

    return await databases.aget_or_create(tenant, connect)


# A thousand requests for one cold profile are one query. An unknown user isn't remembered.
@cached(
    maxsize=10_000,
    ttl=60,
    key=lambda database, name: (database.tenant, name),
    cache_if=lambda profile: profile is not None,
)
async def profile_of(database: Database, name: str) -> str | None:
    """Return a user's profile, at most a minute old."""
    return await database.profile(name)


@asynccontextmanager
async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
    """Close what is open when the service ends."""
    yield
    await databases.aclose()


app = FastAPI(lifespan=lifespan)


@app.get("/profiles/{name}")
async def profile(name: str, database: Annotated[Database, Depends(database)]) -> dict[str, str]:
    """Answer with a user's profile."""
    found = await profile_of(database, name)
    if found is None:
        raise HTTPException(404, f"nobody is called {name!r}")
    return {"profile": found}


@app.get("/pages/{name}", response_class=PlainTextResponse)
def page(name: str, tenant: str = "acme") -> str:
    """Answer with a page, rendered once however many threads ask."""
    return pages.get_or_create((tenant, name), lambda: f"{Settings().greeting}, {name}!\n" * 100)


@app.get("/caches")
def caches() -> list[dict[str, object]]:
    """Answer with what every cache of the process holds."""
    return [
        {"name": one.name, "entries": one.entries, "weight": one.weight, "bound": one.bound}
        for one in census()
    ]
