"""The cures of the tutorial that leaksafe began with, mended: what each was meant to do."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from leaksafe import WeakCache, weakattr


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
