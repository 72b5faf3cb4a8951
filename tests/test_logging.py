"""The logger `leaksafe`: silent until asked, at any time, and never under a lock."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from harness import in_threads
from leaksafe import LRUCache

pytestmark = pytest.mark.thread_unsafe(reason="logging is the process's")

LOGGER = logging.getLogger("leaksafe")


class Collecting(logging.Handler):
    """Keeps what it is given, and does something with each."""

    def __init__(self) -> None:
        super().__init__(logging.NOTSET)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)

    def messages(self) -> list[str]:
        messages = [record.getMessage() for record in self.records]
        self.records.clear()
        return messages


@pytest.fixture
def handler() -> Iterator[Collecting]:
    """A handler on the root logger, which is at DEBUG; all levels are put back afterwards."""
    collecting = Collecting()
    root = logging.getLogger()
    levels = root.level, LOGGER.level
    root.setLevel(logging.DEBUG)
    root.addHandler(collecting)
    yield collecting
    root.removeHandler(collecting)
    root.setLevel(levels[0])
    LOGGER.setLevel(levels[1])


def evict(times: int = 1) -> None:
    cache = LRUCache[int, int](1)
    for number in range(times + 1):
        cache[number] = number


def test_off_by_default(handler: Collecting) -> None:
    assert LOGGER.level > logging.CRITICAL
    assert not LOGGER.isEnabledFor(logging.CRITICAL)
    evict()
    assert handler.messages() == []


def test_evictions_at_debug(handler: Collecting) -> None:
    LOGGER.setLevel(logging.DEBUG)
    evict()
    (record,) = handler.records
    assert record.levelno == logging.DEBUG
    assert record.name == "leaksafe" or record.name.startswith("leaksafe.")
    assert record.getMessage().startswith("LRUCache evicted")


def test_the_level_takes_effect_at_any_time(handler: Collecting) -> None:
    cache = LRUCache[int, int](1)
    cache[0] = 0
    number = 0

    def evicts() -> bool:
        nonlocal number
        number += 1
        cache[number] = number
        return bool(handler.messages())

    silent = LOGGER.level
    for _ in range(3):
        assert not evicts()
        LOGGER.setLevel(logging.DEBUG)
        assert evicts()
        LOGGER.setLevel(logging.INFO)
        assert not evicts()
        LOGGER.setLevel(1)
        assert evicts()
        LOGGER.setLevel(logging.CRITICAL)
        assert not evicts()
        logging.getLogger("leaksafe").setLevel(logging.DEBUG)
        assert evicts()
        LOGGER.setLevel(silent)


def test_logging_disable_is_obeyed(handler: Collecting) -> None:
    LOGGER.setLevel(logging.DEBUG)
    logging.disable(logging.CRITICAL)
    try:
        evict()
        assert handler.messages() == []
    finally:
        logging.disable(logging.NOTSET)
    evict()
    assert len(handler.messages()) == 1


def test_resize_and_weights_tell_of_evictions(handler: Collecting) -> None:
    LOGGER.setLevel(logging.DEBUG)
    cache = LRUCache[str, str](10, len)
    cache.update(a="xxx", b="xxx", c="xxx")
    assert handler.messages() == []
    cache["d"] = "x" * 9
    messages = handler.messages()
    assert messages
    assert all(message.startswith("LRUCache evicted") for message in messages)
    cache.resize(1)
    assert handler.messages()


def test_what_is_no_eviction_is_not_told(handler: Collecting) -> None:
    LOGGER.setLevel(logging.DEBUG)
    cache = LRUCache[str, int](3)
    cache.update(a=1, b=2)
    cache["a"] = 3
    del cache["a"]
    cache.pop("b")
    cache["c"] = 4
    cache.clear()
    assert not any("evicted" in message for message in handler.messages())


def test_a_handler_may_use_the_cache(handler: Collecting) -> None:
    """No record is emitted under a lock."""
    cache = LRUCache[str, Any](2)
    seen: list[int] = []

    class Using(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            seen.append(len(cache))
            cache.get("a")
            if len(seen) < 5:
                cache[f"logged {len(seen)}"] = record
            dict(cache)

    using = Using()
    LOGGER.addHandler(using)
    try:
        LOGGER.setLevel(logging.DEBUG)
        cache.update(a=1, b=2, c=3)
    finally:
        LOGGER.removeHandler(using)
    assert len(seen) == 5
    assert set(seen) == {2}
    assert len(cache) == 2


def test_many_threads(handler: Collecting) -> None:
    LOGGER.setLevel(logging.DEBUG)
    in_threads(*[lambda: evict(50)] * 4)
    assert len(handler.messages()) == 200
