"""Runs every check, each to its end, and closes with one line that counts them.

`make test` runs all of them, `make check` (`--quick`) those that take little time.
"""

import argparse
import os
import platform
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent

# Tests of what is Python only, and the same in both builds: seen in one of them.
PYTHON_ONLY = (
    "test_demo.py",
    "test_dependencies.py",
    "test_docs.py",
    "test_examples.py",
    "test_leaks_p*.py",
    "test_run_command.py",
    "test_safety.py",
    "test_scan*.py",
    "tools",
)
# Those of them that follow the tests without the GIL, so that both lanes take equally long.
FOLLOWING = ("test_demo.py", "test_leaks_p*.py")


@dataclass(frozen=True)
class Check:
    """A command that succeeds or fails."""

    name: str
    command: list[str]
    environment: Mapping[str, str] = field(default_factory=dict[str, str])

    def passes(self, *, beside: bool = False) -> bool:
        """Run it, with what it prints in plain sight; in one piece, where others run beside it."""
        head = f"\n== {self.name}: {shlex.join(self.command)}\n"
        if not beside:
            print(head, end="", flush=True)
        started = time.monotonic()
        ended = subprocess.run(
            self.command,
            cwd=ROOT,
            env=os.environ | self.environment,
            stdout=subprocess.PIPE if beside else None,
            stderr=subprocess.STDOUT if beside else None,
            check=False,
        )
        seconds = time.monotonic() - started
        code = ended.returncode
        said = head + ended.stdout.decode(errors="replace") if beside else ""
        result = f"failed ({code})" if code else "ok"
        print(f"{said}== {self.name}: {result}, {seconds:.0f} s", flush=True)
        return code == 0


def paths(patterns: Sequence[str]) -> list[str]:
    """Return the tests that these name."""
    return [str(path) for pattern in patterns for path in sorted(ROOT.glob(f"tests/{pattern}"))]


def ignored(patterns: Sequence[str]) -> list[str]:
    """Return the arguments of pytest that leave these tests out."""
    return [f"--ignore={path}" for path in paths(patterns)]


def module(*arguments: str) -> list[str]:
    """Return the command for a module of this environment."""
    return [sys.executable, "-m", *arguments]


def clippy(name: str, *arguments: str, **environment: str) -> Check:
    """Return the check that clippy has nothing to say."""
    command = ["cargo", "clippy", "--all-targets", *arguments, "--", "--deny", "warnings"]
    return Check(name, command, environment)


def quick() -> Iterator[Check]:
    """Yield what is checked before every commit."""
    yield Check("rustfmt", ["cargo", "fmt", "--check"])
    yield clippy("clippy", PYO3_PYTHON=sys.executable)
    yield Check("cargo test", ["cargo", "test", "--no-default-features"])
    yield Check("ruff", module("ruff", "check"))
    yield Check("ruff format", module("ruff", "format", "--check"))
    yield Check("docs", [sys.executable, "tools/build_docs.py"])
    # What runs each case in a process of its own takes minutes.
    apart = ["--ignore=tests/guarantees", "--ignore=tests/hostile"]
    yield Check("pytest", module("pytest", "-q", *apart))


def full(*, but: Sequence[str] = ()) -> Iterator[Check]:
    """Yield what holds in every commit on the main branch, but for some of the tests."""
    *others, _ = quick()
    yield from others
    yield clippy("clippy on core", "--no-default-features")
    yield Check("mypy", module("mypy"))
    yield Check("pyright", module("pyright"))
    yield Check(
        "stubtest", module("mypy.stubtest", "--allowlist", "tools/stubtest-allowlist", "leaksafe")
    )
    yield Check("instructions", [sys.executable, "tools/instructions.py"])
    yield Check("fuzz core", ["tools/fuzz-core", "15"])
    tests = module("pytest", "-q", "--durations=20", *ignored(but))
    yield Check(f"pytest on {platform.python_version()}", tests)


def free_threaded(interpreter: str) -> Iterator[Check]:
    """Yield the checks of a build without the GIL, made apart in `.venv-t`."""
    # Its own target directory: two builds in one would undo each other at every run.
    apart = {"CARGO_TARGET_DIR": str(ROOT / "target" / "free-threaded")}
    make = [
        "make",
        "--no-print-directory",
        "VENV=.venv-t",
        f"PYTHON={interpreter}",
        "ready-to-test",
    ]
    yield Check("free-threaded build", make, apart)
    yield clippy("free-threaded clippy", PYO3_PYTHON=interpreter, **apart)
    # Each test by several threads at once, but for those that share what is the process's.
    pytest = [".venv-t/bin/python", "-m", "pytest", "-q", "--durations=20", "--parallel-threads=2"]
    yield Check("free-threaded pytest", pytest + ignored(PYTHON_ONLY))
    yield Check("pytest, the rest", module("pytest", "-q", *paths(FOLLOWING)))


def main() -> int:
    """Run the checks and return 1 where one of them failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="only what takes little time")
    options = parser.parse_args()

    # A Python that was just unpacked has compiled nothing yet. If it may not keep what it compiles,
    # each of the many short processes of the tests would compile half the library anew.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

    others: list[Check] = []
    skipped: list[str] = []
    if options.quick:
        checks = list(quick())
    else:
        found = subprocess.run(
            ["tools/find-free-threaded"], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=True
        )
        if interpreter := found.stdout.strip():
            checks = list(full(but=FOLLOWING))
            others += free_threaded(interpreter)
        else:
            checks = list(full())
            skipped.append("the free-threaded part: no python3.14t here")

    # Most of it is one process after the other: two builds take little longer than one.
    with ThreadPoolExecutor(1) as pool:
        lane = pool.submit(
            lambda: [check.name for check in others if not check.passes(beside=True)]
        )
        failed = [check.name for check in checks if not check.passes()]
        failed += lane.result()
    checks += others

    print()
    for line in skipped:
        print(f"skipped: {line}")
    for name in failed:
        print(f"failed: {name}")
    passed = len(checks) - len(failed)
    print(f"checks: {passed} passed, {len(failed)} failed, {len(skipped)} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
