"""The cures of the tutorial that leaksafe began with, mended: what each was meant to do."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from harness import in_threads
from leaksafe import LazyObjects, LiveBoundError, WeakCache, lazy, singleton, weakattr


@pytest.fixture(autouse=True)
def _no_gc() -> Iterator[None]:
    gc.disable()
    yield
    gc.enable()


class Calculator:
    """Sums that are remembered in a class attribute, which was a WeakValueDictionary."""

    _cache: ClassVar[Any] = WeakCache()
    additions = 0

    @classmethod
    def add(cls, a: int, b: int) -> int:
        key = f"add_{a}_{b}"
        if key in cls._cache:
            return int(cls._cache[key])
        cls.additions += 1
        result = a + b
        cls._cache[key] = result
        return result


@pytest.mark.thread_unsafe(reason="counts the calls of a class of the module")
def test_the_calculator_remembers_and_is_bounded() -> None:
    assert [Calculator.add(2, 3), Calculator.add(2, 3), Calculator.additions] == [5, 5, 1]
    for number in range(1_000):
        Calculator.add(number, number)
    assert len(Calculator._cache) == Calculator._cache.maxsize


class Person:
    def __init__(self, name: str) -> None:
        self.name = name
        self.cars: list[Car] = []

    def add_car(self, car: Car) -> None:
        self.cars.append(car)
        car.owner = self


class Car:
    owner = weakattr[Person]()

    def __init__(self, model: str) -> None:
        self.model = model


def test_a_car_that_only_its_person_knows_stays() -> None:
    person = Person("Ada")
    person.add_car(Car("Tesla"))
    assert [car.model for car in person.cars] == ["Tesla"]
    owner = person.cars[0].owner
    assert owner is not None
    assert owner.name == "Ada"


def test_a_person_is_freed_with_the_cars_at_once() -> None:
    person = Person("Ada")
    person.add_car(Car("Tesla"))
    gone: list[Callable[[], object]] = [weakref.ref(person), weakref.ref(person.cars[0])]
    del person
    assert [reference() for reference in gone] == [None, None]


def test_a_car_outlives_its_person() -> None:
    person, car = Person("Ada"), Car("Tesla")
    person.add_car(car)
    del person
    assert car.owner is None


def test_one_list_for_the_whole_program() -> None:
    @singleton
    class Singleton:
        def __init__(self) -> None:
            self.my_list = list(range(1_000))

        def add_data(self, x: int) -> None:
            self.my_list.append(x)

        def get_data(self) -> list[int]:
            return self.my_list

    Singleton().add_data(1_000)
    Singleton().add_data(1_001)
    assert Singleton().get_data() == list(range(1_002))
    assert in_threads(Singleton, Singleton) == [Singleton()] * 2
    singleton.reset(Singleton)
    assert len(Singleton().get_data()) == 1_000


class MyClass:
    def __init__(self, number: int) -> None:
        self.number = number


def test_a_million_objects_of_which_none_is_kept() -> None:
    objs = LazyObjects(MyClass, 1_000_000)
    assert len(objs) == 1_000_000
    assert sum(obj.number for obj in objs[::1_000]) == 499_500_000


def test_the_loop_that_appends_each_object() -> None:
    objs = []
    with pytest.raises(LiveBoundError, match="held by a list of 100 'objs' in test_the_loop"):
        for obj in LazyObjects(MyClass, 1_000_000, max_live=100):
            objs.append(obj)


def test_a_generator_that_can_be_walked_twice() -> None:
    @lazy
    def create_objs(num: int) -> Iterator[MyClass]:
        for i in range(num):
            yield MyClass(i)

    objs = create_objs(1_000)
    assert [obj.number for obj in objs] == [obj.number for obj in objs] == list(range(1_000))
