"""deep_sizeof: what is counted, what is left out, and that only `__sizeof__` runs."""

from __future__ import annotations

import array
import collections
import functools
import gc
import itertools
import json
import math
import random
import sys
import threading
import types
import weakref
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pympler import asizeof

from harness import Boom
from isolated import full_collection, isolated, raises, resident
from leaksafe import LRUCache, deep_sizeof, lru_cache


def fresh(text: str) -> str:
    """The same text, not interned."""
    return "".join([text[:1], text[1:]])


def document(users: int) -> Any:
    """What a service may have parsed: about 280 bytes of JSON for each user."""
    chance = random.Random(1)
    text = json.dumps(
        {
            "users": [
                {
                    "id": 1_000_000 + number,
                    "name": f"user {number}",
                    "email": f"user{number}@example.org",
                    "active": number % 3 == 0,
                    "score": 100 * chance.random(),
                    "tags": [chance.choice(["alpha", "beta", "gamma"]) for _ in range(4)],
                    "address": {"street": f"{number} Main Street", "at": [chance.random(), 1.5]},
                    "note": None,
                }
                for number in range(users)
            ]
        }
    )
    return json.loads(text)


def is_shared(thing: object) -> bool:
    return (
        thing is None
        or isinstance(thing, bool)
        or thing == ()
        or (isinstance(thing, int) and -5 <= thing <= 256)
        or (isinstance(thing, str) and is_interned(thing))
    )


def is_interned(text: str) -> bool:
    # One that isn't becomes so, and stays this very object, only if no other is.
    if not text:
        return True
    known = getattr(sys, "_is_interned", None)
    return known(text) if known else len(text) == 1 and text.isascii()


def model(thing: Any) -> int:
    """The same sum by recursion in Python, for what JSON and literals are made of."""
    seen: set[int] = set()

    def walk(thing: Any) -> int:
        if is_shared(thing) or id(thing) in seen:
            return 0
        seen.add(id(thing))
        inside: list[Any] = []
        if isinstance(thing, dict):
            inside = [*thing.keys(), *thing.values()]
        elif isinstance(thing, list | tuple | set | frozenset):
            inside = list(thing)
        return sys.getsizeof(thing) + sum(map(walk, inside))

    return walk(thing)


# Long enough not to be a constant of some code.
TEXTS = st.text(min_size=2, max_size=20).map(lambda text: "~ " + text)
ATOMS = st.none() | st.booleans() | st.integers() | st.floats() | st.binary(min_size=2) | TEXTS
KEYS = TEXTS | st.integers() | st.tuples(TEXTS, st.integers())
THINGS = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner)
        | st.lists(inner).map(tuple)
        | st.dictionaries(KEYS, inner)
        | st.sets(KEYS)
        | st.frozensets(KEYS)
        | inner.map(lambda thing: [thing, (thing, {"~ twice": thing})])
    ),
    max_leaves=30,
)


@given(THINGS)
@settings(max_examples=300)
def test_it_is_the_sum_over_all_that_can_be_reached(thing: Any) -> None:
    assert deep_sizeof(thing) == model(thing)


def test_a_document_weighs_what_pympler_says() -> None:
    parsed = document(2_000)
    weighed = asizeof.asizeof(parsed)  # type: ignore[no-untyped-call]
    assert math.isclose(deep_sizeof(parsed), weighed, rel_tol=0.05)


@pytest.mark.parametrize(
    "thing",
    [
        *(None, True, ..., NotImplemented, 0, 256, -5, (), "", "a", sys.intern("an interned one")),
        *(int, str.upper, len, math.sqrt, deep_sizeof, json, lambda: [1_000]),
        compile("1000", "", "eval"),
    ],
    ids=repr,
)
def test_what_the_program_shares_weighs_nothing(thing: object) -> None:
    assert deep_sizeof(thing) == 0
    assert deep_sizeof([thing]) == sys.getsizeof([thing])


def test_a_bound_method_weighs_with_its_object() -> None:
    owner: list[int] = [1_000, 2_000]
    assert deep_sizeof(owner.append) == sys.getsizeof(owner.append) + deep_sizeof(owner)


def test_what_is_met_twice_counts_once() -> None:
    inner = [10_000]
    once = deep_sizeof([inner, None])
    assert deep_sizeof([inner, inner]) == once
    inner.append(inner)  # type: ignore[arg-type]
    assert deep_sizeof(inner) == sys.getsizeof(inner) + sys.getsizeof(10_000)


@isolated()
def test_depth_has_no_limit() -> None:
    deep: Any = None
    for _ in range(200_000):
        deep = [deep]
    assert deep_sizeof(deep) == 200_000 * sys.getsizeof([None])

    class Node:
        __slots__ = ("next",)

    nodes = [Node() for _ in range(50_000)]
    for one, other in itertools.pairwise(nodes):
        one.next = other  # type: ignore[attr-defined]
    first = nodes[0]
    assert deep_sizeof(first) == 50_000 * sys.getsizeof(first)
    # one after the other: freed as a chain they would use the stack
    for node in nodes[:-1]:
        del node.next  # type: ignore[attr-defined]
    while deep:
        deep = deep.pop()


def test_slots() -> None:
    class Point:
        __slots__ = ("x", "y")

    point: Any = Point()
    point.x = 10_000
    assert deep_sizeof(point) == sys.getsizeof(point) + sys.getsizeof(10_000)


def test_attributes_count_and_get_no_dictionary() -> None:
    class Person:
        def __init__(self, name: str, age: int) -> None:
            self.name = name
            self.age = age

    people = [Person(fresh("somebody"), 1_000 + number) for number in range(100)]
    person = people[-1]
    values = sys.getsizeof(person.name) + sys.getsizeof(person.age)
    weight = deep_sizeof(person)
    # On 3.11 and 3.12, room for the two is beside the object.
    assert sys.getsizeof(person) + values <= weight <= sys.getsizeof(person) + values + 32
    assert not any(isinstance(referent, dict) for referent in gc.get_referents(person))
    # A dictionary of its own weighs more, never less.
    person.__dict__["more"] = fresh("something else")
    assert deep_sizeof(person) >= weight + sys.getsizeof(fresh("something else"))


def test_attributes_seen_as_attributes_and_in_the_dictionary_count_once() -> None:
    class Person:
        def __init__(self) -> None:
            self.name = fresh("a name of some length")

    person = Person()
    attributes = vars(person)
    both = deep_sizeof([person, attributes])
    assert deep_sizeof([attributes, person]) == both
    name = sys.getsizeof(person.name)
    assert both < deep_sizeof(person) + deep_sizeof(attributes) + sys.getsizeof([1, 2])
    assert both - name < deep_sizeof([person]) + sys.getsizeof(attributes)


def test_subclasses_of_builtin_containers() -> None:
    class Names(dict[str, Any]):
        pass

    names = Names()
    key, value = fresh("one key"), fresh("one value")
    names[key] = value
    names.owner = owner = fresh("an owner")  # type: ignore[attr-defined]
    atoms = sys.getsizeof(key) + sys.getsizeof(value) + sys.getsizeof(owner)
    assert deep_sizeof(names) >= sys.getsizeof(names) + atoms
    assert deep_sizeof(names) <= sys.getsizeof(names) + atoms + 400

    ordered = collections.OrderedDict([(key, [value])])
    expected = sys.getsizeof(ordered) + sys.getsizeof(ordered[key]) + atoms - sys.getsizeof(owner)
    assert deep_sizeof(ordered) == expected

    queue = collections.deque([value] * 3)
    assert deep_sizeof(queue) == sys.getsizeof(queue) + sys.getsizeof(value)


def test_buffers_and_wrappers() -> None:
    numbers = array.array("d", range(1_000))
    assert deep_sizeof([numbers]) == sys.getsizeof([1]) + sys.getsizeof(numbers)
    words = [fresh("a word")]
    assert deep_sizeof(iter(words)) == sys.getsizeof(iter(words)) + deep_sizeof(words)
    partial = functools.partial(print, words)
    assert deep_sizeof(partial) >= sys.getsizeof(partial) + deep_sizeof(words)


def test_generators_count_what_they_hold() -> None:
    def numbers() -> Iterator[int]:
        held = list(range(1_000, 2_000))
        yield from held

    running = numbers()
    next(running)
    assert deep_sizeof(running) > 1_000 * sys.getsizeof(1_000)


def test_weak_references_are_not_followed() -> None:
    class Thing:
        pass

    thing = Thing()
    thing.data = [1_000] * 1_000  # type: ignore[attr-defined]
    reference = weakref.ref(thing)
    assert deep_sizeof([reference]) == sys.getsizeof([1]) + sys.getsizeof(reference)


def test_a_cache_counts_with_its_contents() -> None:
    cache: LRUCache[str, Any] = LRUCache(10)
    key, value = fresh("a key of a cache"), [1_000, 2_000]
    cache[key] = value
    assert deep_sizeof(cache) == sys.getsizeof(cache) + sys.getsizeof(key) + deep_sizeof(value)
    cache["itself"] = cache
    assert deep_sizeof(cache) == sys.getsizeof(cache) + sys.getsizeof(key) + deep_sizeof(value)

    @lru_cache
    def double(number: int) -> list[int]:
        return [number] * 1_000

    before = deep_sizeof(double)
    double(1_000)
    assert deep_sizeof(double) > before + 8_000


class Hostile:
    """Everything but its size is out of bounds."""

    def _refuse(self, *_: object, **__: object) -> Any:
        raise Boom("this is not to run")

    __getattribute__ = __getattr__ = __iter__ = __len__ = __eq__ = __hash__ = _refuse
    __bool__ = __index__ = __int__ = __repr__ = __getitem__ = __contains__ = _refuse


class HostileDict(dict[Any, Any]):
    def _refuse(self, *_: object, **__: object) -> Any:
        raise Boom("this is not to run")

    __getattribute__ = __iter__ = __len__ = keys = items = values = __getitem__ = _refuse


def test_no_code_but_sizeof_runs() -> None:
    # Numbers only in the assertions: a failing one would show the objects.
    thing = Hostile()
    measured, alone = deep_sizeof([thing, thing]), sys.getsizeof(thing)
    assert measured in range(sys.getsizeof([1, 2]) + alone, sys.getsizeof([1, 2]) + alone + 32)
    mapping = HostileDict({fresh("some key"): thing})
    measured, least = deep_sizeof(mapping), sys.getsizeof(mapping) + alone
    assert measured >= least


def test_a_sizeof_is_obeyed() -> None:
    class Remote:
        def __sizeof__(self) -> int:
            return 1_000_000

    assert deep_sizeof(Remote()) == sys.getsizeof(Remote()) >= 1_000_000


@pytest.mark.parametrize("answer", [-1, "much", 1.5, None], ids=repr)
def test_a_senseless_sizeof_is_an_error(answer: object) -> None:
    class Odd:
        def __sizeof__(self) -> Any:
            return answer

    with pytest.raises((TypeError, ValueError)):
        deep_sizeof([Odd()])


def test_what_a_sizeof_raises_comes_out() -> None:
    class Broken:
        def __sizeof__(self) -> int:
            raise Boom("size")

    things: list[Any] = [[], Broken(), []]
    with pytest.raises(Boom):
        deep_sizeof(things)
    gone = weakref.ref(things[1])
    things.clear()
    full_collection()
    assert gone() is None


@isolated()
def test_a_sizeof_may_change_what_is_measured() -> None:
    class Wrecker:
        def __init__(self, *targets: Any) -> None:
            self.targets = targets

        def __sizeof__(self) -> int:
            for target in self.targets:
                target.clear()
            deep_sizeof([self.targets])
            return 100

    things: list[Any] = [[[number], {str(number): [number]}] for number in range(1_000)]
    table: dict[Any, Any] = {number: [number] for number in range(1_000)}
    wrecker = Wrecker(things, table)
    for place in range(0, 1_000, 7):
        things.insert(place, wrecker)
    deep_sizeof([wrecker, things, table])
    deep_sizeof([things, table, wrecker])
    assert things == [] and table == {}


@isolated()
def test_a_sizeof_may_change_classes() -> None:
    class Dict(dict[Any, Any]):
        pass

    class Plain:
        pass

    class Meddler:
        def __sizeof__(self) -> int:
            Dict.__sizeof__ = lambda self: 10**6  # type: ignore[method-assign]
            for thing in plain:
                thing.__class__ = Other  # type: ignore[assignment]
            return 1

    class Other:
        pass

    plain = [Plain() for _ in range(10)]
    things: list[Any] = [Dict(a=1), *plain[:5], Meddler(), *plain[5:], Dict(b=2)]
    assert deep_sizeof(things) > 0
    things.reverse()
    assert deep_sizeof(things) >= 2 * 10**6


@isolated(limit=60)
def test_other_threads_may_change_what_is_measured() -> None:
    class Node:
        def __init__(self) -> None:
            self.items: list[Any] = []

    root: dict[Any, Any] = {number: Node() for number in range(200)}
    names: set[str] = set()
    cache: LRUCache[Any, Any] = LRUCache(100)
    stop = threading.Event()

    def change(seed: int) -> None:
        chance = random.Random(seed)
        while not stop.is_set():
            key = chance.randrange(400)
            node: Any = root.get(key)
            if node is None:
                root[key] = Node()
            elif chance.random() < 0.1:
                root.pop(key, None)
            else:
                node.items.append([key, str(key) + "!"])
                setattr(node, f"attribute{key % 50}", {key: "~" * key})
                names.add(f"name {key}")
                cache[f"key {key}"] = [node]
                if len(node.items) > 50:
                    node.items = []
                    names.discard(f"name {key}")

    threads = [threading.Thread(target=change, args=(seed,)) for seed in range(2)]
    for thread in threads:
        thread.start()
    for _ in range(300):
        assert deep_sizeof([root, names, cache]) > 0
    stop.set()
    for thread in threads:
        thread.join()


@isolated(limit=60, malloc="default")
def test_it_leaves_no_memory_and_no_references_behind() -> None:
    thing = document(200)

    class Person:
        def __init__(self) -> None:
            self.document = thing

    people = [Person() for _ in range(100)]
    mark = object()
    thing["mark"] = mark
    before = sys.getrefcount(mark), sys.getrefcount(Person), sys.getrefcount(thing)
    deep_sizeof(people)
    memory = resident()
    for _ in range(500):
        deep_sizeof(people)
    assert (sys.getrefcount(mark), sys.getrefcount(Person), sys.getrefcount(thing)) == before
    assert resident() - memory < 2_000_000, "it grows"


@pytest.mark.thread_unsafe(reason="signals are the main thread's")
def test_a_signal_handler_can_end_it() -> None:
    import signal

    thing = document(2_000)

    def interrupt(*_: object) -> None:
        raise Boom("signal")

    previous = signal.signal(signal.SIGALRM, interrupt)
    try:
        with raises(Boom):
            signal.setitimer(signal.ITIMER_REAL, 0.01)
            while True:
                deep_sizeof(thing)
    finally:
        signal.signal(signal.SIGALRM, previous)


def test_it_is_a_function_of_one_argument() -> None:
    assert isinstance(deep_sizeof, types.BuiltinFunctionType)
    with pytest.raises(TypeError):
        deep_sizeof()
    with pytest.raises(TypeError):
        deep_sizeof(obj=1)
