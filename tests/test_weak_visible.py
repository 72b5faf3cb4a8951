"""What the tools see of the weak containers: `gc`, `sys.getsizeof`, `tracemalloc`."""

from __future__ import annotations

import gc
import sys
import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import pytest

from leaksafe import (
    WeakCache,
    WeakIdDictionary,
    WeakKeyDictionary,
    WeakList,
    WeakSet,
    WeakValueDictionary,
    _core,
)


class Thing:
    pass


MAKERS: dict[str, Callable[[Sequence[Thing]], Any]] = {
    "WeakValueDictionary": lambda things: WeakValueDictionary(enumerate(things)),
    "WeakKeyDictionary": lambda things: WeakKeyDictionary((thing, 1) for thing in things),
    "WeakIdDictionary": lambda things: WeakIdDictionary((thing, 1) for thing in things),
    "WeakSet": WeakSet,
    "WeakList": WeakList,
    "WeakCache": lambda things: filled(WeakCache(0), things),
}


def filled(cache: Any, things: Sequence[Thing]) -> Any:
    cache.update(enumerate(things))
    return cache


@pytest.mark.parametrize("kind", MAKERS)
def test_getsizeof_follows_the_table(kind: str) -> None:
    sizes = []
    for count in (0, 10, 1_000, 100_000):
        things = [Thing() for _ in range(count)]
        container = MAKERS[kind](things)
        sizes.append(sys.getsizeof(container))
        assert count * 16 <= sizes[-1] < count * 120 + 1_500
        assert len(container) == count
        del things
        assert len(container) == 0
    assert sizes == sorted(set(sizes))


@pytest.mark.thread_unsafe(reason="traces are the process's")
@pytest.mark.parametrize("kind", MAKERS)
def test_tracemalloc_knows_the_table_and_that_it_went(kind: str) -> None:
    def traced() -> int:
        only = tracemalloc.DomainFilter(inclusive=True, domain=_core.TRACEMALLOC_DOMAIN)
        traces = tracemalloc.take_snapshot().filter_traces([only]).traces
        return sum(trace.size for trace in traces)

    things = [Thing() for _ in range(1_000)]
    tracemalloc.start()
    try:
        container = MAKERS[kind](things)
        table = traced()
        assert 16_000 < table <= sys.getsizeof(container)
        container.clear()
        assert traced() < table / 4
        container = MAKERS[kind](things)
        del container
        assert traced() == 0
    finally:
        tracemalloc.stop()


def test_the_collector_sees_what_is_held_and_not_what_is_not() -> None:
    key, value, thing = Thing(), [1], Thing()
    told = lambda *_: None  # noqa: E731
    by_key = WeakValueDictionary({key: thing})
    by_key.on_collect = told
    of_key = WeakKeyDictionary({thing: value})
    members: WeakSet[Thing] = WeakSet([thing])
    assert key in gc.get_referents(by_key)
    assert told in gc.get_referents(by_key)
    assert any(value is other for other in gc.get_referents(of_key))
    for container in (by_key, of_key, members):
        assert gc.is_tracked(container)
        assert thing not in gc.get_referents(container)
    cache = WeakCache[int, Any](1)
    cache[1] = thing
    assert thing in gc.get_referents(cache)
    cache[2] = value
    assert thing not in gc.get_referents(cache)
