"""What a fuzzed case happens in: its chances, its steps, and what counts as a failure."""

from __future__ import annotations

import _thread
import gc
import os
import pickle
import random
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from typing import Any, NoReturn, Protocol

FAILED = 70
"""The exit code of a process whose case failed."""


class Boom(Exception):
    """Raised on purpose by a hook."""


class Bang(BaseException):
    """Raised on purpose, and no `Exception`."""


# What the documentation says may be raised, for all that a case does.
DOCUMENTED = (
    AttributeError,
    Bang,
    Boom,
    BufferError,
    IndexError,
    LookupError,
    OverflowError,
    pickle.PicklingError,
    BaseExceptionGroup,
    ReferenceError,
    RuntimeError,
    StopAsyncIteration,
    StopIteration,
    TypeError,
    ValueError,
)


class Subject(Protocol):
    """What is driven."""

    locks: bool
    """Whether it holds locks in Python: a finalizer that a collection runs there can't wait."""

    def act(self) -> None: ...
    def check(self) -> None: ...


class _Mine(threading.local):
    """What each thread has for itself."""

    rng: random.Random
    depth = 0
    fuel = 0
    """How often hooks may still strike in the step that is being made."""
    quiet = False
    patient = True
    """Whether it may wait for others: not while another thread waits for it."""
    name = "main"

    def __init__(self) -> None:
        self.rng = random.Random(0)
        self.raised: list[BaseException] = []


class World:
    """One case. `here` is the one that runs."""

    DEEPEST = 3

    def __init__(self, subject: str, seed: int, log: int) -> None:
        self.subject_name, self.seed, self.log = subject, seed, log
        self.mine = _Mine()
        self.rng.seed(seed)
        self.hostility = self.rng.choice((0.0, 0.1, 0.3))
        self.fickle = self.hostility > 0 and self.chance(0.3)
        """Whether there are keys that change their hash, and are equal by chance."""
        self.racing = False
        self.over = False
        self.strikes = 0
        self.now = 0.0
        self.strong: list[object] = []
        """Some of what lives elsewhere, for structures that hold weakly."""
        self.told: list[BaseException] = []
        """What reached `sys.unraisablehook`."""
        self.subject: Subject | None = None

    @property
    def rng(self) -> random.Random:
        return self.mine.rng

    def chance(self, probability: float) -> bool:
        return self.rng.random() < probability

    def note(self, step: str) -> None:
        mine = self.mine
        os.write(self.log, f"{mine.name}: {'  ' * mine.depth}{step}\n".encode())

    def fail(self, why: str, error: BaseException | None = None) -> NoReturn:
        """End the process: a failure that is raised could be caught by what is driven."""
        self.note(f"FAILED: {why}")
        frames = traceback.format_exception(error) if error else traceback.format_stack()
        print(
            f"fuzz: {self.subject_name} seed {self.seed}: {why}\n{''.join(frames)}",
            file=sys.stderr,
            flush=True,
        )
        os._exit(FAILED)

    def must(self, holds: object, why: str) -> None:
        if not holds:
            self.fail(why)

    def keep(self, thing: object) -> None:
        """Have something live on for a while."""
        self.strong.append(thing)
        if len(self.strong) > 12:
            del self.strong[self.rng.randrange(12)]

    def step(
        self, name: str, call: Callable[[], Any], *, tells: bool = True
    ) -> tuple[Any, BaseException | None]:
        """Make one call. What it raises must be documented.

        Where it `tells`, what a hook raised must come out of it.
        """
        mine = self.mine
        self.note(name)
        outer, mine.raised = mine.raised, []
        mine.depth += 1
        if mine.depth == 1:
            mine.fuel = 40
        result, error = None, None
        try:
            result = call()
        except BaseException as raised:
            error = raised
        mine.depth -= 1
        lost, mine.raised = mine.raised, outer
        if error is not None and not isinstance(error, DOCUMENTED):
            self.fail(f"{name} raised {type(error).__name__}", error)
        # A message that shows an object is made without, where that raises.
        shown = isinstance(error, (TypeError, ValueError, OverflowError))
        lost = [
            one for one in lost if not shown and (type(one) is Bang or one.args != ("__repr__",))
        ]
        if lost and tells:
            seen = {id(one) for one in _chain(error)}
            seen.update(id(one) for one in self.told)
            for one in lost:
                if id(one) not in seen:
                    self.fail(f"{name}: lost an error of {one.args[0]}", one)
        if mine.depth == 0 and not self.racing:
            self.told.clear()
        return result, error

    def strike(self, hook: str, thing: object = None) -> None:
        """Do what a hook may do: whatever Python code may."""
        mine = self.mine
        if self.over or mine.quiet or mine.fuel <= 0 or not self.chance(self.hostility):
            return
        mine.fuel -= 1
        self.strikes += 1
        what = self.rng.randrange(10)
        if what <= 1:
            error = (Bang if self.chance(0.2) else Boom)(hook)
            if mine.depth:  # not in a thread that isn't ours
                mine.raised.append(error)
            self.note(f"{hook} raises")
            raise error
        if what == 2:
            self.note(f"{hook} collects")
            gc.collect(self.rng.randrange(3))
        elif what == 3:
            time.sleep(0)
            del self.strong[: self.rng.randrange(8)]
        elif what == 4 and mine.depth < self.DEEPEST:
            if hook.endswith("__del__") and self.subject is not None and self.subject.locks:
                return
            self.note(f"{hook} has another thread act")
            self.elsewhere(1)
        elif what == 5 and thing is not None:
            self.keep(thing)
        elif mine.depth < self.DEEPEST and self.subject is not None:
            mine.depth += 1
            try:
                self.act(hook)
            finally:
                mine.depth -= 1

    def act(self, why: str = "") -> None:
        if self.subject is not None:
            if why:
                self.note(f"{why} acts")
            self.subject.act()

    def elsewhere(self, steps: int, count: int = 1) -> None:
        """Have other threads act, and wait for them.

        By `_thread`: `threading` has locks, and a finalizer may come while it holds one.
        """
        seeds = [self.rng.getrandbits(32) for _ in range(count)]
        done = []
        # Who is waited for must not wait for who waits.
        alone, fuel, depth = count == 1, self.mine.fuel, self.mine.depth

        def run(seed: int, over: Any) -> None:
            try:
                mine = self.mine
                mine.rng = random.Random(seed)
                mine.name = f"{seed:08x}"
                mine.patient = not alone
                mine.fuel, mine.depth = fuel // 2, depth if alone else 0
                for _ in range(steps):
                    self.act()
            except BaseException as error:
                self.fail("a thread ended by an error", error)
            finally:
                over.release()

        for seed in seeds:
            over = _thread.allocate_lock()
            over.acquire()
            done.append(over)
            _thread.start_new_thread(run, (seed, over))
        for over in done:
            if not over.acquire(timeout=60):
                self.fail("a thread hangs")


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """Yield an error and all that it names."""
    ahead, seen = [error], set[int]()
    while ahead:
        one = ahead.pop()
        if one is None or id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        ahead += [one.__cause__, one.__context__]
        if isinstance(one, BaseExceptionGroup):
            ahead += one.exceptions


_here: list[World] = []


def here() -> World:
    return _here[-1]


def enter(world: World) -> None:
    _here[:] = [world]
