"""cached under random threads: a result was computed for that key, and not before a clear."""

from __future__ import annotations

import gc
import logging
import random
import threading
import time
import weakref
from collections import OrderedDict
from typing import Any

from harness import Boom
from isolated import each, isolated
from leaksafe import LRUCache, cached

SECONDS = 5.0

WAYS: dict[str, dict[str, Any]] = {
    "plain": {"maxsize": 8},
    "ttl": {"maxsize": 8, "ttl": 0.01},
    "mapping": {"cache": LRUCache(8)},
    "foreign mapping": {"cache": OrderedDict()},
    "old": {"maxsize": 8, "ttl": 0.05, "refresh_after": 0.005, "stale_if_error": 0.01},
}


@each("way", WAYS)
@isolated(limit=60)
def test_random_threads(way: str) -> None:
    logging.getLogger("leaksafe.refresh").setLevel(logging.CRITICAL)
    clearing = threading.Lock()
    begun = ended = 0  # the clears
    stop = time.monotonic() + SECONDS
    wrong: list[str] = []
    calls = 0

    @cached(wait_timeout=1, **WAYS[way])
    def f(key: int) -> tuple[int, int]:
        nonlocal calls
        calls += 1
        since = begun
        dice = random.random()
        if dice < 0.05:
            raise Boom(key)
        if dice < 0.3:
            time.sleep(dice / 200)
        if dice < 0.6:
            try:
                # Its own key, or that of another: rings are made all the time.
                f(random.randrange(12))
            except Boom:
                pass
        return key, since

    def work(seed: int) -> None:
        nonlocal begun, ended
        dice = random.Random(seed)
        while time.monotonic() < stop and not wrong:
            key = dice.randrange(12)
            action = dice.random()
            if action < 0.02:
                with clearing:
                    begun += 1
                    f.cache_clear()
                    ended += 1
            elif action < 0.08:
                f.cache_discard(key)
            elif action < 0.12:
                f.cache_contains(key)
            elif action < 0.14:
                f.cache_info()
            else:
                known = ended
                try:
                    got, since = f(key)
                except Boom as error:
                    if error.args != (key,):
                        wrong.append(f"{error!r} for {key}")
                    continue
                if got != key or since < known:
                    wrong.append(f"({got}, {since}) for {key} after clear {known}")

    threads = [threading.Thread(target=work, args=(seed,), daemon=True) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    hanging = [thread for thread in threads if thread.is_alive()]
    assert not hanging, f"{len(hanging)} threads hang"
    assert not wrong, wrong
    assert calls > 100, calls


@isolated()
def test_methods_whose_instances_die_meanwhile() -> None:
    class Owner:
        def __init__(self, name: int) -> None:
            self.name = name

        @cached(key=lambda x: x % 3)
        def kept(self, x: int) -> Any:
            return [self, self.name]

        @cached
        def plain(self, x: int) -> Any:
            return [self, self.name]

    wrong: list[object] = []
    living: list[weakref.ref[Owner]] = []

    def work(start: int) -> None:
        for name in range(start, start + 300):
            owner = Owner(name)
            living.append(weakref.ref(owner))
            for x in range(4):
                wrong.extend(
                    other for other in (owner.kept(x), owner.plain(x)) if other != [owner, name]
                )

    threads = [threading.Thread(target=work, args=(start * 1000,)) for start in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong, wrong[:3]
    gc.collect()
    assert not [one for one in living if one() is not None], "instances are kept"
    assert Owner.kept.cache_info().currsize == 0
    assert Owner.plain.cache_info().currsize == 0
