"""G9 and G2 for the weak containers: every operation leaves references and blocks as they were."""

from __future__ import annotations

import copy
import gc
import pickle
import sys
import weakref
from collections.abc import Callable
from typing import Any

from isolated import FREE_THREADED, each, full_collection, isolated
from leaksafe import (
    WeakCache,
    WeakIdDictionary,
    WeakKeyDictionary,
    WeakList,
    WeakSet,
    WeakValueDictionary,
    per_instance,
    weak_callback,
    weakattr,
)

ROUNDS = 20_000
BLOCKS = 300


class Thing:
    other = weakattr[Any]()

    def method(self) -> None:
        pass


class Equal:
    def __hash__(self) -> int:
        return 5

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)


class Failing:
    fails = False

    def __hash__(self) -> int:
        return 5

    def __eq__(self, other: object) -> bool:
        if self.fails:
            raise ValueError
        return self is other


def quietly(operation: Callable[[], object]) -> Callable[[], object]:
    def run() -> None:
        try:
            operation()
        except (KeyError, TypeError, ValueError, ReferenceError):
            pass

    return run


KEY, VALUE, OTHER = "key" * 5, Thing(), Thing()
WATCHED = [KEY, VALUE, OTHER]
values = WeakValueDictionary[Any, Any]({KEY: VALUE})
keys = WeakKeyDictionary[Any, Any]({VALUE: KEY})
by_id = WeakIdDictionary[Any, Any]([(VALUE, KEY)])
members = WeakSet[Any]([VALUE, VALUE.method])
items = WeakList[Any]([VALUE, VALUE.method])
cache = WeakCache[Any, Any](2)
cache[KEY] = VALUE
data: per_instance[list[Any]] = per_instance(list)
failing = Failing()
hostile = WeakKeyDictionary[Any, Any]({failing: 1})


def fail_to_compare() -> None:
    failing.fails = True
    try:
        hostile[Failing()]
    finally:
        failing.fails = False


def told(*_: object) -> None:
    pass


def collected() -> None:
    values.on_collect = told
    values["x"] = Thing()
    keys.on_collect = told
    keys[Thing()] = KEY
    values.on_collect = keys.on_collect = None


def in_a_cycle() -> None:
    container = WeakValueDictionary[Any, Any]()
    thing: Any = Thing()
    thing.container, container[1] = container, thing
    container.on_collect = lambda key: container


def owned() -> None:
    thing = Thing()
    data(thing).append(thing)
    thing.other = VALUE
    VALUE.other = thing


OPERATIONS: dict[str, Callable[[], object]] = {
    "get": lambda: (values[KEY], values.get(KEY), values.get(1, KEY), KEY in values),
    "set": lambda: values.__setitem__(KEY, VALUE),
    "set and delete": lambda: (values.__setitem__(1, OTHER), values.pop(1)),
    "set what dies": lambda: values.__setitem__(KEY + "x", Thing()),
    "set default": lambda: (values.setdefault(KEY, OTHER), values.setdefault(2, Thing())),
    "make": lambda: (values.get_or_create(3, Thing), values.get_or_create(KEY, Thing)),
    "fail to set": quietly(lambda: values.__setitem__(KEY, 5)),
    "fail to make": quietly(lambda: values.get_or_create(4, lambda: 5)),
    "fail to find": quietly(lambda: values[5]),
    "fail to hash": quietly(lambda: values[[]]),
    "fail to compare": quietly(fail_to_compare),
    "iterate": lambda: (
        list(values),
        list(values.values()),
        list(values.items()),
        next(iter(keys)),
    ),
    "copy": lambda: (values.copy(), copy.deepcopy(keys), values | {1: OTHER}, keys == keys.copy()),
    "references": lambda: (values.valuerefs(), keys.keyrefs()),
    "pop an item": lambda: values.__setitem__(*values.popitem()),
    "keys get": lambda: (keys[VALUE], keys.get(OTHER), VALUE in keys, by_id[VALUE]),
    "keys set": lambda: (keys.__setitem__(VALUE, KEY), by_id.__setitem__(VALUE, KEY)),
    "keys that die": lambda: (keys.__setitem__(Thing(), KEY), by_id.__setitem__(Thing(), KEY)),
    "keys that are equal": lambda: WeakKeyDictionary({Equal(): KEY, Equal(): VALUE}),
    "keys' default": lambda: keys.setdefault(Thing(), KEY),
    "collected": collected,
    "in a cycle": in_a_cycle,
    "members": lambda: (members.add(OTHER), OTHER in members, members.discard(OTHER)),
    "members that die": lambda: members.add(Thing()),
    "methods": lambda: (members.add(Thing().method), VALUE.method in members, list(members)),
    "combine": lambda: (members | [OTHER], members & [VALUE], members ^ [OTHER], members <= [1]),
    "items": lambda: (items.append(OTHER), items[0], items.remove(OTHER), list(items)),
    "items that die": lambda: (items.append(Thing()), items.append(Thing().method)),
    "pickle": lambda: pickle.loads(pickle.dumps((members.copy(), items))),
    "cache": lambda: (cache[KEY], cache.get(KEY), cache.__setitem__(KEY, VALUE)),
    "cache overflow": lambda: [cache.__setitem__(number, Thing()) for number in range(4)],
    "cache of atoms": lambda: [cache.__setitem__(number, 10**20) for number in range(4)],
    "cache kept": lambda: [cache.__setitem__(number, VALUE) for number in (1, 2, 3, KEY)],
    "attribute": lambda: (setattr(VALUE, "other", OTHER), VALUE.other, delattr(VALUE, "other")),
    "attribute copied": lambda: (setattr(VALUE, "other", OTHER), copy.deepcopy(VALUE)),
    "owned": owned,
    "callback": lambda: weak_callback(VALUE.method)(),
    "construct": lambda: (WeakSet(), WeakCache(1), WeakIdDictionary(), WeakValueDictionary()),
}


@each("name", OPERATIONS)
@isolated(limit=60, malloc="pymalloc" if not FREE_THREADED else "mimalloc")
def test_nothing_is_left_of(name: str) -> None:
    operation = OPERATIONS[name]
    gc.disable()

    def measure() -> tuple[int, ...]:
        full_collection()
        return (*map(sys.getrefcount, WATCHED), sys.getallocatedblocks())

    for _ in range(200):
        operation()
    seen = []
    for _ in range(4):
        *before, blocks = measure()
        for number in range(ROUNDS):
            operation()
            if name in ("in a cycle", "owned") and number % 200 == 0:
                gc.collect()
        *after, now = measure()
        seen.append((now - blocks, before == after))
        if seen[-1][0] < BLOCKS and seen[-1][1]:
            break
    else:
        raise AssertionError(f"{name}: {seen}")


@isolated()
def test_cycles_through_every_container_are_freed() -> None:
    class Node:
        held: object
        peer = weakattr[Any]()

        def method(self) -> None:
            pass

    def through(make: Callable[[Node], object]) -> weakref.ref[Node]:
        node = Node()
        node.held = make(node)
        return weakref.ref(node)

    def cached(node: Node) -> object:
        cache = WeakCache[Any, Any](5)
        cache[1], cache[node] = node, 5
        return cache

    def with_callback(container: Any, node: Node) -> object:
        container.on_collect = lambda *_: node
        return container

    gone = [
        through(lambda node: WeakValueDictionary({node: node})),
        through(lambda node: WeakKeyDictionary({node: 1})),
        through(lambda node: WeakIdDictionary([(node, 1)])),
        through(lambda node: WeakSet([node])),
        through(lambda node: WeakList([node, node.method])),
        through(lambda node: iter(WeakValueDictionary({node: node}).items())),
        through(cached),
        through(lambda node: with_callback(WeakValueDictionary[Any, Any](), node)),
        through(lambda node: with_callback(WeakSet[Any](), node)),
    ]
    full_collection()
    assert [reference() for reference in gone] == [None] * len(gone)
