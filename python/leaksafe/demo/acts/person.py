"""A reference cycle: an owner and what it owns refer to each other, and wait for the collector."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from platform import python_version
from typing import Any
from weakref import WeakSet

from leaksafe import weakattr
from leaksafe.demo.act import Act, Figure, Job, Options, Progress, Run, Sample
from leaksafe.demo.measure import resident
from leaksafe.demo.source import read_pages, write_identifiers

_SAMPLES = 240
_LEAKED = 20
_EVERY = 20
_INPUT = "identifiers.txt"
_STRONG, _WEAK = range(2)
_ALIVE, _MEMORY = range(2)


class Person:
    """Somebody with cars."""

    def __init__(self, name: str) -> None:
        """Begin without a car."""
        self.name = name
        self.cars: list[Car] = []

    def add_car(self, car: Car) -> None:
        """Take a car; it knows its owner from now on."""
        self.cars.append(car)
        car.owner = self


class Car:
    """The leak: the attribute `owner` is an ordinary one."""

    owner: Any

    def __init__(self, model: str) -> None:
        """Begin without an owner."""
        self.model = model


class WeakCar(Car):
    """The cure."""

    owner = weakattr[Person]()


_LIVING: WeakSet[object] = WeakSet()
"""Whom the figures count; the classes know nothing of it."""


class PersonAct(Act):
    """Both sides give the same people the same cars, read who owns them, and drop the people."""

    title = "A reference cycle"
    unit = "cars"
    axis = "live objects"
    figures = (
        Figure("live objects", "{:,.0f}", " alive"),
        Figure("resident memory", "{:,.1f} MiB"),
    )

    def prepare(self, options: Options, scratch: Path, progress: Progress) -> Job:
        """Find the identifiers."""
        write_identifiers(scratch / _INPUT, options.lookups, progress)
        people = cars = 0
        for words in read_pages(scratch / _INPUT):
            people += 1
            cars += len(words[::_EVERY])
        return Job(
            options=options,
            scratch=scratch,
            sides=("owner, an attribute", "owner = weakattr()"),
            total=cars,
            note=(
                f"{people:,} people with {cars:,} cars, named by identifiers of Python"
                f" {python_version()}'s standard library; each person is dropped before the next,"
                " and the collector is off"
            ),
        )

    def measure(self, side: int, job: Job) -> Iterator[Sample]:
        """Make a person of each page."""
        car_class = WeakCar if side == _WEAK else Car  # the one difference
        gc.disable()
        step = -(-job.total // _SAMPLES)
        done = 0
        yield _sample(done)
        for words in read_pages(job.scratch / _INPUT):
            person = Person(words[0])
            _LIVING.add(person)
            for word in words[::_EVERY]:
                person.add_car(car_class(word))
                _LIVING.add(person.cars[-1])
                if person.cars[-1].owner.name != words[0]:
                    raise AssertionError("a car has lost its owner")
                done += 1
                if done % step == 0 and done < job.total:
                    yield _sample(done)
            del person
        yield _sample(done)

    def leak(self, job: Job) -> None:
        """Drop some people with their cars."""
        for words in islice(read_pages(job.scratch / _INPUT), _LEAKED):
            person = Person(words[0])
            for word in words[::_EVERY]:
                person.add_car(Car(word))

    def meaning(self, run: Run) -> str:
        """Say who is left."""
        kept, gone = (run.last(side).values for side in (_STRONG, _WEAK))
        return (
            f"Every person was dropped. With an ordinary attribute {kept[_ALIVE]:,.0f} people and"
            f" cars wait for the collector: {kept[_MEMORY]:.0f} MiB. With weakattr"
            f" {gone[_ALIVE]:,.0f} are left: {gone[_MEMORY]:.0f} MiB; each went with `del person`,"
            " and every car was kept by its person until then."
        )


def _sample(done: int) -> Sample:
    return Sample(done, (len(_LIVING), resident() / 2**20))
