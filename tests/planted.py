"""Forty leaks of sixteen kinds, each with what its advice has to name."""

from __future__ import annotations

import asyncio
import atexit
import collections
import ctypes
import functools
import threading
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Self


class Thing:
    def __init__(self) -> None:
        self.payload = [0] * 10


class Node:
    def __init__(self, parent: Node | None = None) -> None:
        self.parent = parent
        self.children: list[Node] = []
        if parent is not None:
            parent.children.append(self)


class Car:
    def __init__(self, owner: Person) -> None:
        self.owner = owner


class Person:
    def __init__(self) -> None:
        self.cars: list[Car] = []


class Slotted:
    __slots__ = ("__weakref__", "back", "child")

    def __init__(self) -> None:
        self.child: Any = None
        self.back: Any = None


class Service:
    registry: dict[Any, Any] = {}
    seen: list[Any] = []
    listeners: list[Any] = []

    def __init__(self) -> None:
        self.cache: dict[Any, Any] = {}
        self.handlers: list[Any] = []
        self.log: list[Any] = []
        self.error: BaseException | None = None
        self.members: set[Any] = set()

    def handle(self) -> None:
        pass

    @functools.lru_cache(maxsize=None)
    def slow(self) -> int:
        return 1

    @functools.lru_cache(maxsize=64)
    def slower(self, number: int) -> int:
        return number

    @functools.cache
    def cached(self) -> int:
        return 2


SERVICE = Service()
CACHE: dict[Any, Any] = {}
COUNTS: dict[str, Any] = collections.defaultdict(list)
NESTED: dict[str, dict[Any, Any]] = {"inner": {}}
OBJECTS: list[Any] = []
RECENT: collections.deque[Any] = collections.deque()
LISTENERS: list[Callable[[], object]] = []
CALLBACKS: set[Callable[[], object]] = set()
HOOKS: collections.deque[Callable[[], object]] = collections.deque()
MEMBERS: set[Any] = set()
ERRORS: list[BaseException] = []
TASKS: set[Any] = set()
TASK_LIST: list[Any] = []
TASK_NAMES: dict[str, Any] = {}
REFERENCES: list[Any] = []
LAST: Any = None
CHILD: Any = None
CAR: Any = None
SLOTTED: Any = None
GENERATOR: Any = None
LOCAL = threading.local()
LOCAL.seen = []
STOP = threading.Event()
THREADS: list[threading.Thread] = []


@functools.lru_cache(maxsize=None)
def compute(thing: object) -> object:
    return thing


@functools.cache
def compute_pair(left: object, right: object) -> list[object]:
    return [left, right]


@functools.lru_cache(None)
def compute_number(number: int) -> tuple[int, list[int]]:
    return number, [number]


def remember_by_closure() -> Callable[[object], None]:
    seen: Any = None

    def remember(thing: object) -> None:
        nonlocal seen
        seen = (thing, seen)

    return remember


def remember_by_list() -> Callable[[object], None]:
    kept = Holder()

    def remember(thing: object) -> None:
        kept.last = (thing, kept.last)

    return remember


class Holder:
    last: Any = None


CLOSURE = remember_by_closure()


def defaults(thing: object = None, seen: list[object] = []) -> None:
    seen.append(thing)


def default_keyword(thing: object, *, seen: set[object] = set()) -> None:
    seen.add(thing)


def default_deque(
    thing: object,
    seen: collections.deque[object] = collections.deque(),
) -> None:
    seen.append(thing)


def fail() -> None:
    payload = Thing()
    raise ValueError(str(payload.payload[0]))


def kept_error() -> BaseException:
    try:
        fail()
    except ValueError as error:
        return error
    raise AssertionError


def values_of(thing: Thing) -> Iterator[int]:
    yield from thing.payload


def run_tasks(keep: Callable[[Any], object]) -> None:
    async def work() -> Thing:
        return Thing()

    async def main() -> None:
        for _ in range(5):
            task = asyncio.ensure_future(work())
            keep(task)
            await task

    asyncio.run(main())


def lose_reference(thing: object) -> None:
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(thing))


@dataclass
class Plant:
    name: str
    kind: str
    leak: Callable[[], object]
    wanted: str
    """What the advice names."""


def times(count: int, function: Callable[[], object]) -> Callable[[], object]:
    def repeated() -> None:
        for _ in range(count):
            function()

    return repeated


def set_global(name: str, make: Callable[[], object]) -> Callable[[], object]:
    def assign() -> None:
        globals()[name] = make()

    return assign


def child_of_a_tree() -> Node:
    root = Node()
    return Node(Node(root))


def car_of_a_person() -> Car:
    person = Person()
    car = Car(person)
    person.cars.append(car)
    return car


def slotted_child() -> Slotted:
    parent, child = Slotted(), Slotted()
    parent.child = child
    child.back = parent
    return child


def started_generator() -> Iterator[int]:
    generator = values_of(Thing())
    next(generator)
    return generator


def wait_with(thing: object) -> None:
    STOP.wait(60)


def leave_thread() -> None:
    thread = threading.Thread(target=wait_with, args=(Thing(),), daemon=True)
    THREADS.append(thread)
    thread.start()


def finalize_itself() -> None:
    thing = Thing()
    weakref.finalize(thing, id, thing)


class Settings:
    instance: Any = None

    def __new__(cls) -> Self:
        if cls.instance is None:
            cls.instance = super().__new__(cls)
        one: Self = cls.instance
        return one


def kinds() -> Iterator[Plant]:
    cache, weak = "LRUCache", "WeakList"
    yield Plant("module dict", "dict", times(20, lambda: CACHE.update({object(): Thing()})), cache)
    yield Plant(
        "numbers by text",
        "dict",
        times(20, lambda: CACHE.update({f"add_{len(CACHE)}": len(CACHE) + 1000})),
        cache,
    )
    yield Plant(
        "class dict", "dict", times(20, lambda: Service.registry.update({object(): 1})), cache
    )
    yield Plant(
        "instance dict", "dict", times(20, lambda: SERVICE.cache.update({Thing(): 1})), cache
    )
    yield Plant(
        "nested dict", "dict", times(20, lambda: NESTED["inner"].update({Thing(): 1})), cache
    )
    yield Plant(
        "defaultdict", "dict", times(20, lambda: COUNTS[f"k{len(COUNTS)}"].append(1)), cache
    )

    own = "doesn't hold self"
    yield Plant("lru_cache on a method", "method cache", times(5, lambda: Service().slow()), own)
    yield Plant("bounded, on a method", "method cache", times(5, lambda: Service().slower(3)), own)
    yield Plant("cache on a method", "method cache", times(5, lambda: Service().cached()), own)

    bound = "without a bound"
    yield Plant("lru_cache(None)", "function cache", times(5, lambda: compute(Thing())), bound)
    yield Plant("cache", "function cache", times(5, lambda: compute_pair(Thing(), 1)), bound)
    yield Plant(
        "cache of numbers",
        "function cache",
        lambda: [compute_number(n) for n in range(1000, 1009)],
        bound,
    )

    yield Plant("list of lambdas", "listeners", times(5, lambda: LISTENERS.append(lambda: 1)), weak)
    yield Plant(
        "bound methods",
        "listeners",
        times(5, lambda: SERVICE.handlers.append(Service().handle)),
        weak,
    )
    yield Plant(
        "set of callbacks", "listeners", times(5, lambda: CALLBACKS.add(Service().handle)), weak
    )
    yield Plant(
        "class list of partials",
        "listeners",
        times(5, lambda: Service.listeners.append(functools.partial(print, Thing()))),
        weak,
    )
    yield Plant("deque of hooks", "listeners", times(5, lambda: HOOKS.append(lambda: 2)), weak)

    error = "exception is kept"
    yield Plant("last error", "exception", set_global("LAST", kept_error), error)
    yield Plant(
        "errors in a list", "exception", times(5, lambda: ERRORS.append(kept_error())), error
    )
    yield Plant(
        "error of an instance", "exception", lambda: setattr(SERVICE, "error", kept_error()), error
    )

    lazy = "LazyObjects"
    yield Plant("module list", "list", times(20, lambda: OBJECTS.append(Thing())), lazy)
    yield Plant("class list", "list", times(20, lambda: Service.seen.append(Thing())), lazy)
    yield Plant(
        "instance list", "list", times(20, lambda: SERVICE.log.append(len(SERVICE.log) + 1.5)), lazy
    )
    yield Plant("deque", "list", times(20, lambda: RECENT.append(Thing())), lazy)

    done = "add_done_callback"
    yield Plant("task set", "tasks", lambda: run_tasks(TASKS.add), done)
    yield Plant("task list", "tasks", lambda: run_tasks(TASK_LIST.append), done)
    yield Plant(
        "task dict",
        "tasks",
        lambda: run_tasks(lambda task: TASK_NAMES.update({task.get_name(): task})),
        done,
    )

    parent = "weakattr"
    yield Plant("child of a tree", "parent", set_global("CHILD", child_of_a_tree), parent)
    yield Plant("car of a person", "parent", set_global("CAR", car_of_a_person), parent)
    yield Plant("slots", "parent", set_global("SLOTTED", slotted_child), parent)

    yield Plant("closure", "closure", lambda: CLOSURE(Thing()), "closure")
    yield Plant("default list", "default", times(5, lambda: defaults(Thing())), "default argument")
    yield Plant(
        "default set", "default", times(5, lambda: default_keyword(Thing())), "default argument"
    )
    yield Plant(
        "default deque", "default", times(5, lambda: default_deque(Thing())), "default argument"
    )

    yield Plant("set", "set", times(5, lambda: MEMBERS.add(Thing())), "WeakSet")
    yield Plant("reference lost in C", "C", lambda: lose_reference(Thing()), "only C code holds")
    yield Plant(
        "atexit", "atexit", lambda: atexit.register(Thing().payload.copy), "atexit.unregister"
    )
    yield Plant("generator", "generator", set_global("GENERATOR", started_generator), "generator")
    yield Plant("thread", "thread", leave_thread, "thread")
    yield Plant(
        "weak references that stay",
        "weak",
        times(5, lambda: REFERENCES.append(weakref.ref(Thing()))),
        "WeakList",
    )
    yield Plant("finalizer of itself", "finalize", finalize_itself, "weakref.finalize")
    yield Plant("instance of itself", "one instance", Settings, "leaksafe.singleton")
    yield Plant(
        "thread-local", "thread-local", times(5, lambda: LOCAL.seen.append(Thing())), "thread-local"
    )


PLANTS = list(kinds())
