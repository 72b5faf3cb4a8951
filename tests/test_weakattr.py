"""`weakattr`, `per_instance` and `weak_callback`."""

from __future__ import annotations

import copy
import gc
import pickle
import weakref
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import attrs
import pytest

from harness import in_threads
from leaksafe import WeakList, per_instance, weak_callback, weakattr


@pytest.fixture(autouse=True)
def _no_gc() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class Person:
    def __init__(self, name: str) -> None:
        self.name = name
        self.cars: list[Car] = []

    def add(self, car: Car) -> Car:
        self.cars.append(car)
        car.owner = self
        return car


class Car:
    owner = weakattr[Person]()


class Slotted:
    __slots__ = ("_weak_owner",)
    owner = weakattr[Person]()


class Beside:
    __slots__ = ("__weakref__",)
    owner = weakattr[Person]()


class Inherited(Car):
    pass


@dataclass
class Data:
    name: str
    owner: weakattr[Person] = weakattr()  # noqa: RUF009  # as a dataclass takes a descriptor


@dataclass(frozen=True)
class Frozen:
    name: str = "x"
    owner = weakattr[Person]()


@attrs.define
class Defined:
    name: str = "x"
    owner = weakattr[Person]()


@attrs.define(slots=False)
class Open:
    name: str = "x"
    owner = weakattr[Person]()


@pytest.mark.parametrize(
    "make",
    [Car, Slotted, Beside, Inherited, lambda: Data("a"), Frozen, Defined, Open],
    ids=[
        "plain",
        "slot",
        "beside",
        "inherited",
        "dataclass",
        "frozen dataclass",
        "attrs",
        "attrs without slots",
    ],
)
def test_it_reads_as_the_object_and_keeps_nothing_alive(make: Callable[[], Any]) -> None:
    person, car = Person("Ada"), make()
    assert car.owner is None
    with pytest.raises(AttributeError, match="owner"):
        del car.owner
    if make is Frozen:
        type(car).owner.__set__(car, person)
    else:
        car.owner = person
    assert car.owner is person
    gone = weakref.ref(person)
    del person
    assert gone() is None
    assert car.owner is None
    person = Person("Bob")
    if make is not Frozen:
        car.owner = person
        del car.owner
        assert car.owner is None
        car.owner = person
        car.owner = None
        assert car.owner is None
        with pytest.raises(TypeError, match="weak reference to 'int' object"):
            car.owner = 5


def test_without_a_place_it_says_which_to_make() -> None:
    class Closed:
        __slots__ = ()
        owner = weakattr[Person]()

    closed = Closed()
    assert closed.owner is None
    with pytest.raises(TypeError, match=r"Closed objects have no place.*_weak_owner.*__weakref__"):
        closed.owner = Person("Ada")


def test_a_default_and_an_error_for_the_missing() -> None:
    nobody = Person("nobody")

    class House:
        owner = weakattr[Person](default=nobody, missing="raise")

    house, person = House(), Person("Ada")
    assert house.owner is nobody
    house.owner = person
    assert house.owner is person
    del person
    with pytest.raises(ReferenceError, match="'owner' is gone"):
        house.owner
    with pytest.raises(ValueError, match="missing must be 'none' or 'raise', but is 'x'"):
        weakattr(missing="x")  # type: ignore[arg-type]


def test_on_collect_is_told_the_instance() -> None:
    told: list[object] = []

    class House:
        owner = weakattr[Person](on_collect=told.append)

    house, lost = House(), House()
    person = Person("Ada")
    house.owner = lost.owner = person
    del lost
    del person
    assert told == [house]


def test_one_descriptor_is_one_attribute() -> None:
    attribute = weakattr[Person]()
    with pytest.raises(TypeError, match="no name"):
        attribute.__get__(Car())
    with pytest.raises((TypeError, RuntimeError)):
        type("Twice", (), {"one": attribute, "two": attribute})
    assert Car.owner.__name__ == "owner"


def test_copies_hold_weakly_too() -> None:
    person = Person("Ada")
    car = person.add(Car())
    for twin in (copy.copy(car), copy.deepcopy(car)):
        assert twin.owner is person
    other = copy.deepcopy(person)
    assert other.cars[0].owner is other
    loaded = pickle.loads(pickle.dumps(person))
    assert loaded.cars[0].owner is loaded
    gone = [weakref.ref(each) for each in (person, other, loaded)]
    left = [copy.copy(car), *other.cars, *loaded.cars]
    del person, other, loaded
    assert [reference() for reference in gone] == [None, None, None]
    assert [each.owner for each in left] == [None, None, None]
    assert pickle.loads(pickle.dumps(car)).owner is None


def test_what_refers_is_visible_and_no_referent() -> None:
    person, car = Person("Ada"), Car()
    car.owner = person
    assert [type(value)(person) for value in vars(car).values()] == list(vars(car).values())
    assert car not in gc.get_referrers(person)


def test_a_list_of_observers() -> None:
    class Subject:
        observers = weakattr.list()

    class Slot:
        __slots__ = ("__weakref__",)
        observers = weakattr.list()

    class Observer:
        def __init__(self) -> None:
            self.seen: list[str] = []

        def update(self, what: str) -> None:
            self.seen.append(what)

    for kind in (Subject, Slot):
        one, two = kind(), kind()
        observer = Observer()
        one.observers.append(observer.update)
        assert isinstance(kind.observers, type(vars(kind)["observers"]))
        assert type(one.observers) is WeakList
        assert len(two.observers) == 0
        for notify in one.observers:
            notify("news")
        del notify
        assert observer.seen == ["news"]
        del observer
        assert list(one.observers) == []
        one.observers = [one]
        assert one.observers[0] is one


def test_threads_that_set_and_read() -> None:
    people = [Person(str(number)) for number in range(4)]
    car = Car()

    def work(person: Person) -> None:
        for _ in range(2_000):
            car.owner = person
            assert car.owner in people
            copy.copy(car)

    in_threads(*[lambda person=person: work(person) for person in people])


@dataclass(eq=False)
class Node:
    links: list[object] = field(default_factory=list)


def test_data_of_an_instance_goes_with_it_even_when_it_refers_back() -> None:
    neighbours: per_instance[list[object]] = per_instance(list)
    node, other = Node(), Node()
    neighbours(node).append(node)
    assert neighbours(node) == [node]
    assert node in neighbours and other not in neighbours
    gone = weakref.ref(node)
    del node
    gc.collect()
    assert gone() is None
    assert neighbours(other) == []
    neighbours.discard(other)
    assert other not in neighbours


def test_data_of_an_instance_is_made_once_for_all_threads() -> None:
    made: list[int] = []
    node = Node()

    def factory() -> list[int]:
        made.append(1)
        return []

    data = per_instance(factory)
    first, *others = in_threads(*[lambda: data(node)] * 4)
    assert made == [1]
    assert all(other is first for other in others)


@pytest.mark.parametrize("thing", [1, (), object(), Slotted(), int], ids=str)
def test_what_has_no_dict_to_write_to_is_refused(thing: object) -> None:
    with pytest.raises(TypeError, match="have none to write to: add '__dict__' to __slots__"):
        per_instance(list)(thing)


def test_a_factory_that_can_not_be_called_is_refused() -> None:
    with pytest.raises(TypeError, match="factory must be callable"):
        per_instance(3)  # type: ignore[arg-type]


class Listener:
    def __init__(self) -> None:
        self.heard: list[object] = []

    def hear(self, what: object, *, loud: bool = False) -> int:
        self.heard.append((what, loud))
        return len(self.heard)


def test_a_callback_does_not_keep_its_instance() -> None:
    listener = Listener()
    callback, strict = weak_callback(listener.hear), weak_callback(listener.hear, missing="raise")
    assert callback("news", loud=True) == 1
    assert listener.heard == [("news", True)]
    assert callback == strict == weak_callback(listener.hear) != weak_callback(Listener().hear)
    assert hash(callback) == hash(strict)
    assert callback.alive
    assert "Listener.hear" in repr(callback)
    del listener
    assert callback("late") is None
    assert not callback.alive
    assert repr(callback) == "weak_callback(gone)"
    with pytest.raises(ReferenceError, match="is gone"):
        strict("late")


def test_only_bound_methods_are_callbacks() -> None:
    for wrong in (lambda: None, print, 3):
        with pytest.raises(TypeError, match="needs a bound method"):
            weak_callback(wrong)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="missing must be"):
        weak_callback(Listener().hear, missing="?")  # type: ignore[arg-type]
