"""Referents of weak containers die at the worst moments: compared, in other threads, at exit."""

from __future__ import annotations

import gc
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from harness import in_threads
from isolated import each, isolated, raises, run_source
from leaksafe import (
    WeakCache,
    WeakIdDictionary,
    WeakKeyDictionary,
    WeakList,
    WeakSet,
    WeakValueDictionary,
)


class Cycle:
    """Collected, not counted down."""

    def __init__(self, number: int = 0) -> None:
        self.number = number
        self.me = self

    def method(self) -> None:
        pass


class Loud(Cycle):
    """Its hash, comparison and finalizer are Python code, which a collection may interrupt."""

    def __hash__(self) -> int:
        Cycle()
        return self.number % 3

    def __eq__(self, other: object) -> bool:
        Cycle()
        return isinstance(other, Loud) and self.number == other.number

    def __del__(self) -> None:
        Cycle()


def use(values: Any, keys: Any, by_id: Any, members: Any, items: Any, cache: Any) -> None:
    """Every operation once, on what may die in the middle of it."""
    for kind in (Cycle, Loud):
        for number in range(12):
            values[number % 5] = kind(number)
            values[kind(number)] = kind(number)
            keys[kind(number)] = kind(number)
            by_id[kind(number)] = kind(number)
            members.add(kind(number))
            members.add(kind(number).method)
            items.append(kind(number))
            cache[number % 7] = kind(number)
            values.setdefault(number, kind())
            values.get_or_create(number + 1, kind)
            keys.setdefault(kind(number), number)
            values.get(number), values.pop(number, None), kind(number) in keys
            kind(number) in members, members.discard(kind(number))
            cache.get(number), cache.pop(number, None)
            for container in (values, keys, by_id):
                assert all(one is not None and two is not None for one, two in container.items())
                container.copy()
                list(container.keys()), list(container.values())
            for some in (members, items):
                assert None not in list(some)
            del items[:2]
            members | [kind(number)], members == members.copy()
            for container in (values, keys):
                try:
                    container.popitem()
                except KeyError:  # all have died
                    pass


def containers() -> tuple[Any, ...]:
    return (
        WeakValueDictionary(),
        WeakKeyDictionary(),
        WeakIdDictionary(),
        WeakSet(),
        WeakList(),
        WeakCache(3),
    )


def assert_empty(all_of_them: tuple[Any, ...]) -> None:
    *weak, cache = all_of_them
    cache.clear()
    for _ in range(3):
        gc.collect()
    assert [len(container) for container in weak] == [0] * len(weak)


@each("threshold", [1, 7])
@isolated(limit=60)
def test_a_collection_at_each_allocation(threshold: int) -> None:
    gc.set_threshold(threshold, 1, 1)
    mine = containers()
    for _ in range(5):
        use(*mine)
    gc.set_threshold(700)
    assert_empty(mine)


@isolated(limit=60)
def test_four_threads_and_a_collector() -> None:
    mine = containers()
    over = threading.Event()

    def collect() -> None:
        # Without the GIL, collections on end let no other thread attach again, whatever it does.
        while not over.wait(0.005):
            gc.collect()

    collector = threading.Thread(target=collect)
    collector.start()
    try:
        in_threads(*[lambda: [use(*mine) for _ in range(10)]] * 4)
    finally:
        over.set()
        collector.join()
    assert_empty(mine)


@isolated()
def test_objects_that_die_in_another_thread() -> None:
    values, keys = WeakValueDictionary[int, Cycle](), WeakKeyDictionary[Cycle, int]()
    for start in range(0, 20_000, 1_000):
        things = [Cycle(number) for number in range(1_000)]
        for number, thing in enumerate(things):
            thing.me = None  # type: ignore[assignment]
            values[start + number] = thing
            keys[thing] = number
        del thing
        thread = threading.Thread(target=things.clear)
        thread.start()
        list(values.items()), list(keys.items())
        thread.join()
        assert (len(values), len(keys)) == (0, 0)


@isolated()
def test_what_dies_while_it_is_compared() -> None:
    class Mortal:
        def __hash__(self) -> int:
            return 1

        def __eq__(self, other: object) -> bool:
            alive.clear()
            return self is other

    for operation in (
        lambda keys, key: keys.get(key),
        lambda keys, key: keys.__setitem__(key, 1),
        lambda keys, key: keys.pop(key, None),
        lambda keys, key: key in keys,
    ):
        alive = [Mortal() for _ in range(5)]
        keys = WeakKeyDictionary[Any, int]((key, 0) for key in alive)
        mine = Mortal()
        operation(keys, mine)
        assert [key is mine for key in keys] == [True] * len(keys)


@isolated()
def test_a_callback_called_by_hand_takes_nothing_else_out() -> None:
    values, thing, other = WeakValueDictionary[int, Cycle](), Cycle(), Cycle()
    values[1] = thing
    (reference,) = weakref.getweakrefs(thing)
    reaper: Any = reference.__callback__
    for wrong in ((), (1,), (reference, reference), (WeakSet([other]),)):
        with raises(TypeError, "callback of weak references"):
            reaper(*wrong)
    strange = weakref.ref(other)
    hash(strange)
    reaper(strange)
    assert dict(values) == {1: thing}
    reaper(reference)
    assert dict(values) == {}
    del thing
    assert len(values) == 0


@isolated()
def test_many_deaths_at_once_in_a_cycle() -> None:
    things: list[Any] = [Cycle(number) for number in range(50_000)]
    things.append(things)
    values = WeakValueDictionary((number, thing) for number, thing in enumerate(things[:-1]))
    thing = things[7]
    things[8].me = things
    del things
    gc.collect()
    assert dict(values) == {7: thing}


@isolated()
def test_a_forked_child_goes_on() -> None:
    mine = containers()
    use(*mine)
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            use(*mine)
            assert_empty(mine)
            code = 0
        finally:
            os._exit(code)
    assert os.waitpid(pid, 0)[1] == 0


EXIT = """
import threading, sys
from leaksafe import *
class Thing:
    def __del__(self): values["again"] = Thing2()
class Thing2: pass
values, keys, members, items = WeakValueDictionary(), WeakKeyDictionary(), WeakSet(), WeakList()
values.on_collect = lambda key: values.get(key)
keys.on_collect = lambda value: len(keys)
things = [Thing() for _ in range(100)]
cache = WeakCache(5)
for number, thing in enumerate(things):
    values[number] = thing; keys[thing] = thing; members.add(thing); items.append(thing)
    cache[number] = thing
sys.things = things
Thing.containers = (values, keys, members, items, cache)
"""


@each("tail", ["", "del things, thing", "threading.Thread(target=things.clear).start()"])
def test_the_interpreter_exits_cleanly(tail: str) -> None:
    result = run_source(EXIT + tail)
    # What a finalizer of the program's own says at exit is not ours.
    assert result.code == 0, result.report("exit")
    assert "Fatal" not in result.stderr
    assert "panic" not in result.stderr


class Model(RuleBasedStateMachine):
    """The containers beside plain lists of `weakref.ref`."""

    numbers = st.integers(0, 7)

    def __init__(self) -> None:
        super().__init__()
        self.things: dict[int, Cycle] = {}
        self.values = WeakValueDictionary[int, Cycle]()
        self.keys = WeakIdDictionary[Cycle, int]()
        self.members = WeakSet[Cycle]()
        self.items = WeakList[Cycle]()
        self.by_key: dict[int, weakref.ref[Cycle]] = {}
        self.of_key: list[tuple[weakref.ref[Cycle], int]] = []
        self.list: list[weakref.ref[Cycle]] = []

    def thing(self, number: int) -> Cycle:
        thing = self.things.get(number)
        if thing is None:
            thing = self.things[number] = Cycle(number)
            thing.me = None  # type: ignore[assignment]
        return thing

    def prune(self) -> None:
        self.by_key = {key: ref for key, ref in self.by_key.items() if ref() is not None}
        self.of_key = [pair for pair in self.of_key if pair[0]() is not None]
        self.list = [ref for ref in self.list if ref() is not None]

    @rule(key=numbers, number=numbers)
    def set(self, key: int, number: int) -> None:
        thing = self.thing(number)
        self.values[key] = thing
        self.by_key[key] = weakref.ref(thing)
        if thing in self.keys:
            self.of_key = [pair for pair in self.of_key if pair[0]() is not thing]
            del self.keys[thing]
        self.keys[thing] = key
        self.of_key.append((weakref.ref(thing), key))
        self.members.add(thing)
        self.items.append(thing)
        self.list.append(weakref.ref(thing))

    @rule(number=numbers)
    def die(self, number: int) -> None:
        self.things.pop(number, None)

    @rule(key=numbers)
    def remove(self, key: int) -> None:
        self.prune()
        ref = self.by_key.pop(key, None)
        assert self.values.pop(key, None) is (None if ref is None else ref())

    @rule(number=numbers)
    def forget(self, number: int) -> None:
        thing = self.thing(number)
        self.keys.pop(thing, None)
        self.of_key = [pair for pair in self.of_key if pair[0]() is not thing]
        self.members.discard(thing)
        for at, ref in enumerate(self.list):
            if ref() is thing:
                del self.list[at]
                self.items.remove(thing)
                break

    @rule(key=numbers, number=numbers)
    def set_default(self, key: int, number: int) -> None:
        self.prune()
        thing = self.thing(number)
        ref = self.by_key.setdefault(key, weakref.ref(thing))
        assert self.values.setdefault(key, thing) is ref()

    @rule()
    def pop_item(self) -> None:
        self.prune()
        if self.by_key:
            key, ref = self.by_key.popitem()
            assert self.values.popitem() == (key, ref())

    @invariant()
    def the_same(self) -> None:
        self.prune()
        assert list(self.values.items()) == [(key, ref()) for key, ref in self.by_key.items()]
        assert list(self.keys.items()) == [(ref(), value) for ref, value in self.of_key]
        assert list(self.items) == [ref() for ref in self.list]
        assert set(self.members) <= set(self.things.values())
        for container, model in (
            (self.values, self.by_key),
            (self.keys, self.of_key),
            (self.items, self.list),
        ):
            assert len(container) == len(model)


TestModel: Callable[[], object] = Model.TestCase
TestModel.settings = settings(stateful_step_count=40)  # type: ignore[attr-defined]
