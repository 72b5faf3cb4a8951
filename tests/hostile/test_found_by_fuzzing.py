"""What `make fuzz` found, each by its name."""

from __future__ import annotations

import gc
import itertools
import threading
import time
import weakref
from typing import Any

import pytest

from harness import PATIENCE, BadHash, Boom
from isolated import isolated
from leaksafe import Registry, _refresh
from leaksafe.compat import cachetools


class Interrupting:
    """A key whose `__str__` is interrupted."""

    def __str__(self) -> str:
        raise KeyboardInterrupt


class Stuck:
    """What can't be closed for an interrupt."""

    def __init__(self, number: int) -> None:
        self.number = number

    def close(self) -> None:
        raise KeyboardInterrupt(self.number)


@pytest.mark.parametrize("kind", ["Cache", "FIFOCache", "LFUCache", "LRUCache", "RRCache"])
def test_a_key_whose_hash_begins_to_fail_costs_no_room(kind: str) -> None:
    cache: Any = getattr(cachetools, kind)(2)
    key = FailsLater()
    with pytest.raises(Boom):
        cache[key] = 1
    assert (cache.currsize, len(cache)) == (0, 0)
    cache[1] = cache[2] = 1
    assert len(cache) == 2


class FailsLater(BadHash):
    """A key that can be looked up once."""

    def __init__(self) -> None:
        self.failing = False

    def __hash__(self) -> int:
        found = super().__hash__()
        self.failing = True
        return found


def test_an_emptied_cache_with_an_order_of_its_own_keeps_nothing_of_it() -> None:
    cache: Any = cachetools.LFUCache(100)
    for number in range(100):
        cache[number] = number
        cache[number]
    cache.clear()
    assert cache._store.heap == []


class Changing:
    """A key of which each hash is another."""

    hashes = itertools.count()

    def __hash__(self) -> int:
        return next(self.hashes)


def test_a_key_whose_hash_changes_is_let_go_when_its_result_was_computed_anew() -> None:
    key = Changing()
    done = threading.Event()
    _refresh.behind(("a function", key), done.set)
    assert done.wait(PATIENCE)
    watched = weakref.ref(key)
    del key
    end = time.monotonic() + PATIENCE
    while watched() is not None and time.monotonic() < end:
        time.sleep(0.001)
        gc.collect()
    assert watched() is None


class Asking:
    """A key that has something else computed anew whenever it is compared."""

    def __hash__(self) -> int:
        return 1

    def __eq__(self, other: object) -> bool:
        _refresh.behind(("another function", Changing()), int)
        return False


@isolated()
def test_keys_are_compared_where_no_lock_is_held() -> None:
    release = threading.Event()
    for _ in range(3):
        _refresh.behind(("a function", Asking()), release.wait)
    release.set()


def test_an_interrupt_in_the_name_of_a_registrys_key_is_not_lost() -> None:
    registry = Registry[Any, object](2)
    with pytest.raises(KeyboardInterrupt):
        registry.get_or_create(Interrupting(), object)
    assert len(registry) == 0


def test_of_several_interrupts_while_closing_none_is_lost() -> None:
    registry = Registry[int, Stuck](3)
    for number in range(3):
        registry.get_or_create(number, lambda number=number: Stuck(number))  # type: ignore[misc]
    with pytest.raises(KeyboardInterrupt) as caught:
        registry.close()
    rest = caught.value.__cause__
    assert isinstance(rest, BaseExceptionGroup)
    numbers = [caught.value.args[0], *(error.args[0] for error in rest.exceptions)]
    assert numbers == [2, 1, 0]
    assert len(registry) == 0
