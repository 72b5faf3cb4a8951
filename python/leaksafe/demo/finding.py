"""Lets `leaks.check` look for the leak of an act's leaky side, of which it is told nothing."""

from __future__ import annotations

import gc

from leaksafe import leaks
from leaksafe.demo.act import Act, Job
from leaksafe.leaks._sizes import show_count


def find(act: Act, job: Job) -> leaks.Report:
    """Leak a little, in this process, and return what was found."""
    was_on = gc.isenabled()
    with leaks.check() as found:
        # What waits for the collector is a finding too: the collector isn't to be faster.
        gc.disable()
        try:
            act.leak(job)
        finally:
            if was_on:
                gc.enable()
    return found.report()


def lines(report: leaks.Report) -> list[str]:
    """What was found and its cure, a line or two each, in signs that any terminal has."""
    told: list[str] = []
    for group in report.groups:
        path = group.path.replace(" ← ", " <- ").replace("…", "...")
        told += [f"{show_count(group.count)} held by {path}", f"  cure: {group.advice}"]
    told += [f"{late.count:,} {late.type} {late.advice}" for late in report.late]
    return [line.replace("…", "...") for line in told]
