"""Calls of decorated functions, against those of `functools.lru_cache`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib import import_module
from time import thread_time_ns as clock
from typing import Any

from benches.mapping import FIRST, WORKLOADS, asked_keys, stored_keys
from benches.measure import Contestant, Loop, Settings, Spread, race, ratios
from benches.peers import OURS, Peer
from benches.table import Row, Section, Target

BASE = "functools"

# How many calls the function remembers, and whether by type as well.
Decorator = Callable[[int, bool], Callable[[Callable[..., Any]], Any]]


# Each is one plain loop over locals, as those of the mappings are.
def no_argument(call: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for _k in keys:
            call()
    return clock() - start


def one_argument(call: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            call(k)
    return clock() - start


def two_arguments(call: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            call(k, k)
    return clock() - start


def a_keyword(call: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            call(a=k)
    return clock() - start


def argument_and_keyword(call: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            call(k, b=k)
    return clock() - start


def method(instance: Any, keys: Any, passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for k in keys:
            instance.call(k)
    return clock() - start


@dataclass(frozen=True, slots=True)
class Call:
    title: str
    how: str
    target: Target
    loop: Loop
    kinds: tuple[str, ...] = ("int", "str")
    typed: bool = False
    evicts: bool = False


CALLS: dict[str, Call] = {
    "call": Call(
        "f(), a hit",
        "for k in keys: f()",
        Target(0.80),
        no_argument,
        ("",),
    ),
    "call-1": Call(
        "f(k), a hit",
        "for k in keys: f(k), each remembered key once a pass",
        Target(0.65),
        one_argument,
        ("int", "int in order", "str", "equal str"),
    ),
    "call-2": Call(
        "f(k, k), a hit",
        "for k in keys: f(k, k)",
        Target(0.50),
        two_arguments,
    ),
    "call-keyword": Call(
        "f(a=k), a hit",
        "for k in keys: f(a=k)",
        Target(0.40),
        a_keyword,
    ),
    "call-both": Call(
        "f(k, b=k), a hit",
        "for k in keys: f(k, b=k)",
        Target(0.40),
        argument_and_keyword,
    ),
    "call-method": Call(
        "obj.f(k), a hit",
        "for k in keys: obj.f(k); functools keeps obj, leaksafe does not",
        Target(0.80),
        method,
    ),
    "call-typed": Call(
        "f(k), a hit, typed=True",
        "for k in keys: f(k)",
        Target(0.60),
        one_argument,
        typed=True,
    ),
    "call-evict": Call(
        "f(k), a miss with an eviction",
        "for k in keys: f(k), on four times as many keys as it remembers: each is new",
        Target(0.90),
        one_argument,
        evicts=True,
    ),
}


def _cachebox(maxsize: int, typed: bool) -> Callable[[Callable[..., Any]], Any]:
    cachebox = import_module("cachebox")
    key = cachebox.make_typed_key if typed else cachebox.make_key
    return cachebox.cached(cachebox.LRUCache(maxsize), key_maker=key)  # type: ignore[no-any-return]


def _cachetools(maxsize: int, typed: bool) -> Callable[[Callable[..., Any]], Any]:
    cachetools = import_module("cachetools")
    keys = import_module("cachetools.keys")
    key = keys.typedkey if typed else keys.hashkey
    return cachetools.cached(cachetools.LRUCache(maxsize), key)  # type: ignore[no-any-return]


def _moka(maxsize: int, typed: bool) -> Callable[[Callable[..., Any]], Any]:
    moka = import_module("moka_py")
    return moka.cached(maxsize, typed=typed, policy="lru")  # type: ignore[no-any-return]


def _ours(maxsize: int, typed: bool) -> Callable[[Callable[..., Any]], Any]:
    return import_module("leaksafe").lru_cache(maxsize, typed)  # type: ignore[no-any-return]


DECORATORS: dict[str, Decorator] = {
    OURS: _ours,
    BASE: lru_cache,
    "cachebox": _cachebox,
    "cachetools": _cachetools,
    "moka-py": _moka,
}


def decorated(decorator: Decorator, call: Call, maxsize: int) -> Any:
    """What the loop of a call is to be given."""

    def function(a: Any = None, b: Any = None) -> Any:
        return a

    remember = decorator(maxsize, call.typed)
    if call.loop is not method:
        return remember(function)

    class Owner:
        @remember
        def call(self, a: Any) -> Any:
            return a

    return Owner()


def section(name: str, peers: dict[str, Peer], settings: Settings) -> Section:
    call = CALLS[name]
    rows: list[Row] = []
    for kind in call.kinds:
        for size in settings.sizes if kind else settings.sizes[:1]:
            keys: Sequence[Any] = asked_keys(kind, stored_keys(kind, FIRST, size))
            if call.evicts:
                keys = asked_keys(kind, stored_keys(kind, FIRST, 4 * size))
            maxsize = size if call.evicts else 2 * size
            contestants: list[Contestant] = []
            for peer, decorator in DECORATORS.items():
                if peer in peers:
                    subject = decorated(decorator, call, maxsize)
                    call.loop(subject, keys, 1)
                    contestants.append(
                        Contestant(peer, call.loop, subject, peer not in (OURS, BASE))
                    )
            times = race(contestants, keys, settings)
            spreads = ratios(times, BASE)
            workload = f"{WORKLOADS[kind]}, {size} entries" if kind else "one entry"
            unit = f"{BASE} {Spread.of(list(times[BASE].values())).mid:.1f} ns"
            row = Row(workload, BASE, unit, spreads.pop(OURS, None), spreads, call.target)
            rows.append(row)
    return Section(name, call.title, call.how, rows, [])
