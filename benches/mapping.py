"""Operations of a cache as a mapping, against dict's and the peers'."""

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Any

from benches.measure import Contestant, Settings, Spread, race, ratios
from benches.peers import OURS, Peer
from benches.table import Row, Section, Target


@dataclass(frozen=True, slots=True)
class Operation:
    title: str
    how: str
    against: dict[str, Target | None]
    kinds: tuple[str, ...] = ("int", "str")


OPERATIONS: dict[str, Operation] = {
    "hit": Operation(
        "c[k], a hit",
        "for k in keys: c[k], each stored key once a pass   (moka-py, theine: c.get(k))",
        {"dict": Target(1.10), "cachebox": Target(1.03)},
        ("int", "int in order", "str", "equal str"),
    ),
    "get": Operation(
        "c.get(k), a hit",
        "for k in keys: c.get(k), each stored key once a pass",
        {"dict": Target(1.15)},
        ("int", "int in order", "str", "equal str"),
    ),
    "evict": Operation(
        "c[k] = v, with an eviction",
        "for k in keys: c[k] = k, in a full cache, on four times as many keys as it keeps: "
        "each is new",
        {"cachebox": Target(0.70)},
    ),
    "miss": Operation(
        "c.get(k), a miss",
        "for k in keys: c.get(k), on keys that are not there",
        {"dict": None},
    ),
    "replace": Operation(
        "c[k] = v, an existing key",
        "for k in keys: c[k] = k",
        {"dict": None},
    ),
    "get_or_create": Operation(
        "c.get_or_create(k, f), a hit, one thread",
        "for k in keys: c.get_or_create(k, f)   "
        "(dict: d.get(k, f); cachebox: setdefault_with; moka-py: get_with)",
        {"dict": None},
    ),
    "iterate": Operation(
        "iteration",
        "for k in c: pass, an entry",
        {"dict": None},
        ("int in order",),
    ),
    "construct": Operation(
        "an empty cache, made and dropped",
        "LRUCache(128)   (dict: dict())",
        {"dict": None, "cachebox": None},
        ("",),
    ),
}

WORKLOADS = {
    "int": "int, shuffled",
    "int in order": "int, as inserted",
    "str": "str, shuffled",
    "equal str": "str, shuffled copies",
    "": "",
}


def stored_keys(kind: str, first: int, count: int) -> list[Any]:
    numbers = range(first, first + count)
    return [f"key:{n}" for n in numbers] if "str" in kind else list(numbers)


def asked_keys(kind: str, stored: Sequence[Any]) -> list[Any]:
    asked = [k.encode().decode() for k in stored] if kind == "equal str" else list(stored)
    if kind != "int in order":
        Random(0).shuffle(asked)
    return asked


FIRST = 1_000_000  # beyond the ints that the interpreter keeps for itself


class NotKeptError(Exception):
    """A cache with room to spare lost keys: its hits can't be measured."""


def prepare(
    operation: str, kind: str, size: int, peer: Peer, stored: Sequence[Any], keys: Sequence[Any]
) -> Any:
    if operation == "construct":
        return peer.cls
    # Room to spare where nothing shall be evicted: some peers' policies don't admit every key.
    cache = peer.make(size if operation == "evict" else 2 * size)
    peer.fill(cache, ((k, n) for n, k in enumerate(stored)))
    if operation not in ("evict", "miss"):
        lost = sum(not peer.holds(cache, k) for k in keys)
        if lost:
            raise NotKeptError(f"{lost} of {size} keys were not kept")
    return cache


def section(name: str, peers: dict[str, Peer], settings: Settings) -> Section:
    operation = OPERATIONS[name]
    rows: list[Row] = []
    notes: list[str] = []
    for kind in operation.kinds:
        for size in settings.sizes if kind else settings.sizes[:1]:
            stored = stored_keys(kind, FIRST, size)
            if name == "evict":
                keys = asked_keys(kind, stored_keys(kind, FIRST + size, 4 * size))
            elif name == "miss":
                keys = asked_keys(kind, stored_keys(kind, FIRST + size, size))
            else:
                keys = asked_keys(kind, stored)
            workload = f"{WORKLOADS[kind]}, {size} entries" if kind else "maxsize 128"

            contestants: list[Contestant] = []
            for peer in peers.values():
                if name not in peer.loops:
                    continue
                try:
                    subject = prepare(name, kind, size, peer, stored, keys)
                except NotKeptError as error:
                    notes.append(f"{peer.name}, {workload}: {error}")
                else:
                    beside = peer.name != OURS and peer.name not in operation.against
                    contestants.append(Contestant(peer.name, peer.loops[name], subject, beside))
            times = race(contestants, keys, settings)
            for contestant in contestants:
                close = peers[contestant.name].close
                if close is not None:
                    close(contestant.subject)
            rows.extend(
                _row(workload, base, target, times) for base, target in operation.against.items()
            )
    return Section(name, operation.title, operation.how, rows, notes)


def _row(
    workload: str, base: str, target: Target | None, times: dict[str, dict[int, float]]
) -> Row:
    if base not in times:
        return Row(workload, base, "", None, {}, target)
    spreads = ratios(times, base)
    unit = f"{base} {Spread.of(list(times[base].values())).mid:.1f} ns"
    return Row(workload, base, unit, spreads.pop(OURS, None), spreads, target)
