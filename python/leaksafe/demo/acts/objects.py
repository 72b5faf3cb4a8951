"""A million objects made at once: a list that holds them, a generator, and `LazyObjects`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

from leaksafe import LazyObjects
from leaksafe.demo.act import Act, Figure, Job, Options, Progress, Run, Sample
from leaksafe.demo.measure import resident

_SAMPLES = 240
_OBJECTS = 1_000_000
_LEAKED = 10_000
_LIST, _GENERATOR, _LAZY = range(3)
_MEMORY, _AT_HAND = range(2)


class MyClass:
    """A small object."""

    __slots__ = ("number",)

    def __init__(self, number: int) -> None:
        """Take a number."""
        self.number = number


def create_objs(num: int) -> Iterator[MyClass]:
    """Make objects one after another."""
    for number in range(num):
        yield MyClass(number)


OBJECTS: list[MyClass] = []


class ObjectsAct(Act):
    """All sides walk the same objects once."""

    title = "Many objects made at once"
    unit = "objects"
    axis = "resident memory, MiB"
    figures = (
        Figure("resident memory", "{:,.1f} MiB"),
        Figure("objects at hand", "{:,.0f}", " objects at hand"),
    )

    def prepare(self, options: Options, scratch: Path, progress: Progress) -> Job:
        """Choose how many; there is nothing to read."""
        total = min(options.lookups or _OBJECTS, _OBJECTS)
        progress(total, total)
        return Job(
            options=options,
            scratch=scratch,
            sides=("a list", "a generator", "LazyObjects"),
            total=total,
            note=f"{total:,} objects of a small class with slots, walked once",
        )

    def measure(self, side: int, job: Job) -> Iterator[Sample]:
        """Walk all objects."""
        kept: list[MyClass] = []
        lazily = LazyObjects(MyClass, job.total)
        objects: Iterable[MyClass] = lazily if side == _LAZY else create_objs(job.total)
        step = -(-job.total // _SAMPLES)
        at_hand = len(lazily) if side == _LAZY else 0
        yield Sample(0, (resident() / 2**20, at_hand))
        for done, one in enumerate(objects, 1):
            if side == _LIST:
                kept.append(one)  # the leak
                at_hand = done
            if done % step == 0 or done == job.total:
                yield Sample(done, (resident() / 2**20, at_hand))

    def leak(self, job: Job) -> None:
        """Keep some objects that are walked once."""
        OBJECTS.extend(create_objs(min(job.total, _LEAKED)))

    def meaning(self, run: Run) -> str:
        """Say what each way costs, and what is left of it."""
        memory = [run.last(side).values[_MEMORY] for side in range(3)]
        began = run.samples[_LIST][0].values[_MEMORY]
        return (
            f"Each process began at about {began:.0f} MiB. The list holds every object:"
            f" {memory[_LIST]:.0f} MiB. The generator holds one ({memory[_GENERATOR]:.0f} MiB), and"
            " is used up: no length, no index, no second loop. LazyObjects holds one as well"
            f" ({memory[_LAZY]:.0f} MiB), and can be asked for each of"
            f" {run.last(_LAZY).values[_AT_HAND]:,.0f} at any time."
        )
