"""Leaks made elsewhere: what outlives its time, who holds it, and what to use instead."""

from leaksafe.leaks._check import check
from leaksafe.leaks._repeat import Growth, Verdict, repeat
from leaksafe.leaks._report import Group, Late, Report
from leaksafe.leaks._watch import GrowingContainer, GrowthReport, watch
from leaksafe.leaks._why import LeakError, expect_gone, why_alive

__all__ = [
    "Group",
    "GrowingContainer",
    "Growth",
    "GrowthReport",
    "Late",
    "LeakError",
    "Report",
    "Verdict",
    "check",
    "expect_gone",
    "repeat",
    "watch",
    "why_alive",
]
