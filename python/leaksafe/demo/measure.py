"""Runs each side of an act in a process of its own, so that its memory is its own."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection, wait
from multiprocessing.context import SpawnProcess
from pathlib import Path
from typing import NamedTuple

from leaksafe.demo.act import Act, DemoError, Job, Sample


class Report(NamedTuple):
    """A sample, and the side it comes from."""

    side: int
    sample: Sample


def resident() -> int:
    """Return the resident memory of this process in bytes."""
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except FileNotFoundError:  # not Linux
        asked = subprocess.run(
            ["ps", "-o", "rss=", "-p", str(os.getpid())], check=True, capture_output=True, text=True
        )
        return int(asked.stdout) * 1024
    return pages * os.sysconf("SC_PAGE_SIZE")


@contextmanager
def measuring(act: Act, job: Job) -> Generator[Iterator[Report]]:
    """Start all sides at once and give their reports as they come; leave no process behind."""
    context = multiprocessing.get_context("spawn")
    processes: list[SpawnProcess] = []
    readers: dict[Connection, int] = {}
    try:
        with _interrupts_ignored():
            for side, label in enumerate(job.sides):
                reader, writer = context.Pipe(duplex=False)
                process = context.Process(
                    target=_work, args=(act, side, job, writer), name=label, daemon=True
                )
                readers[reader] = side
                process.start()
                processes.append(process)
                # The process has this end for itself; were ours open, we would not see it close.
                writer.close()
        yield _reports(readers)
        for process in processes:
            process.join()
            if process.exitcode:
                raise DemoError(
                    f"the process of {process.name!r} ended with exit code {process.exitcode}"
                )
    finally:
        with _interrupts_ignored():
            for process in processes:
                process.terminate()
                process.join()
            for reader in readers:
                reader.close()


def _reports(readers: dict[Connection, int]) -> Iterator[Report]:
    waiting = dict(readers)
    while waiting:
        for ready in wait(list(waiting)):
            assert isinstance(ready, Connection)
            try:
                yield Report(waiting[ready], ready.recv())
            except EOFError:
                del waiting[ready]


def _work(act: Act, side: int, job: Job, writer: Connection) -> None:
    with writer:
        try:
            for sample in act.measure(side, job):
                writer.send(sample)
        except BrokenPipeError:  # nobody listens any more
            pass


@contextmanager
def _interrupts_ignored() -> Generator[None]:
    # Processes inherit this: Ctrl-C reaches the whole group, and it is the parent's to answer.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
