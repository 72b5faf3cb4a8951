"""What an act is: two or more sides that do the same work, and what is measured of each."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, NamedTuple

from leaksafe.demo.chart import Chart, Line

Progress = Callable[[int, int], None]
"""Told how much of the input is prepared, and how much there is."""


class DemoError(Exception):
    """The demo can't go on; the message says why, in one line."""


class Figure(NamedTuple):
    """One number that is shown of each side: its name, and how it is written.

    Where the name isn't beside it, `word` follows it.
    """

    name: str
    form: str
    word: str = ""


class Sample(NamedTuple):
    """What one side reports: how far it is, and a value for each of the act's figures."""

    done: int
    values: tuple[float, ...]


@dataclass(frozen=True)
class Options:
    """What the command line leaves to the acts."""

    lookups: int | None
    maxsize: int


@dataclass(frozen=True)
class Job:
    """An act made ready: it is sent to the process of each side."""

    options: Options
    scratch: Path
    sides: tuple[str, ...]
    total: int
    note: str


class Act(ABC):
    """One leak and its replacement.

    The first of `figures` is the one that the chart shows, over `unit`.
    """

    title: ClassVar[str]
    unit: ClassVar[str]
    axis: ClassVar[str]
    figures: ClassVar[tuple[Figure, ...]]
    leaves: ClassVar[bool] = True
    """Whether objects are left behind, which `leaks.check` can find."""

    @abstractmethod
    def prepare(self, options: Options, scratch: Path, progress: Progress) -> Job:
        """Make the input; `scratch` is an empty directory that outlives the run."""

    @abstractmethod
    def measure(self, side: int, job: Job) -> Iterator[Sample]:
        """Do the work of one side, reporting on the way; runs in a process of its own."""

    def leak(self, job: Job) -> None:  # noqa: B027  # not every act is about what is left behind
        """Do some of the leaky side's work in this process, where `leaves` says that it leaks."""

    @abstractmethod
    def meaning(self, run: Run) -> str:
        """Say in one line what the figures mean, and what they don't."""


@dataclass
class Run:
    """An act, its input, and what its sides have reported so far."""

    act: Act
    job: Job
    samples: list[list[Sample]] = field(init=False)

    def __post_init__(self) -> None:
        """Start with nothing reported."""
        nothing = Sample(0, (0.0,) * len(self.act.figures))
        self._nothing = nothing
        self.samples = [[] for _ in self.job.sides]

    def last(self, side: int) -> Sample:
        """Return the newest report of a side."""
        return self.samples[side][-1] if self.samples[side] else self._nothing

    def named(self, side: int) -> list[tuple[str, str]]:
        """Return name and text of each figure of a side."""
        figures = zip(self.act.figures, self.last(side).values, strict=True)
        return [(figure.name, figure.form.format(value)) for figure, value in figures]

    def listed(self, side: int) -> str:
        """Return the figures of a side in one line."""
        figures = zip(self.act.figures, self.last(side).values, strict=True)
        return ", ".join(figure.form.format(value) + figure.word for figure, value in figures)

    def chart(self) -> Chart:
        """Return the first figure of all sides over the work done."""
        return Chart(
            title=self.act.title,
            note=self.job.note,
            x_label=self.act.unit,
            y_label=self.act.axis,
            x_top=self.job.total,
            lines=tuple(
                Line(
                    label=label,
                    note=self.listed(side),
                    points=tuple((sample.done, sample.values[0]) for sample in self.samples[side]),
                )
                for side, label in enumerate(self.job.sides)
            ),
        )
