"""What the type checkers have to say of the weak containers."""

from __future__ import annotations

from collections.abc import Callable, MutableMapping
from typing import assert_type

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


class Person:
    def greet(self, name: str) -> int:
        return len(name)


class Car:
    owner = weakattr[Person]()


def dictionaries(person: Person) -> None:
    values = WeakValueDictionary({"a": person})
    assert_type(values, WeakValueDictionary[str, Person])
    assert_type(values["a"], Person)
    assert_type(values.get("a"), Person | None)
    assert_type(values.get_or_create("a", Person), Person)
    assert_type(values.copy(), WeakValueDictionary[str, Person])
    assert_type(next(values.items()), tuple[str, Person])
    mapping: MutableMapping[str, Person] = values
    assert_type(mapping["a"], Person)
    keys: WeakKeyDictionary[Person, int] = WeakKeyDictionary()
    assert_type(keys.get_or_create(person, int), int)
    assert_type(next(keys.keys()), Person)
    by_id: WeakIdDictionary[Person, int] = WeakIdDictionary([(person, 1)])
    assert_type(by_id[person], int)
    values["a"] = 3  # type: ignore[assignment]
    keys["a"] = 3  # type: ignore[index]


def members(person: Person) -> None:
    people = WeakSet([person])
    assert_type(people, WeakSet[Person])
    assert_type(people | [person], WeakSet[Person])
    listeners: WeakList[Callable[[str], int]] = WeakList([person.greet])
    assert_type(listeners[0]("a"), int)
    assert_type(listeners[:1], list[Callable[[str], int]])
    people.add(3)  # type: ignore[arg-type]


def cache(person: Person) -> None:
    people: WeakCache[str, Person] = WeakCache(10)
    assert_type(people.get("a"), Person | None)
    assert_type(people.get_or_create("a", Person), Person)


def attributes(person: Person, car: Car) -> None:
    assert_type(car.owner, Person | None)
    car.owner = person
    assert_type(Car.owner, weakattr[Person])
    car.owner = 3  # type: ignore[assignment]


def functions(person: Person) -> None:
    data = per_instance(list[int])
    assert_type(data(person), list[int])
    assert_type(weak_callback(person.greet)("a"), int | None)
    weak_callback(person.greet)(3)  # type: ignore[arg-type]
