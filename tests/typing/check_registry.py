# pyright: reportUnnecessaryTypeIgnoreComment=true
"""What type checkers make of Registry. Not run: mypy and pyright read it.

Every `type: ignore` here is an error that both have to report.
"""

from __future__ import annotations

from datetime import timedelta
from typing import assert_type

from leaksafe import Registry


class Connection:
    url = ""


class Connections(Registry[str, Connection]):
    def __init__(self, host: str) -> None:
        super().__init__(None, ttl=timedelta(hours=1))
        self.host = host


async def connect() -> Connection:
    return Connection()


registry: Registry[str, Connection] = Registry(10, weak=True, ttl=5)
assert_type(registry.get_or_create("a", Connection), Connection)
assert_type(registry["a"], Connection)
assert_type(registry.pop("a"), Connection)
assert_type(registry.pop("a", None), Connection | None)
assert_type(list(registry), list[str])
assert_type(registry.maxsize, int | None)
assert_type(Connections("db").get_or_create("a", Connection).url, str)
with registry as entered:
    assert_type(entered, Registry[str, Connection])
with registry.use("a") as used:
    assert_type(used, Connection)
with registry.use("a", Connection) as used, registry.override("a", Connection()):
    assert_type(used, Connection)
Registry[str, int](1.5)  # type: ignore[arg-type]
Registry[str, int]()  # type: ignore[call-arg]
registry.get_or_create(1, Connection)  # type: ignore[arg-type]
registry.get_or_create("a", int)  # type: ignore[arg-type]
registry.get_or_create("a")  # type: ignore[call-arg]
registry["a"] = Connection()  # type: ignore[index]
registry.override("a", 5)  # type: ignore[arg-type]


async def asynchronous() -> None:
    assert_type(await registry.aget_or_create("a", connect), Connection)
    await registry.aget_or_create("a", Connection)  # type: ignore[arg-type]
    async with registry as within:
        assert_type(within, Registry[str, Connection])
    await registry.aclose()
