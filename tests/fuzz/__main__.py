"""`python -m fuzz`: cases by seeds, in processes that may crash."""

from __future__ import annotations

import argparse
import gc
import itertools
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import leaksafe
from leaksafe import _refresh

from . import others, subjects
from .things import KINDS, say
from .world import DOCUMENTED, World, enter, here

ALL: dict[str, Any] = {
    kind.__name__: kind
    for module in (subjects, others)
    for kind in vars(module).values()
    if isinstance(kind, type) and issubclass(kind, subjects.Driven) and kind.names
}
GIL = getattr(sys, "_is_gil_enabled", lambda: True)()
STEPS = 120
MADE_ONCE = 5
"""So many references to a class may be those of what is there for the whole process."""
LINGERS = 5.0
"""Seconds in which all threads have let go of what they worked with."""
HANGS = 90.0
"""Seconds without a new case that count as a hang."""


def run_case(name: str, seed: int, log: int, steps: int = STEPS) -> None:
    """Make one case, from the making of a structure until nothing is left of it."""
    if log != sys.stdout.fileno():
        os.ftruncate(log, 0)
        os.lseek(log, 0, os.SEEK_SET)
    world = World(name, seed, log)
    world.note(f"case {name} {seed}")
    enter(world)

    def hook(arguments: Any) -> None:
        error = arguments.exc_value
        world.told.append(error)
        if not isinstance(error, DOCUMENTED):
            world.fail(f"unraisable from {arguments.err_msg}", error)

    sys.unraisablehook = hook
    world.mine.quiet = True
    subject = world.subject = ALL[name](world)
    world.mine.quiet = False
    race = world.chance(0.25)
    for number in range(steps):
        if race and number == steps // 2:
            world.note("race")
            world.racing = True
            world.elsewhere(steps // 3, count=3)
            world.racing = False
        subject.act()
        world.mine.quiet = True
        gc.disable()
        try:
            subject.check()
        except BaseException as error:
            world.fail("the check raised", error)
        gc.enable()
        world.mine.quiet = False
    world.note("end")
    world.over = True
    patience = time.monotonic() + HANGS
    while _refresh._pool._under_way and time.monotonic() < patience:
        time.sleep(0.001)
    world.must(not _refresh._pool._under_way, "a result is computed anew for ever")
    world.told.clear()
    world.mine.raised.clear()
    world.strong.clear()
    subject.end()
    world.subject = None
    del subject
    patience = time.monotonic() + LINGERS
    while living() and time.monotonic() < patience:
        # What a first collection finalizes is freed by the next one.
        gc.collect()
        gc.collect()
        time.sleep(0.001)  # for threads that have done their work, and are on their way out
    if left := living():
        world.fail(f"{len(left)} objects are left\n{held(left)}")


def held(left: list[object]) -> str:
    """Say what holds what is left, outermost last."""
    lines = []
    seen = {id(left), id(seen_in := [left])}
    level: list[Any] = left[:3]
    for _ in range(8):
        lines.append(
            ", ".join(getattr(one, "__qualname__", type(one).__name__) for one in level[:12])
        )
        seen.update(map(id, level))
        level = [
            one for one in gc.get_referrers(*level) if id(one) not in seen and one is not level
        ]
        if not level:
            break
        for one in level:
            if type(one) in (dict, list) and len(one) < 30:
                lines.append(f"  {[say(key) for key in one]}")
    del seen_in
    return "\n".join(lines)


def references() -> dict[str, int]:
    """Return how often classes are referred to, by their instances above all."""
    for _ in range(2):
        gc.collect()
    classes = [*KINDS, *(one for one in vars(leaksafe).values() if isinstance(one, type))]
    return {one.__qualname__: sys.getrefcount(one) for one in classes}


def living() -> list[object]:
    return [one for one in gc.get_objects() if type(one) in KINDS]


def child(name: str, first_seed: int, seconds: float, log: int) -> None:
    """Run one case after the other until the time is over."""
    # What is there by now is none of the collections' business.
    gc.freeze()
    end = time.monotonic() + seconds
    cases = 0
    first_counts: dict[str, int] = {}
    for seed in itertools.count(first_seed):
        run_case(name, seed, log)
        cases += 1
        # Without the GIL, classes count otherwise.
        if GIL:
            counts = references()
            more = {one: counts[one] - first_counts.setdefault(one, counts[one]) for one in counts}
            # What is made only once may be made by any case.
            if max(more.values()) > MADE_ONCE:
                here().fail(f"references are left: {more}")
        if time.monotonic() > end:
            break
    print(cases)


def failure(name: str, seed: int, seconds: float) -> tuple[int, str]:
    """Run cases in a process; return how many there were, and what went wrong, if anything."""
    with tempfile.TemporaryFile() as log, tempfile.TemporaryFile() as err:
        process = subprocess.Popen(
            [
                sys.executable,
                "-X",
                "faulthandler",
                "-m",
                "fuzz",
                "--child",
                f"{log.fileno()}",
                "--subject",
                name,
                "--seed",
                f"{seed}",
                "--seconds",
                f"{seconds}",
            ],
            stdout=subprocess.PIPE,
            stderr=err,
            pass_fds=[log.fileno()],
            text=True,
            env={
                **os.environ,
                "PYTHONMALLOC": os.environ.get("FUZZ_MALLOC", "debug"),
                "PYTHONPATH": os.pathsep.join(
                    [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
                ),
            },
        )
        try:
            out, _ = process.communicate(timeout=seconds + HANGS)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGABRT)
            out, _ = process.communicate()
        if process.returncode == 0:
            return int(out), ""
        log.seek(0)
        steps = log.read().decode(errors="replace").splitlines()
        err.seek(0)
        said = err.read().decode(errors="replace")
        case = (steps or ["case ? ?"])[0].split()
        shown = "\n".join(steps[-60:])
        return 0, (
            f"{name} ended with {process.returncode}; again: make fuzz ARGS='--subject {name} "
            f"--seed {case[-1]}'\n{shown}\n{said[-8000:]}"
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60, help="for how long, in all")
    parser.add_argument("--subject", choices=ALL, help="drive only this")
    parser.add_argument("--seed", type=int, help="run this one case of a subject, here")
    parser.add_argument("--steps", type=int, default=STEPS, help="how many steps it has")
    parser.add_argument("--repeatable", action="store_true", help="the same cases at every run")
    parser.add_argument("--child", type=int, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        child(options.subject, options.seed, options.seconds, options.child)
        return 0
    if options.seed is not None:
        run_case(options.subject, options.seed, 1, options.steps)
        return 0
    names = [options.subject] if options.subject else list(ALL)
    # A few rounds, so that a short run drives all of them.
    share = max(1.0, min(20.0, options.seconds / len(names)))
    rng = random.Random(1 if options.repeatable else None)
    end = time.monotonic() + options.seconds
    cases = failed = 0
    for name in itertools.cycle(names):
        count, why = failure(name, rng.randrange(1 << 40), share)
        cases += count
        if why:
            failed += 1
            print(f"fuzz: {why}\n", flush=True)
        if time.monotonic() > end:
            break
    print(f"fuzz: {cases} cases of {len(names)} subjects, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
