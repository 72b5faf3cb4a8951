"""A global of which there is to be one: a `__new__` that keeps it, and `singleton`."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Self

from leaksafe import singleton
from leaksafe.demo.act import Act, Figure, Job, Options, Progress, Run, Sample

_ROUNDS = 240
_THREADS = 16
_NEW, _SINGLETON = range(2)
_BUILT, _TWICE = range(2)


class Settings:
    """What a program reads from a file once, or so it thinks."""

    built: ClassVar[int] = 0
    counting: ClassVar[threading.Lock] = threading.Lock()

    def __init__(self) -> None:
        """Read a file; other threads run meanwhile."""
        self.text = Path(__file__).read_text(encoding="utf-8")
        with Settings.counting:
            Settings.built += 1


def by_new() -> type[Settings]:
    """Return a class whose `__new__` keeps the one instance: the usual way."""

    class _ByNew(Settings):
        _instance: ClassVar[Self | None] = None

        def __new__(cls) -> Self:
            if cls._instance is None:
                instance = super().__new__(cls)
                Settings.__init__(instance)
                cls._instance = instance
            return cls._instance

        def __init__(self) -> None:
            """Do nothing: Python calls this each time."""

    return _ByNew


def by_singleton() -> type[Settings]:
    """Return a class with one instance."""

    @singleton
    class _Decorated(Settings):
        pass

    return _Decorated


_KEPT = by_new()


class SettingsAct(Act):
    """In each round, sixteen threads at once ask a new class for its instance."""

    title = "A global that is built more than once"
    unit = "rounds"
    axis = "instances built"
    figures = (
        Figure("instances built", "{:,.0f}", " built"),
        Figure("rounds with more than one", "{:,.0f}", " rounds with more than one"),
    )

    def prepare(self, options: Options, scratch: Path, progress: Progress) -> Job:
        """Choose how many rounds; there is nothing to read."""
        total = min(options.lookups or _ROUNDS, _ROUNDS)
        progress(total, total)
        return Job(
            options=options,
            scratch=scratch,
            sides=("__new__", "singleton"),
            total=total,
            note=f"{_THREADS} threads ask a new class for its one instance, {total:,} times",
        )

    def measure(self, side: int, job: Job) -> Iterator[Sample]:
        """Let the threads ask, round by round."""
        asked = by_new()
        together = threading.Barrier(_THREADS + 1)

        def ask() -> None:
            for _ in range(job.total):
                together.wait()
                asked()
                together.wait()

        for _ in range(_THREADS):
            threading.Thread(target=ask, daemon=True).start()
        twice = 0
        yield Sample(0, (0, 0))
        for done in range(1, job.total + 1):
            before = Settings.built
            asked = by_singleton() if side == _SINGLETON else by_new()  # the one difference
            together.wait()
            together.wait()
            twice += Settings.built > before + 1
            yield Sample(done, (Settings.built, twice))

    def leak(self, job: Job) -> None:
        """Ask for the instance: a class that keeps it has no end for it."""
        _KEPT()

    def meaning(self, run: Run) -> str:
        """Count the instances."""
        new, ours = (run.last(side).values for side in (_NEW, _SINGLETON))
        rounds = run.last(_SINGLETON).done
        return (
            f"In {rounds:,} rounds there should be {rounds:,} instances. __new__ built"
            f" {new[_BUILT]:,.0f}, since others ask while one still reads its file;"
            f" singleton built {ours[_BUILT]:,.0f}."
        )
