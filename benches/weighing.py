"""What it takes to weigh a document, against `pympler.asizeof`."""

import json
import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from importlib import import_module
from time import thread_time_ns as clock
from typing import Any

from benches.measure import Contestant, Settings, Spread, race, ratios
from benches.peers import OURS, Peer
from benches.table import Row, Section, Target

BASE = "pympler"
MEASURES = ("weigh",)

USERS = 36_000
"""As many as make 10 MB of JSON."""


def document(users: int) -> Any:
    chance = random.Random(1)
    records = [
        {
            "id": 1_000_000 + number,
            "name": f"user {number}",
            "email": f"user{number}@example.org",
            "active": number % 3 == 0,
            "score": 100 * chance.random(),
            "tags": [chance.choice(["alpha", "beta", "gamma"]) for _ in range(4)],
            "address": {
                "street": f"{number} Main Street",
                "zip": str(10_000 + number),
                "at": [chance.random(), chance.random()],
            },
            "note": None,
        }
        for number in range(users)
    ]
    return json.loads(json.dumps({"users": records}))


def weigh(measure: Callable[[Any], int], documents: Sequence[Any], passes: int) -> int:
    start = clock()
    for _ in range(passes):
        for document in documents:
            measure(document)
    return clock() - start


def section(name: str, peers: dict[str, Peer], settings: Settings) -> Section:
    parsed = document(USERS if settings.entries == Settings().entries else USERS // 10)
    measures: dict[str, Callable[[Any], int]] = {OURS: import_module("leaksafe").deep_sizeof}
    notes: list[str] = []
    try:
        measures[BASE] = import_module("pympler.asizeof").asizeof
    except ImportError as error:
        notes.append(f"{BASE} ({error})")
    weights = {peer: measure(parsed) for peer, measure in measures.items()}
    target = Target(0.05)
    workload = f"{len(json.dumps(parsed)) / 1e6:.1f} MB of JSON"
    row = Row(workload, BASE, "", None, {}, target)
    if BASE in measures:
        contestants = [Contestant(peer, weigh, measures[peer], False) for peer in measures]
        times = race(contestants, [parsed], replace(settings, rounds=settings.rounds_beside))
        unit = f"{BASE} {Spread.of(list(times[BASE].values())).mid / 1e6:.0f} ms"
        row = Row(workload, BASE, unit, ratios(times, BASE)[OURS], {}, target)
        notes.append(f"deep_sizeof says {weights[OURS] / weights[BASE] - 1:+.1%} of {BASE}'s bytes")
    return Section(name, "deep_sizeof(document)", "one parsed document", [row], notes)
